"""Charts of a look for drift: the evidence, and what was measured, inspection by inspection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from patchbank.reports.drawing import LIGHT, ChartFormat, Theme, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SIZE: Final = (7.2, 2.9)
# More points than a chart has pixels are drawn as their number demands.
_MOST_POINTS: Final = 4_000
# The line of a trend is the median of so many images.
_WINDOW: Final = 25
_TICKS: Final = 6
# In less time the seconds are shown.
_SHORT: Final = timedelta(minutes=20)
# The logarithm of no evidence at all has no end.
_LEAST_LOG: Final = -1.0


@dataclass(frozen=True, slots=True, eq=False)
class TimeAxis:
    """Inspections in their order, with their times, and what to mark among them.

    Attributes
    ----------
    first
        The number of the first one that is shown.
    moments
        When each was, in local time.
    spans
        The first and the last number of each change.
    """

    first: int
    moments: Sequence[datetime]
    spans: Sequence[tuple[int, int]]

    def draw(self, axes: Axes, theme: Theme) -> None:
        """Mark the changes, and write times along the axis."""
        last = self.first + len(self.moments) - 1
        for number, (begin, end) in enumerate(self.spans):
            axes.axvspan(
                max(begin, self.first),
                end,
                color=theme.anomalous,
                alpha=0.13,
                linewidth=0,
                label=None if number else "changed",
            )
        ticks = np.unique(np.linspace(self.first, last, _TICKS).round().astype(int))
        one_day = self.moments[0].date() == self.moments[-1].date()
        short = self.moments[-1] - self.moments[0] < _SHORT
        form = "%H:%M:%S" if short else "%H:%M" if one_day else "%m-%d\n%H:%M"
        labels = [self.moments[tick - self.first].strftime(form) for tick in ticks]
        axes.set_xticks(ticks, labels)
        axes.set_xlim(self.first - 0.5, last + 0.5)
        axes.set_xlabel("inspections, in their order")


def evidence_chart(
    log_evidence: npt.NDArray[np.float64],
    log_limit: float,
    axis: TimeAxis,
    *,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return the evidence of a change after each inspection, with the line of the alarm.

    Parameters
    ----------
    log_evidence
        float64 (n,), of the inspections shown; natural logarithms, as `log_limit`.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    heights = np.maximum(log_evidence / np.log(10), _LEAST_LOG)
    limit = log_limit / np.log(10)

    def draw(axes: Axes) -> None:
        numbers = axis.first + np.arange(len(heights))
        axes.plot(numbers, heights, color=theme.good, linewidth=1.2, label="evidence")
        axes.axhline(limit, color=theme.threshold, linestyle="--", linewidth=1.3, label="alarm")
        axis.draw(axes, theme)
        top = max(limit, float(heights.max())) + 0.5
        axes.set_ylim(_LEAST_LOG, top)
        decades = range(0, int(top) + 1)
        axes.set_yticks(list(decades), [f"{10**decade:,}" for decade in decades])
        axes.set_ylabel("evidence of a change")

    return rendered(draw, _SIZE, theme, file_format, legend="best")


def trend_chart(
    values: npt.NDArray[np.float64],
    references: tuple[float, float] | None,
    name: str,
    axis: TimeAxis,
    *,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return a number of each inspection, the moving median, and the range of the references.

    Parameters
    ----------
    values
        float64 (n,), of the inspections shown; NaN where not known.
    references
        What 90 % of the references have.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """

    def draw(axes: Axes) -> None:
        numbers = axis.first + np.arange(len(values))
        step = max(1, len(values) // _MOST_POINTS)
        if references is not None:
            axes.axhspan(
                *references, color=theme.good, alpha=0.16, linewidth=0, label="90 % of references"
            )
        axes.plot(
            numbers[::step],
            values[::step],
            color=theme.faint,
            marker=".",
            markersize=3,
            linestyle="none",
            label="inspection",
        )
        axes.plot(
            numbers, _moving_median(values), color=theme.good, linewidth=1.8, label="moving median"
        )
        axis.draw(axes, theme)
        axes.set_ylabel(name)

    return rendered(draw, _SIZE, theme, file_format, legend="best")


def _moving_median(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return the median of each value and the ones before, NaN where none is known."""
    padded = np.concatenate([np.full(_WINDOW - 1, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, _WINDOW)
    known = ~np.isnan(windows).all(axis=1)
    medians = np.full(len(values), np.nan)
    medians[known] = np.nanmedian(windows[known], axis=1)
    return medians
