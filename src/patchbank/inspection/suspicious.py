"""Reference images that stand apart: perhaps defective, and learned as good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.memory.calibration import conformal_threshold
from patchbank.memory.outliers import outlying

# Images named in a remark; the report has all.
_NAMED = 10


@dataclass(frozen=True)
class Suspicious:
    """Reference images whose left-out scores stand far above all others.

    Attributes
    ----------
    names, scores
        The images, the highest score first.
    next_score
        The highest score of the others.
    threshold, threshold_without
        As it is, and as it would be by the others alone.
    """

    names: tuple[str, ...]
    scores: tuple[float, ...]
    next_score: float
    threshold: float
    threshold_without: float

    def describe(self, command: str = "fit") -> str:
        """Return one line for people: which images, why, and how to go on without them."""
        listed = [
            f"{name} (score {score:.4g})"
            for name, score in list(zip(self.names, self.scores, strict=True))[:_NAMED]
        ]
        if len(self.names) > _NAMED:
            listed.append(f"{len(self.names) - _NAMED} more")
        single = len(self.names) == 1
        sets = ""
        if self.threshold_without < self.threshold:
            sets = (
                f"; {'it raises' if single else 'they raise'} the threshold from "
                f"{self.threshold_without:.4g} to {self.threshold:.4g}"
            )
        return (
            f"look at {'this image' if single else 'these images'}: {', '.join(listed)}; the next "
            f"score is {self.next_score:.4g}{sets}; if {'it is' if single else 'they are'} not "
            f"good, {command} again with --exclude NAME"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of a fit's report."""
        return {
            "images": [
                {"name": name, "score": score}
                for name, score in zip(self.names, self.scores, strict=True)
            ],
            "next_score": self.next_score,
            "threshold_without": self.threshold_without,
        }


def find_suspicious(
    names: Sequence[str], scores: npt.ArrayLike, false_alarm_rate: float
) -> Suspicious | None:
    """Return the reference images that stand apart by their scores, or None.

    Which scores stand apart is for `patchbank.memory.outliers.outlying` to say.

    Parameters
    ----------
    names, scores
        The images and their scores with their own patches left out; NaN where there is none.
    false_alarm_rate
        What the threshold is to keep.
    """
    values = np.asarray(scores, np.float64)
    found = outlying(values)
    if len(found) == 0:
        return None
    known = np.flatnonzero(np.isfinite(values))
    rest = values[np.setdiff1d(known, found)]
    return Suspicious(
        names=tuple(names[slot] for slot in found),
        scores=tuple(values[found].tolist()),
        next_score=float(rest.max()),
        threshold=conformal_threshold(values[known], false_alarm_rate).value,
        threshold_without=conformal_threshold(rest, false_alarm_rate).value,
    )
