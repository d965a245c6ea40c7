"""What looks like an inspected image: references, and recorded defects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patchbank.errors import ParameterError


@dataclass(frozen=True)
class Similar:
    """A reference that looks like the inspected image; similarity = 1 - cosine distance.

    `itself` is whether it is the inspected image, perhaps under another name.
    """

    image: str
    similarity: float
    itself: bool = False

    def __post_init__(self) -> None:
        if not -1.0 - 1e-6 <= self.similarity <= 1.0 + 1e-6:
            raise ParameterError(f"similarity must lie in [-1, 1], got {self.similarity}")

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {
            "image": self.image,
            "similarity": round(self.similarity, 6),
            "itself": self.itself,
        }


@dataclass(frozen=True)
class DefectMatch:
    """A recorded defect that looks like the strongest region of the inspected image.

    Attributes
    ----------
    name, label
        As recorded; the label may be None.
    similarity
        1 - cosine distance, of the embeddings of regions.
    synthetic
        Whether it is a synthetic defect.
    itself
        Whether it is the inspected image, perhaps under another name.
    """

    name: str
    label: str | None
    similarity: float
    synthetic: bool = False
    itself: bool = False

    def describe(self) -> str:
        """Return the label and what else there is to know of it, for people."""
        marks = [self.label or "no label"]
        marks += ["synthetic"] if self.synthetic else []
        marks += ["itself"] if self.itself else []
        return ", ".join(marks)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {
            "name": self.name,
            "label": self.label,
            "similarity": round(self.similarity, 6),
            "synthetic": self.synthetic,
            "itself": self.itself,
        }
