"""The tables of figures that several commands print."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence

from rich.cells import cell_len

from patchbank.cli.output import answer, print_table
from patchbank.inspection.measuring.figures import FIGURES, Evaluation
from patchbank.printable import counted, printable

Values = Mapping[str, float | None]


def print_figures(
    rows: Sequence[tuple[str, Values, Values]], *, aupro_limit: float | None = None
) -> None:
    """Print a row of values and spreads for each name; a figure nobody has gets no column.

    Where the terminal is too narrow for all, the figures follow below each other.
    """
    shown = [
        figure
        for figure in FIGURES
        if any(values.get(figure.key) is not None for _, values, _ in rows)
    ]
    columns = []
    for figure in shown:
        title = figure.title + (
            f" {aupro_limit:g}" if figure.key == "aupro" and aupro_limit else ""
        )
        texts = [
            figure.text(values.get(figure.key), spread.get(figure.key))
            for _, values, spread in rows
        ]
        columns.append([title, *texts])
    names = ["category", *(name for name, _, _ in rows)]
    for number, part in enumerate(_fitting(names, columns)):
        if number:
            answer().print()
        layout = [("category", "left"), *((title, "right") for title, *_ in part)]
        cells = zip(names, *part, strict=True)
        next(cells)  # the titles
        print_table(layout, list(cells), width=_width([names, *part]))


def _fitting(
    names: Sequence[str], columns: Sequence[Sequence[str]]
) -> Iterator[list[Sequence[str]]]:
    """Yield the columns in parts that fit the terminal beside the names; all without a terminal."""
    most = answer().width if sys.stdout.isatty() else None
    part: list[Sequence[str]] = []
    for column in columns:
        if part and most is not None and _width([names, *part, column]) > most:
            yield part
            part = []
        part.append(column)
    if part:
        yield part


def _width(columns: Sequence[Sequence[str]]) -> int:
    """Return how wide a table of these columns is."""
    return sum(2 + max(cell_len(printable(text)) for text in column) for column in columns)


def print_shares(evaluations: Sequence[Evaluation]) -> None:
    """Print the rates of each category at the threshold in use, with their intervals."""
    names = {"recall": "recall", "missed": "miss_rate", "false alarms": "false_alarm_rate"}
    rows = []
    for found in evaluations:
        known = {**found.values, **found.facts}
        # An average over categories or seeds has no intervals.
        cells = [
            "-"
            if known.get(f"{key}_interval") is None
            else "{:.1f} % ({:.1f} to {:.1f} %)".format(
                *(100 * share for share in (known[key], *known[f"{key}_interval"]))
            )
            for key in names.values()
        ]
        if set(cells) != {"-"}:
            rows.append([found.label, *cells])
    if not rows:
        return
    answer().print()
    answer().print("at the threshold in use, with 95 % intervals:", markup=False)
    print_table([("category", "left"), *((name, "right") for name in names)], rows)


def print_proposals(evaluations: Sequence[Evaluation]) -> None:
    """Print what is proposed by costs, where it was asked for."""
    for found in evaluations:
        if proposal := found.facts.get("proposal"):
            answer().print(f"{found.label}: proposal: {proposal['text']}", markup=False)


def print_reviews(evaluations: Sequence[Evaluation]) -> None:
    """Print how many images of each category go to review, where any does."""
    for found in evaluations:
        # An average over categories or seeds has no counts.
        good, anomalous = found.facts.get("review_good"), found.facts.get("review_anomalous")
        if good is not None and anomalous is not None and good + anomalous:
            answer().print(
                f"{found.label}: {good} of {counted(found.facts['test_good'], 'good image')} and "
                f"{anomalous} of {found.facts['test_anomalous']:,} anomalous go to review",
                markup=False,
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
    titles = ["category", "kind of defect", "failed", "recall", "95 % interval", "image AUROC"]
    # Several seeds have no interval.
    shown = [number for number in range(len(titles)) if any(row[number] != "-" for row in rows)]
    print_table(
        [(titles[number], "right" if number > 1 else "left") for number in shown],
        [[row[number] for number in shown] for row in rows],
    )
