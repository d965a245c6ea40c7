"""Why an image should not become a reference before a person confirmed that it is good."""

from __future__ import annotations

from patchbank.memory.calibration import Verdict
from patchbank.memory.defect_book import Probable


def doubt(
    verdict: Verdict, score: str, recorded_as: str | None, probable: Probable | None
) -> str | None:
    """Return why, or None if nothing speaks against it.

    Parameters
    ----------
    score
        How high it scores, in words.
    recorded_as
        The label of the defect that is recorded of this image, or the defect's name.
    probable
        What the defect book says that it is.
    """
    if recorded_as is not None:
        return f"recorded as a defect ({recorded_as})"
    if verdict == "fail":
        return f"fails, {score}" + (f"; {probable}" if probable else "")
    return None if probable is None else f"{probable}, {score}"
