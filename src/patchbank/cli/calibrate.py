"""`patchbank calibrate`."""

from __future__ import annotations

from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, print_refused, print_remarks, show_progress
from patchbank.inspection.learning.calibrate import calibrate_paths
from patchbank.inspection.learning.change_rate import change_rate
from patchbank.inspection.learning.demands import DEFAULT_MAX_REFUSED
from patchbank.inspection.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("calibrate")(guarded(calibrate_command))


def calibrate_command(
    category: options.Category,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH...]",
            help="Folders, images or globs. Without any, the thresholds for --false-alarm-rate "
            "and --review-rate are computed from the stored scores.",
            show_default=False,
        ),
    ] = None,
    false_alarm_rate: Annotated[
        float | None,
        typer.Option(
            help="Fraction of good images that may fail, in (0, 1).  \\[default: as the bank "
            "has it]"
        ),
    ] = None,
    review_rate: Annotated[
        float | None,
        typer.Option(
            help="Fraction of good images that may go to review besides.  \\[default: as the bank "
            "has it]"
        ),
    ] = None,
    max_refused: options.MaxRefused = DEFAULT_MAX_REFUSED,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Accept fewer than five images, or fewer than the current calibration uses.",
        ),
    ] = False,
    exclude: options.Exclude = None,
    group_by: options.GroupBy = None,
    strict: options.Strict = False,
    json: options.Json = False,
) -> int:
    """Set a bank's thresholds from good images that were not used to fit it.

    An imported bank needs it before it can judge. These images are then also shown as similar
    references. Without images, --false-alarm-rate and --review-rate set the thresholds for other
    rates.
    """
    with Workspace() as workspace, show_progress() as progress:
        if not paths:
            report = change_rate(workspace, category, false_alarm_rate, review_rate)
        else:
            report = calibrate_paths(
                workspace,
                category,
                paths,
                false_alarm_rate=false_alarm_rate,
                review_rate=review_rate,
                force=force,
                max_refused=max_refused,
                exclude=exclude or (),
                group_by=group_by,
                strict=strict,
                progress=progress,
            )
    print_refused(report.refused)
    print_remarks(report.remarks)
    if json:
        print_json(report.to_json())
    else:
        for name, text in (
            ("category", f"{category}, version {report.bank_version}"),
            ("images", f"{report.images} used, {len(report.refused)} refused"),
            ("calibration", report.threshold.describe()),
            ("review", report.review["text"]),
            ("seconds", f"{report.seconds:.1f}"),
        ):
            answer().print(f"{name:<12} {text}", markup=False)
    return 0
