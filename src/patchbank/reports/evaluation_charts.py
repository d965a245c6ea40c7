"""The charts of an evaluation, in light and dark themes, with alternative text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchbank.memory.calibration import Thresholds
from patchbank.metrics import ImageMetrics, PixelMetrics, Rates
from patchbank.reports import charts
from patchbank.reports.drawing import DARK, LIGHT, Theme


@dataclass(frozen=True, slots=True)
class ChartFiles:
    """A chart as two SVG files; the names are relative to their folder."""

    light: str
    dark: str
    alt: str
    caption: str


def write_chart(
    folder: Path, stem: str, draw: Callable[[Theme], bytes], alt: str, caption: str
) -> ChartFiles:
    """Write a chart to a folder in both themes."""
    for tone, theme in (("light", LIGHT), ("dark", DARK)):
        (folder / f"{stem}-{tone}.svg").write_bytes(draw(theme))
    return ChartFiles(f"{stem}-light.svg", f"{stem}-dark.svg", alt, caption)


def write_evaluation_charts(
    folder: Path,
    images: ImageMetrics,
    rates: Rates,
    thresholds: Thresholds,
    pixels: PixelMetrics | None,
    good_scores: npt.NDArray[np.floating],
    anomalous_scores: npt.NDArray[np.floating],
) -> list[ChartFiles]:
    """Write histogram, ROC, precision-recall and PRO charts to a folder, where data is available.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    chart = partial(write_chart, folder)
    drawn = []
    if len(good_scores) or len(anomalous_scores):
        drawn.append(
            chart(
                "scores",
                lambda theme: charts.score_histogram(
                    good_scores, anomalous_scores, thresholds, theme=theme
                ),
                f"Histogram of the scores of {images.good} good and {images.anomalous} anomalous "
                f"images; {thresholds.describe()}",
                "Number of images at each score.",
            )
        )
    alarms, recall = rates.false_alarm_rate, rates.recall
    if images.roc is not None and images.image_auroc is not None and alarms and recall:
        roc, auroc = images.roc, images.image_auroc
        point = (alarms.value, recall.value)
        drawn.append(
            chart(
                "roc",
                lambda theme: charts.roc_chart(roc, auroc, operating_point=point, theme=theme),
                f"ROC curve with an area of {auroc:.4f}",
                "Recall against false-alarm rate over all thresholds (ROC); the dot marks the "
                "threshold in use.",
            )
        )
    if images.precision_recall is not None and images.average_precision is not None:
        curve, average = images.precision_recall, images.average_precision
        drawn.append(
            chart(
                "precision-recall",
                lambda theme: charts.precision_recall_chart(curve, average, theme=theme),
                f"Precision-recall curve with an average precision of {average:.4f}",
                "Precision against recall over all thresholds.",
            )
        )
    if pixels is not None and pixels.pro is not None and pixels.aupro is not None:
        pro, aupro, limit = pixels.pro, pixels.aupro, pixels.fpr_limit
        drawn.append(
            chart(
                "pro",
                lambda theme: charts.pro_chart(pro, aupro, limit, theme=theme),
                f"Per-region overlap with a normalised area of {aupro:.4f} up to {limit:g}",
                "Share of each region found against share of good pixels flagged (PRO).",
            )
        )
    return drawn
