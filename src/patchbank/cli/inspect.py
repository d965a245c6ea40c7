"""`patchbank inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import EXIT_ERROR, EXIT_FAILED, guarded
from patchbank.cli.output import (
    answer,
    check_open,
    open_page,
    print_json,
    print_remarks,
    show_progress,
    talk,
)
from patchbank.cli.verdicts import VerdictList
from patchbank.inspection.judging.inspect import DEFAULT_TOP
from patchbank.inspection.judging.inspect_paths import inspect_paths
from patchbank.inspection.judging.recording import OnDatabaseLoss
from patchbank.inspection.verdicts import PASSES_WITH_REGION, Refused
from patchbank.inspection.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("inspect")(guarded(inspect_command))


def inspect_command(
    category: options.Category,
    paths: options.Paths,
    top: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=1000,
            help="How many similar images to show; 0 for none.  \\[default: 10 in JSON, with "
            "--details and for a single image]",
        ),
    ] = None,
    details: Annotated[
        bool,
        typer.Option(
            "--details",
            help="Show thresholds, p-value, regions and similar images of each image, as for a "
            "single one.",
        ),
    ] = False,
    part: Annotated[
        str | None,
        typer.Option(help="Id of the part that the images show, to be recorded with them."),
    ] = None,
    part_from: options.PartFrom = None,
    station: options.StationToRecord = None,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Write a heatmap picture of each image to this folder.")
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Write a page of the images, the highest scores first, with pictures, to this "
            "folder."
        ),
    ] = None,
    open_report: options.Open = False,
    in_database: Annotated[
        bool,
        typer.Option(
            "--in-database",
            help="Search the nearest patches in SQL instead of in memory, using an HNSW index "
            "if there "
            "is one (`patchbank index --on patches --metric l2`).",
        ),
    ] = False,
    no_record: Annotated[
        bool, typer.Option("--no-record", help="Do not record the inspections in the database.")
    ] = False,
    on_database_loss: Annotated[
        OnDatabaseLoss,
        typer.Option(
            help="If the database becomes unreachable, stop with an error, or keep judging without "
            "recording.",
        ),
    ] = "raise",
    bank_version: Annotated[
        int | None,
        typer.Option(help="Judge with this version of the bank.  \\[default: the active version]"),
    ] = None,
    json: options.Json = False,
) -> int:
    """Judge images: pass, fail (where and how strongly), or review (a person decides).

    Exits 0 when all pass, 1 when any does not, 2 when an image could not be judged.
    """
    check_open(open_report, report)
    code = 0
    told: tuple[str, ...] = ()
    verdicts = VerdictList(details=details, similar=bool(top))
    try:
        # In a list, fails are last: it is printed at the end, and a bar shows how far it is.
        with Workspace() as workspace, show_progress(results_appear=json) as progress:
            for result in inspect_paths(
                workspace,
                category,
                paths,
                part=part,
                part_from=part_from,
                station=station,
                top=DEFAULT_TOP if top is None else top,
                heatmaps=heatmaps,
                report=report,
                in_database=in_database,
                record=not no_record,
                on_database_loss=on_database_loss,
                bank_version=bank_version,
                on_remarks=print_remarks,
                progress=progress,
            ):
                if isinstance(result, Refused):
                    code = EXIT_ERROR
                    verdicts.add_refused()
                    talk().print(f"patchbank: {result.error}", markup=False, style="red")
                    if json:
                        print_json({"category": category, **result.to_json()})
                    continue
                remarks = tuple(text for text in result.remarks if text != PASSES_WITH_REGION)
                if remarks and remarks != told:
                    told = remarks
                    print_remarks(told)
                if not result.passed and code == 0:
                    code = EXIT_FAILED
                if json:
                    print_json(result.to_json())
                else:
                    verdicts.add(result)
    finally:
        # An interrupt or a lost database ends the rest; what was judged is shown.
        if not json:
            verdicts.print()
    if report is not None:
        from patchbank.reports.page import PAGE_NAME

        page = report / PAGE_NAME
        (talk() if json else answer()).print(f"report: {page}", markup=False)
        if open_report:
            open_page(page)
    return code
