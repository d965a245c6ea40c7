"""`patchbank check`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import (
    answer,
    check_csv,
    check_open,
    open_page,
    print_json,
    print_refused,
    print_remarks,
    print_table,
    show_progress,
    write_csv,
)
from patchbank.inspection.workspace import Workspace

if TYPE_CHECKING:
    from patchbank.inspection.measuring.check_report import CheckReport


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("check")(guarded(check_command))


def check_command(
    category: options.Category,
    folder: Annotated[
        Path,
        typer.Argument(
            help="Folder with good/PART/IMAGE and defect/PART/IMAGE, or a CSV file with the "
            "columns image, part and answer (good or defect).",
            show_default=False,
        ),
    ],
    part_from: Annotated[
        str | None,
        typer.Option(
            metavar="PATTERN",
            help="Tell the part from an image's path below good or defect, without suffix, by a "
            r"regular expression such as '(.*)_\d+': its group is the part.  "
            "\\[default: the image's folder]",
        ),
    ] = None,
    bank_version: Annotated[
        int | None,
        typer.Option(help="Judge with this version of the bank.  \\[default: the active version]"),
    ] = None,
    record: Annotated[
        bool,
        typer.Option(
            "--record",
            help="Record the inspections in the database, where they count as production.",
        ),
    ] = False,
    report: options.PageFolder = None,
    open_report: options.Open = False,
    csv: options.Csv = None,
    json: options.Json = False,
) -> int:
    """Check the inspection with parts of known answer, each imaged several times.

    The attribute agreement study of AIAG's Measurement Systems Analysis: agreement with the
    answers and between the images of a part, misses, false alarms, kappa, unstable parts. An
    image to review counts as not passed. Images of parts that the bank has among its references
    are left out, and nothing is recorded.
    """
    from patchbank.datasets.study import read_study
    from patchbank.inspection.measuring.check import check

    check_open(open_report, report)
    check_csv(csv, json=json)
    with Workspace() as workspace, show_progress() as progress:
        found = check(
            workspace,
            category,
            read_study(folder, part_from),
            bank_version=bank_version,
            record=record,
            report=report,
            progress=progress,
        )
    print_refused(found.refused)
    print_remarks((*found.left_out, *found.remarks))
    if csv is not None:
        write_csv(csv, found.write_csv)
    if json:
        print_json(found.to_json())
    elif csv != "-":
        _print(found)
    if open_report and found.page is not None:
        open_page(found.page)
    return 0


def _print(found: CheckReport) -> None:
    from patchbank.inspection.measuring.check_report import bounds_in_words

    console = answer()
    console.print(found.headline(), markup=False)
    print_table(
        [("", "left"), ("", "right"), ("", "left"), ("95 % interval", "left"), ("reading", "fold")],
        [
            (figure.title, figure.value, figure.count, figure.interval, figure.reading)
            for figure in found.figures()
        ],
    )
    for line in (bounds_in_words(), found.review_in_words(), *found.conspicuous_in_words()):
        console.print(line, markup=False)
    if found.page is not None:
        console.print(f"report: {found.page}", markup=False)
