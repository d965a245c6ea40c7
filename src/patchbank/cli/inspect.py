"""`patchbank inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from patchbank.cli import options
from patchbank.cli.guard import EXIT_ERROR, EXIT_FAILED, guarded
from patchbank.cli.output import answer, print_json, print_remarks, show_progress, talk
from patchbank.inspection.judging.inspect import inspect_paths
from patchbank.inspection.judging.recording import OnDatabaseLoss
from patchbank.inspection.verdicts import PASSES_WITH_REGION, Inspection, Refused, Similar
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted

_STYLES = {"pass": "green", "review": "yellow", "fail": "red"}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("inspect")(guarded(inspect_command))


def inspect_command(
    category: options.Category,
    paths: options.Paths,
    top: Annotated[
        int, typer.Option(min=0, max=1000, help="How many similar images to show; 0 for none.")
    ] = 10,
    heatmaps: Annotated[
        Path | None, typer.Option(help="Write a heatmap picture of each image to this folder.")
    ] = None,
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
    code = 0
    told: tuple[str, ...] = ()
    with Workspace() as workspace, show_progress(results_appear=True) as progress:
        for result in inspect_paths(
            workspace,
            category,
            paths,
            top=top,
            heatmaps=heatmaps,
            in_database=in_database,
            record=not no_record,
            on_database_loss=on_database_loss,
            bank_version=bank_version,
            on_remarks=print_remarks,
            progress=progress,
        ):
            if isinstance(result, Refused):
                code = EXIT_ERROR
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
                _print(result)
    return code


def _print(inspection: Inspection) -> None:
    console = answer()
    heading = Text(f"{inspection.verdict.upper():<6}", style=f"{_STYLES[inspection.verdict]} bold")
    console.print(heading, inspection.image, markup=False)
    console.print(
        f"  score {inspection.score:.4f}, {inspection.thresholds.describe('.4f')}; "
        f"p-value for a good part {inspection.p_value:.3g}",
        markup=False,
    )
    for region in inspection.regions:
        x0, y0, x1, y1 = region.box_xyxy
        console.print(
            f"  region x {x0}-{x1}, y {y0}-{y1}: {counted(region.area_pixels, 'pixel')} "
            f"({region.area_percent:.2f} %), peak {region.peak_score:.4f}",
            markup=False,
        )
    if PASSES_WITH_REGION in inspection.remarks:
        console.print(f"  {PASSES_WITH_REGION}", markup=False)
    if inspection.heatmap is not None:
        console.print(f"  heatmap {inspection.heatmap}", markup=False)
    _print_similar(inspection.similar)


def _print_similar(similar: tuple[Similar, ...] | list[Similar]) -> None:
    console = answer()
    for match in similar:
        itself = "  (itself)" if match.itself else ""
        console.print(f"  {match.similarity:7.4f}  {match.image}{itself}", markup=False)
