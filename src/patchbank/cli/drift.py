"""`patchbank drift`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import EXIT_FAILED, guarded
from patchbank.cli.output import (
    answer,
    check_open,
    open_page,
    print_json,
    print_remarks,
    print_table,
    show_progress,
)
from patchbank.inspection.settings import DriftBase
from patchbank.inspection.workspace import Workspace
from patchbank.memory.drift import DEFAULT_IMAGES_PER_FALSE_ALARM
from patchbank.printable import counted, printable

if TYPE_CHECKING:
    from patchbank.inspection.living.drift_report import DriftReport

_TITLES = {
    "brightness": "brightness",
    "sharpness": "sharpness",
    "score": "score / limit",
    "outside": "patches outside",
}


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("drift")(guarded(drift_command))


def drift_command(
    category: options.Category,
    days: Annotated[
        float | None,
        typer.Option(
            metavar="N",
            help="Report changes of the last N days; earlier inspections are still compared with."
            "  \\[default: since the fit]",
        ),
    ] = None,
    station: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only inspections of this station.")
    ] = None,
    base: Annotated[
        DriftBase,
        typer.Option(
            help="Compare with the references and all inspections before, or only with the first "
            "inspections of the period: after a change that is meant to stay."
        ),
    ] = "references",
    images_per_false_alarm: Annotated[
        float,
        typer.Option(
            metavar="N",
            help="While nothing changes, allow one false alarm in N inspections, on average.",
        ),
    ] = DEFAULT_IMAGES_PER_FALSE_ALARM,
    report: options.PageFolder = None,
    open_report: options.Open = False,
    json: options.Json = False,
) -> int:
    """Tell whether the inspected images have changed: light, focus, position, material.

    Compares the recorded inspections with the references and with one another, and names the
    images that would best be added to the bank. The exit code is 1 if a change is found.
    """
    from patchbank.inspection.living.drift import find_drift

    check_open(open_report, report)
    with Workspace() as workspace, show_progress() as progress:
        found = find_drift(
            workspace,
            category,
            days=days,
            station=station,
            base=base,
            images_per_false_alarm=images_per_false_alarm,
            report=report,
            progress=progress,
        )
    print_remarks(found.remarks)
    if json:
        print_json(found.to_json())
    else:
        _print(found)
    if open_report and found.page is not None:
        open_page(found.page)
    return EXIT_FAILED if found.changed else 0


def _print(found: DriftReport) -> None:
    console = answer()
    where = f", station {printable(found.station)}" if found.station else ""
    style = "red" if found.changed else ""
    console.print(f"{found.category}{where}: {found.verdict}", markup=False, style=style)
    for change in found.changes[:-1]:
        console.print(f"earlier: changed {change.times}: {change.text}", markup=False)
    console.print(f"{found.guarantee}; compared with {found.compared_with}", markup=False)
    rows = [
        (
            _TITLES[trend.series],
            _number(trend.series, trend.last),
            "-"
            if trend.references is None
            else " to ".join(_number(trend.series, value) for value in trend.references),
        )
        for trend in found.trends
        if trend.last is not None
    ]
    if rows:
        print_table([("", "left"), ("now", "right"), ("90 % of references", "right")], rows)
    suggestion = found.suggestion
    if suggestion is not None and suggestion.images:
        covered = sum(image.covers for image in suggestion.images)
        console.print(
            f"{counted(len(suggestion.images), 'image')} of {suggestion.looked_at} looked at "
            f"cover {100 * covered:.0f} % of what the bank does not; if they show good parts and "
            "are to pass, add them:",
            markup=False,
        )
        for image in suggestion.images:
            kept = "" if image.has_file else ", kept in the database"
            console.print(
                f"  {printable(image.image)} ({image.verdict}, covers "
                f"{100 * image.covers:.0f} %{kept})",
                markup=False,
            )
        if suggestion.command:
            console.print(suggestion.command, markup=False, soft_wrap=True)
    if found.page is not None:
        console.print(f"report: {found.page}", markup=False)


def _number(series: str, value: float) -> str:
    if series == "outside":
        return f"{100 * value:.1f} %"
    return f"{value:.1f}" if series == "brightness" else f"{value:.3f}"
