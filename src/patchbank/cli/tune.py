"""`patchbank tune`."""

from __future__ import annotations

from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import (
    answer,
    check_open,
    open_page,
    print_json,
    print_refused,
    print_remarks,
    print_table,
    show_progress,
)
from patchbank.errors import ParameterError
from patchbank.inspection.measuring.held_out import CONTRASTS
from patchbank.inspection.measuring.tune_report import SYNTHETIC, Tried, TuneReport
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    without = ("image_size", "center_crop", "scale", "tile", "overlap")
    app.command("tune")(guarded(options.with_fit_settings(tune_command, without=without)))


def tune_command(
    category: options.Category,
    paths: options.Paths,
    defect_sizes: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS",
            help="Sizes of the synthetic defects, comma-separated, such as 6,12.  "
            "\\[default: chosen by the images' size]",
        ),
    ] = None,
    *,
    settings: FitSettings,
    memory_limit: options.MemoryLimit = None,
    exclude: options.Exclude = None,
    report: options.PageFolder = None,
    open_report: options.Open = False,
    json: options.Json = False,
) -> int:
    """Try settings of a fit on good images with synthetic defects, and recommend one.

    Two thirds of the images, at most 120, are learned with each of several scales and layers; at
    most 30 others are judged, as they are and with small dots and scratches drawn into them. The
    table shows what each of the settings finds and what an inspection costs. No bank is changed,
    and nothing is stored.
    """
    from patchbank.inspection.measuring.tune import tune_paths

    check_open(open_report, report)
    with Workspace() as workspace, show_progress() as progress:
        found = tune_paths(
            workspace,
            category,
            paths,
            settings,
            defect_sizes=_sizes(defect_sizes),
            memory_limit=memory_limit,
            exclude=exclude or (),
            report=report,
            progress=progress,
        )
    print_refused(found.refused)
    print_remarks(found.remarks)
    print_remarks(f"not tried: {line}" for line in found.left_out)
    if json:
        print_json(found.to_json())
    else:
        _print(found)
    if open_report and found.page is not None:
        open_page(found.page)
    return 0


def _sizes(given: str | None) -> list[int]:
    """Return sizes from a comma-separated text.

    Raises
    ------
    ParameterError
        If one is not a number.
    """
    try:
        return [int(size) for size in given.split(",")] if given is not None else []
    except ValueError:
        raise ParameterError(
            f"--defect-sizes {given}: give whole numbers of pixels, separated by commas, such as "
            "6,12"
        ) from None


def _print(found: TuneReport) -> None:
    console = answer()
    sizes = found.trial.sizes
    by_size = "located" if found.few_found else "found"
    contrasts = "/".join(name for name, _ in CONTRASTS)
    print_table(
        [
            ("settings", "fold"),
            ("found", "right"),
            ("located", "right"),
            *((f"{size} px", "right") for size in sizes),
            ("false alarms", "right"),
            ("ms/image", "right"),
            ("patches", "right"),
            ("bank", "right"),
            ("", "left"),
        ],
        [_cells(found, item) for item in found.tried],
    )
    console.print(
        "located: the map is strongest at the defect; found: the image also fails; by size: "
        f"{by_size}, {contrasts}, in per cent of {counted(found.tried[0].held_out, 'defect')}",
        markup=False,
    )
    console.print(
        f"{counted(len(found.learned), 'image')} learned, {len(found.trial.images)} others judged; "
        f"reading a file takes about {found.reading_ms:.0f} ms more",
        markup=False,
    )
    console.print(SYNTHETIC, markup=False)
    console.print(f"recommended: {found.recommendation()}", markup=False)
    console.print(
        f"    {found.command}" if found.command else "the bank in use has these settings",
        markup=False,
    )
    if caution := found.caution():
        console.print(f"caution: {caution}", markup=False)
    if found.page is not None:
        console.print(f"report: {found.page}", markup=False)


def _cells(found: TuneReport, item: Tried) -> list[str]:
    notes = [*item.candidate.marks, *(["recommended"] if item is found.recommended else [])]
    alarms = item.false_alarms
    counts = item.located if found.few_found else item.found
    return [
        item.candidate.title,
        f"{100 * item.found_share:.0f} %",
        f"{100 * item.located_share:.0f} %",
        *("/".join(f"{share:.0f}" for share in row) for row in 100 * counts / item.held_out),
        f"{alarms.count} of {alarms.total}",
        f"{item.milliseconds:,.0f}",
        f"{item.patches:,}",
        f"{item.bank_size:,}",
        ", ".join(notes),
    ]
