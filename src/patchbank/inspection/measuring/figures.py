"""The figures of an evaluation: what they are called, how they are written, what they mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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

    def text(self, value: float | None, spread: float | None = None) -> str:
        """Return a value as tables print it, with its spread if it has one."""
        texts = [f"{number:.{self.digits}f}" for number in (value, spread) if number is not None]
        return " ± ".join(texts) or "-"


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
        interval="false_alarm_rate_interval",
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
    spread
        The standard deviation of each value over several seeds; empty for one.
    """

    category: str
    values: dict[str, float | None]
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    synthetic: bool = False
    spread: dict[str, float | None] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """What tables call it."""
        return f"{self.category} (synthetic)" if self.synthetic else self.category

    def value(self, name: str) -> float | None:
        """Return one figure, or None."""
        return self.values[name]

    def texts(self) -> list[str]:
        """Return each of `FIGURES` as tables print it."""
        return [
            figure.text(self.values[figure.key], self.spread.get(figure.key)) for figure in FIGURES
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        synthetic = {"synthetic": True} if self.synthetic else {}
        return {
            "category": self.category,
            **synthetic,
            **self.values,
            **({"spread": self.spread} if self.spread else {}),
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
    return Evaluation(
        "average",
        {
            figure.key: mean_of([summary.value(figure.key) for summary in summaries])
            for figure in FIGURES
        },
        {"categories": len(summaries)},
        synthetic=any(summary.synthetic for summary in summaries),
    )


def over_seeds(runs: Sequence[Evaluation]) -> Evaluation:
    """Return the mean and the spread of each figure of a category over its seeds.

    The facts are those that all runs agree in; a single run is returned as it is.
    """
    first = runs[0]
    if len(runs) == 1:
        return first
    values, spread = mean_and_spread([run.values for run in runs])
    facts = {
        name: value
        for name, value in first.facts.items()
        if all(run.facts.get(name) == value for run in runs)
    }
    facts["seeds"] = [run.facts["seed"] for run in runs]
    facts["kinds"] = _kinds_over_seeds([run.facts["kinds"] for run in runs])
    remarks = tuple(dict.fromkeys(remark for run in runs for remark in run.remarks))
    return Evaluation(first.category, values, facts, remarks, first.synthetic, spread)


def _kinds_over_seeds(runs: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return the mean and the spread of the figures of each kind of defect."""
    kinds = []
    for same_kind in zip(*runs, strict=True):  # the images are the same
        figures = [
            {key: run[key] for key in ("failed", "recall", "image_auroc")} for run in same_kind
        ]
        values, spread = mean_and_spread(figures)
        first = same_kind[0]
        kinds.append({"kind": first["kind"], "images": first["images"], **values, "spread": spread})
    return kinds


def mean_and_spread(
    runs: Sequence[Mapping[str, float | None]],
) -> tuple[dict[str, float | None], dict[str, float | None]]:
    """Return the mean and the sample standard deviation of each value over several runs."""
    columns = {key: [run[key] for run in runs] for key in runs[0]}
    spread: dict[str, float | None] = {}
    for key, column in columns.items():
        known = [value for value in column if value is not None]
        spread[key] = float(np.std(known, ddof=1)) if len(known) > 1 else None
    return {key: mean_of(column) for key, column in columns.items()}, spread


def mean_of(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known; None where none is."""
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None
