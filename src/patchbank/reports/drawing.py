"""How every chart is drawn: its themes, its fonts, and the file it becomes."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal

from patchbank.caches import cache_folder, has_own_settings
from patchbank.environment import install_command
from patchbank.errors import MissingExtraError
from patchbank.reports.fonts import package_fonts
from patchbank.vision.own_pictures import MAKER

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ChartFormat = Literal["svg", "png"]
LegendPosition = Literal["best", "lower left", "lower right"]


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours of a chart; blue for good, orange for anomalous: safe for colour blindness."""

    background: str
    ink: str
    faint: str
    grid: str
    good: str
    anomalous: str
    threshold: str


LIGHT: Final = Theme("#ffffff", "#1c2026", "#5c6570", "#e3e6ea", "#2b6cb0", "#d9730d", "#1c2026")
DARK: Final = Theme("#1b1f25", "#e8eaed", "#a6adb7", "#343a43", "#6aaeee", "#f2a154", "#e8eaed")


def _set_matplotlib_cache() -> None:
    """Give Matplotlib a folder for its font list if the account has no home folder.

    Otherwise every process would scan all fonts and warn about it.
    """
    if "MPLCONFIGDIR" in os.environ or has_own_settings():
        return
    folder = cache_folder("matplotlib")
    if folder is not None:
        os.environ["MPLCONFIGDIR"] = str(folder)


@cache
def _more_fonts() -> tuple[str, ...]:
    """Make the fonts that come with the extra `report` known to Matplotlib; return their names."""
    from matplotlib.font_manager import FontProperties, fontManager

    for path in package_fonts():
        fontManager.addfont(path)
    return tuple(FontProperties(fname=path).get_name() for path in package_fonts())


def rendered(
    draw: Callable[[Axes], None],
    size: tuple[float, float],
    theme: Theme,
    file_format: ChartFormat,
    legend: LegendPosition | None,
) -> bytes:
    """Return a chart that `draw` draws, in a theme; `size` is in inches.

    Raises
    ------
    MissingExtraError
        If matplotlib is not installed.
    """
    _set_matplotlib_cache()
    try:
        import matplotlib as mpl
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            f"charts need matplotlib; run: {install_command('patchbank[report]')}"
        ) from None
    # Letters drawn as paths look the same everywhere; a fixed salt makes the files reproducible.
    style: Any = {
        "svg.fonttype": "path",
        "svg.hashsalt": "patchbank",
        "font.family": ["DejaVu Sans", *_more_fonts()],
        "font.size": 10,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.faint,
        "axes.facecolor": theme.background,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": theme.grid,
        "xtick.color": theme.faint,
        "ytick.color": theme.faint,
        "legend.frameon": True,
        "legend.framealpha": 0.85,
        "legend.facecolor": theme.background,
        "legend.edgecolor": theme.grid,
        "legend.fontsize": 9,
    }
    with mpl.rc_context(style):
        figure = Figure(figsize=size, layout="constrained", facecolor=theme.background)
        FigureCanvasAgg(figure)  # no pyplot: it keeps global state
        axes = figure.add_subplot()
        draw(axes)
        if legend is not None:
            axes.legend(loc=legend)
        target = io.BytesIO()
        metadata = {"Date": None} if file_format == "svg" else {"Software": MAKER}
        figure.savefig(target, format=file_format, metadata=metadata, dpi=120)
    return target.getvalue()
