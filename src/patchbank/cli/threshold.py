"""`patchbank threshold`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import (
    answer,
    check_open,
    open_page,
    print_json,
    print_remarks,
    print_table,
    show_progress,
)
from patchbank.inspection.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("threshold")(guarded(threshold_command))


def threshold_command(
    category: options.Category,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(help="Set the limits so that this fraction of good images may fail."),
    ] = None,
    review_rate: Annotated[
        float | None,
        typer.Option(
            help="Set the limits so that this fraction of good images may go to review besides."
        ),
    ] = None,
    estimate: Annotated[
        bool,
        typer.Option(
            "--estimate",
            help="Set the limit to an estimate where there are too few good images to promise the "
            "false-alarm rate.",
        ),
    ] = False,
    fail_above: Annotated[
        float | None,
        typer.Option(
            help="Set the score above which an image fails; alone, no image goes to review."
        ),
    ] = None,
    pass_below: Annotated[
        float | None,
        typer.Option(help="Set the score up to which an image passes; those between go to review."),
    ] = None,
    defects: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="Also judge these images of defects (folder, image or glob) and show how many "
            "each limit finds. May be repeated.",
        ),
    ] = None,
    recorded_defects: Annotated[
        bool, typer.Option("--recorded-defects", help="Also judge the recorded defects.")
    ] = False,
    cost_miss: options.CostMiss = None,
    cost_false_alarm: options.CostFalseAlarm = None,
    defect_rate: options.DefectRate = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Write a page with the scores to this folder."),
    ] = None,
    open_report: options.Open = False,
    json: options.Json = False,
) -> int:
    """Show what a bank's limits promise and what others would change; set them, without a fit.

    For each false-alarm rate the table has the limits, what will be seen, and how many recorded
    inspections would get another verdict. Without an option that sets limits, nothing is changed.
    """
    from patchbank.inspection.measuring.costs import Costs
    from patchbank.inspection.measuring.new_limits import NewLimits
    from patchbank.inspection.measuring.threshold_curve import threshold_report
    from patchbank.inspection.measuring.threshold_page import columns_of, rows_of

    check_open(open_report, report)
    with Workspace() as workspace, show_progress() as progress:
        found = threshold_report(
            workspace,
            category,
            new=NewLimits(false_alarm_rate, review_rate, estimate, fail_above, pass_below),
            defects=defects or (),
            recorded_defects=recorded_defects,
            costs=Costs.of(cost_miss, cost_false_alarm, defect_rate),
            report=report,
            progress=progress,
        )
    print_remarks(found.remarks)
    if json:
        print_json(found.to_json())
    else:
        for name, text in found.facts():
            answer().print(f"{name:<12} {text}", markup=False)
        answer().print()
        print_table(
            [("false alarms", "right"), *((title, "right") for title in columns_of(found))],
            [
                [f"{'in use ' if point.in_use else ''}{rate}", *values]
                for (rate, *values), point in zip(rows_of(found), found.points, strict=True)
            ],
        )
        if found.page is not None:
            answer().print(f"report: {found.page}", markup=False)
    if open_report and found.page is not None:
        open_page(found.page)
    return 0
