"""The figures of an evaluation: what they are called, how they are written, what they mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from patchbank.errors import PatchbankError
from patchbank.printable import printable


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a category, by its key in an evaluation's values.

    `share_of` and `interval` are the facts that hold the number of images that it is a share of,
    and its 95 % interval.
    """

    key: str
    title: str
    explanation: str
    digits: int = 4
    share_of: str | None = None
    interval: str | None = None

    def text(self, value: float | None) -> str:
        """Return a value as tables print it."""
        return "-" if value is None else f"{value:.{self.digits}f}"


FIGURES: tuple[Figure, ...] = (
    Figure(
        "image_auroc",
        "image AUROC",
        "How often an anomalous image scores higher than a good one, over all pairs: 1 is perfect, "
        "0.5 is chance. No threshold is involved.",
    ),
    Figure(
        "average_precision",
        "AP",
        "Average precision: of the images that fail, how many are anomalous, averaged over recall. "
        "No threshold is involved.",
    ),
    Figure(
        "f1_max",
        "F1-max",
        "Best balance of precision and recall, at the threshold that suits this test set best. "
        "Nobody knows that threshold beforehand: it is not the one in use.",
    ),
    Figure(
        "false_alarm_rate",
        "false alarms",
        "Share of good images that fail at the threshold in use, which comes from the train images "
        "alone.",
        share_of="test_good",
        interval="false_alarm_interval",
    ),
    Figure(
        "recall",
        "recall",
        "Share of anomalous images that fail at that threshold.",
        share_of="test_anomalous",
        interval="recall_interval",
    ),
    Figure(
        "pixel_auroc",
        "pixel AUROC",
        "The image AUROC for pixels: inside the masks against all others.",
    ),
    Figure(
        "pixel_average_precision",
        "pixel AP",
        "The average precision for pixels; stricter, since few pixels are anomalous.",
    ),
    Figure(
        "aupro",
        "AUPRO",
        "Mean share of each anomalous region that is found, averaged over false-positive rates up "
        "to the limit. Small regions count as much as large ones.",
    ),
    Figure("fit_seconds", "fit, seconds", "From the first train image to the bank.", digits=1),
    Figure(
        "milliseconds_per_image",
        "ms/image",
        "From file to verdict and map, one image at a time; median.",
        digits=1,
    ),
)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one category, or the average of several.

    Attributes
    ----------
    values
        The value of each of `FIGURES` by its key; None where the test images cannot tell.
    facts
        What else belongs to them: numbers of images, threshold, intervals.
    remarks
        What was odd, one line each.
    synthetic
        Whether the images were made by code.
    """

    category: str
    values: dict[str, float | None]
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    synthetic: bool = False

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.category} (synthetic)" if self.synthetic else self.category

    def value(self, name: str) -> float | None:
        """Return one figure, or None."""
        return self.values[name]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        synthetic = {"synthetic": True} if self.synthetic else {}
        return {
            "category": self.category,
            **synthetic,
            **self.values,
            **self.facts,
            "remarks": list(self.remarks),
        }


@dataclass(frozen=True)
class Failed:
    """A category that could not be evaluated, and why, in one line."""

    category: str
    error: str

    @classmethod
    def because(cls, category: str, error: PatchbankError) -> Failed:
        """Return the failure of a category by an error."""
        return cls(category, printable(str(error)))

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        return {"category": self.category, "error": self.error}


def average(summaries: Sequence[Evaluation]) -> Evaluation:
    """Return the mean of each figure over the categories that have it."""
    values: dict[str, float | None] = {}
    for name in (figure.key for figure in FIGURES):
        known = [value for summary in summaries if (value := summary.value(name)) is not None]
        values[name] = float(np.mean(known)) if known else None
    return Evaluation(
        "average",
        values,
        {"categories": len(summaries)},
        synthetic=any(summary.synthetic for summary in summaries),
    )
