"""The chart of sensitivity: the share of synthetic defects found, by kind, contrast and size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchbank.reports.drawing import LIGHT, ChartFormat, Theme, rendered

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def sensitivity_chart(
    shares: npt.NDArray[np.float64],
    kinds: Sequence[str],
    sizes: Sequence[str],
    contrasts: Sequence[str],
    smallest: Sequence[Sequence[int | None]],
    *,
    theme: Theme = LIGHT,
    file_format: ChartFormat = "svg",
) -> bytes:
    """Return a grid for each kind: contrasts down, sizes across, the share found in each cell.

    Parameters
    ----------
    shares
        (kinds, sizes, contrasts), 0 to 1.
    smallest
        Of each kind and contrast, the number of the smallest size that is found, which is outlined.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    count, wide, high = len(kinds), len(sizes), len(contrasts)
    gap = 1.2

    def draw(axes: Axes) -> None:
        from matplotlib.colors import to_rgb
        from matplotlib.patches import Rectangle

        empty, full = np.array(to_rgb(theme.background)), np.array(to_rgb(theme.good))
        ticks, labels = [], []
        for kind, name in enumerate(kinds):
            top = kind * (high + gap)
            axes.text(-0.5, top - 0.75, name, fontweight="bold", va="center", ha="left")
            for contrast in range(high):
                ticks.append(top + contrast)
                labels.append(contrasts[contrast])
                for size in range(wide):
                    share = float(shares[kind, size, contrast])
                    chosen = smallest[kind][contrast] == size
                    axes.add_patch(
                        Rectangle(
                            (size - 0.5, top + contrast - 0.5),
                            1,
                            1,
                            facecolor=tuple(empty + (full - empty) * (0.05 + 0.95 * share)),
                            edgecolor=theme.ink if chosen else theme.grid,
                            linewidth=2.4 if chosen else 0.8,
                            zorder=3 if chosen else 2,
                        )
                    )
                    # Dark on light cells, light on dark ones, in either theme.
                    ink = theme.ink if share < 0.55 else theme.background
                    axes.text(
                        size, top + contrast, f"{100 * share:.0f}", color=ink, ha="center",
                        va="center", zorder=4, fontsize=9,
                    )  # fmt: skip
        axes.set_xlim(-0.6, wide - 0.4)
        axes.set_ylim(count * (high + gap) - gap - 0.4, -1.3)
        axes.set_xticks(range(wide), sizes)
        axes.set_yticks(ticks, labels)
        axes.tick_params(length=0)
        axes.grid(visible=False)
        axes.spines[:].set_visible(False)
        axes.set_xlabel("size of the synthetic defect")
        axes.set_ylabel("contrast, % of the image's own")

    rows = count * (high + gap)
    size = (max(4.4, 1.4 + 0.95 * wide), 1.0 + 0.3 * rows)
    return rendered(draw, size, theme, file_format, legend=None)
