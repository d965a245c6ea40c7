"""The table of figures that several commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from patchbank.cli.output import answer
from patchbank.inspection.figures import FIGURES

Values = Mapping[str, float | None]


def print_figures(rows: Sequence[tuple[str, Values]], *, aupro_limit: float | None = None) -> None:
    """Print a row for each name; a figure that nobody has gets no column."""
    shown = [
        figure
        for figure in FIGURES
        if any(values.get(figure.key) is not None for _, values in rows)
    ]
    table = Table(box=None, pad_edge=False)
    table.add_column("category")
    for figure in shown:
        limit = f" {aupro_limit:g}" if figure.key == "aupro" and aupro_limit else ""
        table.add_column(figure.title + limit, justify="right")
    for name, values in rows:
        table.add_row(Text(name), *[figure.text(values.get(figure.key)) for figure in shown])
    answer().print(table)
