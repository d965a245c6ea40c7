"""`patchbank inspections`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.cells import cell_len
from rich.text import Text

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, print_remarks, talk, write_csv
from patchbank.errors import ParameterError
from patchbank.inspection.keeping.inspected_images import write_inspected_image
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
    part: Annotated[str | None, typer.Option(help="Only inspections of this part.")] = None,
    station: Annotated[str | None, typer.Option(help="Only inspections at this station.")] = None,
    inspection_id: Annotated[
        int | None,
        typer.Option("--id", metavar="N", help="Only the inspection with this number."),
    ] = None,
    reviewed: Annotated[
        bool | None,
        typer.Option(
            "--reviewed/--unreviewed",
            help="Only those that a person reviewed, or only those that wait for review: they did "
            "not pass, and nobody has answered.  \\[default: both]",
            show_default=False,
        ),
    ] = None,
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Write the image kept with the inspection --id N to a new file.",
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
    if image is not None and inspection_id is None:
        raise ParameterError("--image: give the number of the inspection too, --id N")
    if limit is None and csv is None and not json:
        limit = _LINES
    selection = make_selection(
        since=since,
        until=until,
        verdicts=verdict or (),
        limit=limit,
        part=part,
        station=station,
        inspection_id=inspection_id,
        reviewed=reviewed,
    )
    with Workspace() as workspace, open_inspections(workspace, category, selection) as found:
        if image is not None and inspection_id is not None:
            write_inspected_image(workspace, category, inspection_id, image)
        if csv is not None:
            write_csv(csv, found.write_csv)
        elif json:
            for document in found.documents():
                print_json(document)
        else:
            _print_list(found)
            if inspection_id is not None:
                _print_details(found)
        talk().print(found.summary(), markup=False)
    return 0


def _print_details(found: InspectionList) -> None:
    for inspection in found.whole():
        details = {
            "image size": inspection.width and f"{inspection.width} x {inspection.height} pixels",
            "good parts": inspection.calibration_images,
            "extractor": inspection.extractor["in_words"],
            "fingerprint": inspection.extractor_fingerprint,
            "actor": inspection.actor,
        }
        for name, value in details.items():
            if value is not None:
                answer().print(f"{name:<12} {value}", markup=False)
        print_remarks(inspection.remarks)


def _print_list(found: InspectionList) -> None:
    rows: list[tuple[str, ...]] = [
        (
            row.inspected_at.strftime("%Y-%m-%d %H:%M:%S"),
            row.verdict,
            f"{row.score:.4g}",
            f"{row.fail_above:.4g}",
            "-" if row.p_value is None else f"{row.p_value:.3g}",
            str(row.bank_version),
            str(row.inspection_id),
            printable(row.part or "-"),
            printable(row.station or "-"),
            printable(row.review or "-"),
            printable(row.image),
        )
        for row in found.brief()
    ]
    if not rows:
        return
    heading = ("inspected", "verdict", "score", "fails above", "p-value", "version", "id")
    rows.insert(0, (*heading, "part", "station", "review", "image"))
    # Where there are none, their columns say nothing.
    shown = [
        number
        for number, column in enumerate(zip(*rows, strict=True))
        if number not in (7, 8, 9) or set(column[1:]) != {"-"}
    ]
    rows = [tuple(row[number] for number in shown) for row in rows]
    # Characters of Japanese or Chinese take two cells.
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = Text()
    for row in rows:
        for number, (cell, width) in enumerate(zip(row[:-1], widths, strict=False)):
            space = " " * (width - cell_len(cell))
            text = cell + space if number < 2 else space + cell
            lines.append(f"{text}  ", style=_STYLES.get(cell, ""))
        lines.append(row[-1] if row is rows[-1] else f"{row[-1]}\n")
    # All at once: a table of a thousand rows would take half a second.
    answer().print(lines)
