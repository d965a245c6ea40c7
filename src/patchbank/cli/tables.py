"""The tables of figures that several commands print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from patchbank.cli.output import answer, print_table
from patchbank.inspection.measuring.figures import FIGURES, Evaluation

Values = Mapping[str, float | None]


def print_figures(
    rows: Sequence[tuple[str, Values, Values]], *, aupro_limit: float | None = None
) -> None:
    """Print a row of values and spreads for each name; a figure nobody has gets no column."""
    shown = [
        figure
        for figure in FIGURES
        if any(values.get(figure.key) is not None for _, values, _ in rows)
    ]
    titles = [
        figure.title + (f" {aupro_limit:g}" if figure.key == "aupro" and aupro_limit else "")
        for figure in shown
    ]
    columns = [("category", "left"), *((title, "right") for title in titles)]
    print_table(
        columns,
        [
            (
                name,
                *(figure.text(values.get(figure.key), spread.get(figure.key)) for figure in shown),
            )
            for name, values, spread in rows
        ],
    )


def print_kinds(evaluations: Sequence[Evaluation]) -> None:
    """Print the figures of each kind of defect of the categories that have several kinds."""
    from patchbank.inspection.measuring.sections import kind_rows  # imports the charts

    rows = [
        (evaluation.label, kind.name, kind.failed, kind.recall, kind.interval, kind.auroc)
        for evaluation in evaluations
        for kind in kind_rows(evaluation)
    ]
    if not rows:
        return
    answer().print()
    columns = [("category", "left"), ("kind of defect", "left")]
    columns += [(title, "right") for title in ("failed", "recall", "95 % interval", "image AUROC")]
    print_table(columns, rows)
