"""`patchbank inspections`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.text import Text

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, talk, write_csv
from patchbank.errors import ParameterError
from patchbank.inspection.keeping.inspections import (
    InspectionList,
    make_selection,
    open_inspections,
)
from patchbank.inspection.workspace import Workspace
from patchbank.printable import printable

_LINES = 50
_STYLES = {"fail": "red", "review": "yellow"}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("inspections")(guarded(inspections_command))


def inspections_command(
    category: options.Category,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="From this time on: yesterday, 3h, 2026-11-01, 2026-11-01T14:30, 14:30 (today). "
            "Local time, or with a zone: 2026-11-01T14:30+01:00.",
        ),
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Before this time; a day is included."),
    ] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(metavar="VERDICT", help="pass, review or fail. May be repeated."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Only the last ones, so many at most.  \\[default: {_LINES} in the list, all in "
            "CSV and JSON]",
        ),
    ] = None,
    csv: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write them to a CSV file; - is standard output."),
    ] = None,
    json: options.Json = False,
) -> int:
    """List the recorded inspections of a category, newest last."""
    if csv is not None and json:
        raise ParameterError("--csv and --json: give one of them")
    if limit is None and csv is None and not json:
        limit = _LINES
    selection = make_selection(since=since, until=until, verdicts=verdict or (), limit=limit)
    with Workspace() as workspace, open_inspections(workspace, category, selection) as found:
        if csv is not None:
            write_csv(csv, found.write_csv)
        elif json:
            for document in found.documents():
                print_json(document)
        else:
            _print_list(found)
        talk().print(found.summary(), markup=False)
    return 0


def _print_list(found: InspectionList) -> None:
    rows = [
        (
            row.inspected_at.strftime("%Y-%m-%d %H:%M:%S"),
            row.verdict,
            f"{row.score:.4g}",
            f"{row.fail_above:.4g}",
            "-" if row.p_value is None else f"{row.p_value:.3g}",
            str(row.bank_version),
            printable(row.image),
        )
        for row in found.brief()
    ]
    if not rows:
        return
    rows.insert(0, ("inspected", "verdict", "score", "fails above", "p-value", "version", "image"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = Text()
    for row in rows:
        for number, (cell, width) in enumerate(zip(row[:-1], widths, strict=False)):
            text = f"{cell:<{width}}" if number < 2 else f"{cell:>{width}}"
            lines.append(f"{text}  ", style=_STYLES.get(cell, ""))
        lines.append(row[-1] if row is rows[-1] else f"{row[-1]}\n")
    # All at once: a table of a thousand rows would take half a second.
    answer().print(lines)
