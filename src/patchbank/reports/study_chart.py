"""The chart of a study: the scores of each part's images, against the thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from patchbank.memory.calibration import Thresholds
from patchbank.reports.drawing import LIGHT, ChartFormat, Theme, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True)
class PartScores:
    """The scores of a part's images; `unstable` if their decisions differ."""

    scores: Sequence[float]
    defective: bool
    unstable: bool


def study_chart(
    parts: Sequence[PartScores],
    thresholds: Thresholds,
    *,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return the scores of each part, good parts first, in the order of their highest score.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    ordered = sorted(parts, key=lambda part: (part.defective, max(part.scores)))

    def draw(axes: Axes) -> None:
        for defective, colour, name in (
            (False, theme.good, "good"),
            (True, theme.anomalous, "defective"),
        ):
            chosen = [
                (number, part)
                for number, part in enumerate(ordered, 1)
                if part.defective is defective
            ]
            if not chosen:
                continue
            for number, part in chosen:
                axes.plot(
                    [number, number],
                    [min(part.scores), max(part.scores)],
                    color=theme.ink if part.unstable else colour,
                    linewidth=2.5 if part.unstable else 1.0,
                    zorder=2,
                )
            axes.plot(
                [number for number, part in chosen for _ in part.scores],
                [score for _, part in chosen for score in part.scores],
                color=colour,
                marker="D" if defective else "o",
                markersize=4,
                linestyle="none",
                label=f"image of a {name} part",
                zorder=3,
            )
        if any(part.unstable for part in ordered):
            axes.plot([], [], color=theme.ink, linewidth=2.5, label="unstable part")
        for number, limit in enumerate(sorted(set(thresholds.to_json().values()))):
            axes.axhline(
                limit,
                color=theme.threshold,
                linestyle="--",
                linewidth=1.3,
                label=None if number else thresholds.describe().replace(", ", "\n"),
            )
        axes.set_xlabel("parts, good ones first")
        axes.set_ylabel("anomaly score")
        axes.locator_params(axis="x", integer=True)

    return rendered(draw, (7.2, 4.1), theme, file_format, legend="best")
