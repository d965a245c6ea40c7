"""The figures of an evaluation: what they are called, how they are written, what they mean."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure of a category, by its key in an evaluation's values."""

    key: str
    title: str
    explanation: str
    digits: int = 4

    def text(self, value: float | None) -> str:
        """Return a value as tables print it."""
        return "-" if value is None else f"{value:.{self.digits}f}"


FIGURES: tuple[Figure, ...] = (
    Figure(
        "image_auroc",
        "image AUROC",
        "How often an anomalous image scores above a good one, taking every pair.",
    ),
    Figure("average_precision", "AP", "Average precision of images: precision over all recalls."),
    Figure(
        "f1_max",
        "F1-max",
        "Best balance of precision and recall, at a threshold nobody knows beforehand.",
    ),
    Figure(
        "false_alarm_rate",
        "false alarms",
        "Share of good images that fail at the threshold, which comes from the train images alone.",
    ),
    Figure("recall", "recall", "Share of anomalous images that fail at that threshold."),
    Figure(
        "pixel_auroc", "pixel AUROC", "As the image AUROC, for pixels inside and outside masks."
    ),
    Figure("pixel_average_precision", "pixel AP", "As AP, for pixels; strict: few are anomalous."),
    Figure(
        "aupro",
        "AUPRO",
        "Mean share of each anomalous region found, over false-positive rates up to the limit.",
    ),
    Figure("fit_seconds", "fit s", "Seconds from the first train image to the bank.", digits=1),
    Figure(
        "milliseconds_per_image",
        "ms/image",
        "From file to verdict and map, one image at a time; median.",
        digits=1,
    ),
)
