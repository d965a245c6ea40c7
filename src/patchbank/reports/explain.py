"""The figures of an evaluation in words, for people who do not know their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from patchbank.metrics import ImageMetrics, PixelMetrics, Proportion, Rates

_UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class MetricRow:
    """A figure, its interval where it has one, and what it means."""

    name: str
    value: str
    interval: str
    explanation: str


def explain(
    images: ImageMetrics,
    rates: Rates,
    pixels: PixelMetrics | None = None,
    requested_false_alarm_rate: float | None = None,
) -> list[MetricRow]:
    """Return the rows of a table of figures, the ones a user decides by first."""
    return [
        *_operating_rows(rates, requested_false_alarm_rate),
        *_image_rows(images),
        *(_pixel_rows(pixels) if pixels is not None and pixels.aupro is not None else ()),
    ]


def _operating_rows(rates: Rates, requested: float | None) -> Iterator[MetricRow]:
    alarms = "Share of good images that fail at the threshold, which was set on good images alone."
    if requested is not None:
        alarms += f" Asked for: {_percent(requested)}"
        if rates.false_alarm_rate is not None:
            agrees = rates.false_alarm_rate.includes(requested)
            alarms += "; the interval includes it." if agrees else "; the interval excludes it."
        else:
            alarms += "."
    yield _share("False-alarm rate", rates.false_alarm_rate, alarms)
    yield _share("Recall", rates.recall, "Share of anomalous images that fail at that threshold.")


def _image_rows(images: ImageMetrics) -> Iterator[MetricRow]:
    yield MetricRow(
        "Image AUROC",
        _number(images.image_auroc),
        "",
        "How often an anomalous image scores above a good one, taking every pair: 1 is perfect, "
        "0.5 is chance. No threshold is involved.",
    )
    yield MetricRow(
        "Average precision",
        _number(images.average_precision),
        "",
        "Precision averaged over recall: of the images that fail, how many are anomalous, over all "
        f"thresholds. Chance is {images.anomalous / (images.good + images.anomalous):.3f} here.",
    )
    yield MetricRow(
        "Best F1",
        _number(images.f1_max),
        "",
        "Balance of precision and recall at the threshold that would suit this test set best. "
        "Nobody knows that threshold beforehand: it is not the one in use.",
    )


def _pixel_rows(pixels: PixelMetrics) -> Iterator[MetricRow]:
    yield MetricRow(
        "Pixel AUROC",
        _number(pixels.pixel_auroc),
        "",
        "As the image AUROC, for pixels: inside the masks against all others.",
    )
    yield MetricRow(
        "Pixel average precision",
        _number(pixels.pixel_average_precision),
        "",
        "As the average precision, for pixels; stricter, since few pixels are anomalous.",
    )
    yield MetricRow(
        "AUPRO",
        _number(pixels.aupro),
        "",
        f"Mean share of each of the {pixels.regions} anomalous regions that is found, averaged "
        f"over false-positive rates up to {pixels.fpr_limit:g}. Small regions count as much as "
        "large ones.",
    )


def _share(name: str, share: Proportion | None, explanation: str) -> MetricRow:
    if share is None:
        return MetricRow(name, _UNKNOWN, "", f"{explanation} There is no such image in the test.")
    return MetricRow(
        name,
        f"{_percent(share.value)} ({share.count} of {share.total})",
        f"{_percent(share.low)} to {_percent(share.high)}",
        explanation,
    )


def _number(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.4f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"
