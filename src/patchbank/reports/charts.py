"""Charts of an evaluation as SVG or PNG: score histogram, ROC, precision-recall, PRO."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchbank.memory.calibration import Thresholds
from patchbank.metrics import Curve
from patchbank.reports.drawing import LIGHT, ChartFormat, Theme, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BINS = 40


def score_histogram(
    good: npt.ArrayLike,
    anomalous: npt.ArrayLike,
    thresholds: Thresholds,
    *,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return a histogram of the image scores, good and anomalous, with the thresholds marked.

    Parameters
    ----------
    good, anomalous
        (n,) and (m,) of float; either may be empty.
    thresholds
        Each is drawn as a line; equal thresholds share one.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    groups = (("good", good, theme.good), ("anomalous", anomalous, theme.anomalous))
    return _histogram(groups, thresholds, theme, file_format)


def limits_histogram(
    calibration: npt.ArrayLike,
    inspections: npt.ArrayLike,
    defects: npt.ArrayLike,
    thresholds: Thresholds,
    *,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return a histogram of the scores that thresholds come from, and those that they judge.

    Each group is drawn in shares of its own images, since there may be many more of one.

    Parameters
    ----------
    calibration, inspections, defects
        (n,) each, of float: of good parts, recorded, of parts with a defect; all but the first may
        be empty.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    groups = (
        ("recorded inspections", inspections, theme.faint),
        ("good parts", calibration, theme.good),
        ("defects", defects, theme.anomalous),
    )
    return _histogram(groups, thresholds, theme, file_format, in_shares=True)


def bin_edges(scores: npt.ArrayLike, limits: Sequence[float]) -> list[float]:
    """Return the edges of a histogram of scores, wide enough for the limits that are near them.

    A limit that was given as a score may be so far away that all scores would be in one bin.
    """
    values = np.asarray(scores, np.float64)
    if not len(values):
        values = np.asarray(limits, np.float64)
    low, high = float(values.min()), float(values.max())
    span = high - low or 1.0
    near = [limit for limit in limits if low - span <= limit <= high + span]
    low, high = min(low, *near, high), max(high, *near, low)
    found: list[float] = np.linspace(low, high if high > low else low + 1, _BINS + 1).tolist()
    return found


def _histogram(
    groups: Sequence[tuple[str, npt.ArrayLike, str]],
    thresholds: Thresholds,
    theme: Theme,
    file_format: ChartFormat,
    *,
    in_shares: bool = False,
) -> bytes:
    found = [(name, np.asarray(given, np.float64), colour) for name, given, colour in groups]
    limits = sorted(set(thresholds.to_json().values()))
    edges = bin_edges(np.concatenate([scores for _, scores, _ in found]), limits)

    def draw(axes: Axes) -> None:
        for name, scores, colour in found:
            if not len(scores):
                continue
            weights = np.full(len(scores), 100 / len(scores)) if in_shares else None
            draw_bars = partial(axes.hist, scores, edges, weights=weights, color=colour)
            draw_bars(alpha=0.35, histtype="stepfilled")
            draw_bars(histtype="step", linewidth=1.5, label=f"{name} ({len(scores):,})")
        line: dict[str, Any] = {"color": theme.threshold, "linestyle": "--", "linewidth": 1.3}
        shown = [limit for limit in limits if edges[0] <= limit <= edges[-1]]
        for limit in shown:
            axes.axvline(limit, **line)
        # One label for both: the legend has no room for two.
        label = thresholds.describe().replace(", ", "\n")
        if len(shown) < len(limits):
            label += "\n(beyond this picture)"
        axes.plot([], [], label=label, **line)
        axes.set_xlabel("anomaly score")
        axes.set_ylabel("% of the images" if in_shares else "images")
        axes.locator_params(axis="y", integer=not in_shares)

    size = (5.4, 4.1) if in_shares else (4.4, 4.1)
    return rendered(draw, size, theme, file_format, legend="best")


def roc_chart(
    roc: Curve,
    auroc: float,
    *,
    operating_point: tuple[float, float] | None = None,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return the ROC curve; `operating_point` is (false-alarm rate, recall) at the threshold.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], color=theme.faint, linestyle=":", linewidth=1)
        axes.plot(roc.x, roc.y, color=theme.good, linewidth=2, label=f"AUROC {auroc:.4f}")
        _operating_point(axes, operating_point, theme)
        _unit_square(
            axes, "false-alarm rate (good images that fail)", "recall (anomalous images that fail)"
        )

    return rendered(draw, (4.4, 4.1), theme, file_format, legend="lower right")


def precision_recall_chart(
    precision_recall: Curve,
    average_precision: float,
    *,
    operating_point: tuple[float, float] | None = None,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return the precision-recall curve; `operating_point` is (recall, precision).

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        axes.step(
            precision_recall.x,
            precision_recall.y,
            where="pre",
            color=theme.good,
            linewidth=2,
            label=f"average precision {average_precision:.4f}",
        )
        _operating_point(axes, operating_point, theme)
        _unit_square(
            axes, "recall (anomalous images that fail)", "precision (fails that are anomalous)"
        )

    return rendered(draw, (4.4, 4.1), theme, file_format, legend="lower left")


def pro_chart(
    pro: Curve,
    aupro: float,
    fpr_limit: float,
    *,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return the per-region overlap against the pixel false-positive rate, with the limit marked.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        inside = pro.x <= fpr_limit
        label = f"AUPRO {aupro:.4f} up to {fpr_limit:g}"
        axes.fill_between(pro.x[inside], pro.y[inside], color=theme.good, alpha=0.15)
        axes.plot(pro.x, pro.y, color=theme.good, linewidth=2, label=label)
        axes.axvline(fpr_limit, color=theme.faint, linestyle=":", linewidth=1)
        _unit_square(axes, "false-positive rate of pixels", "overlap per region")

    return rendered(draw, (4.4, 4.1), theme, file_format, legend="lower right")


@dataclass(frozen=True, slots=True)
class SettingPoint:
    """Settings in a chart: what an image costs, and the shares of defects found and located."""

    label: str
    milliseconds: float
    found: float
    located: float
    recommended: bool


def found_chart(
    points: Sequence[SettingPoint],
    budget_ms: float,
    *,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return the shares of synthetic defects found and located against time, for each setting.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        axes.plot(
            [point.milliseconds for point in points],
            [100 * point.located for point in points],
            color=theme.faint,
            marker="o",
            markersize=6,
            markerfacecolor="none",
            linestyle="none",
            label="located",
            clip_on=False,
            zorder=3,
        )
        for chosen, colour, marker, name in (
            (False, theme.good, "o", "found"),
            (True, theme.anomalous, "D", "found, recommended"),
        ):
            some = [point for point in points if point.recommended is chosen]
            axes.plot(
                [point.milliseconds for point in some],
                [100 * point.found for point in some],
                color=colour,
                marker=marker,
                markersize=7,
                linestyle="none",
                label=name,
                clip_on=False,
                zorder=4,
            )
        for point in points:
            axes.annotate(
                point.label,
                (point.milliseconds, 100 * point.found),
                xytext=(6, 5),
                textcoords="offset points",
                fontsize=9,
            )
        axes.axvline(
            budget_ms, color=theme.threshold, linestyle="--", linewidth=1.3, label="budget"
        )
        axes.set_xscale("log")
        low = min(budget_ms, *(point.milliseconds for point in points))
        high = max(budget_ms, *(point.milliseconds for point in points))
        axes.set_xlim(low / 1.4, high * 1.6)
        ticks = [tick for step in range(-1, 6) for tick in (10**step, 2 * 10**step, 5 * 10**step)]
        shown = [tick for tick in ticks if low / 1.4 <= tick <= high * 1.6]
        axes.set_xticks(shown, [f"{tick:g}" for tick in shown])
        axes.minorticks_off()
        axes.set_ylim(-2, 105)
        axes.set_xlabel("milliseconds an image")
        axes.set_ylabel("synthetic defects, %")

    return rendered(draw, (5.4, 4.1), theme, file_format, legend="best")


def _operating_point(axes: Axes, point: tuple[float, float] | None, theme: Theme) -> None:
    if point is not None:
        axes.plot(
            *point,
            marker="o",
            markersize=8,
            color=theme.anomalous,
            markeredgecolor=theme.background,
            linestyle="none",
            label="at the threshold",
            clip_on=False,
            zorder=5,
        )


def _unit_square(axes: Axes, x_label: str, y_label: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.02)
    axes.set_aspect("equal")
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
