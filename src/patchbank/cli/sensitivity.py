"""`patchbank sensitivity`."""

from __future__ import annotations

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
from patchbank.errors import ParameterError
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted

if TYPE_CHECKING:
    from patchbank.inspection.measuring.sensitivity_report import SensitivityReport


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("sensitivity")(guarded(sensitivity_command))


def sensitivity_command(
    category: options.Category,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PATH]...",
            help="Folders, images or globs of good parts that the bank has not learned.  "
            "\\[default: its references, each judged without its own patches]",
            show_default=False,
        ),
    ] = None,
    kinds: Annotated[
        str | None,
        typer.Option(help="Kinds of defect, comma-separated.  \\[default: scratch,spot,stain,cut]"),
    ] = None,
    sizes: Annotated[
        str | None,
        typer.Option(
            metavar="PIXELS",
            help="Sizes of the defects, of their longest side, comma-separated.  "
            "\\[default: 4,8,16,32,64, or more for larger images]",
        ),
    ] = None,
    contrasts: Annotated[
        str | None,
        typer.Option(
            metavar="PERCENT",
            help="Contrasts of the defects in per cent of the image's own, comma-separated.  "
            "\\[default: 10,20,40,80]",
        ),
    ] = None,
    images: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="How many images to use.  "
            "\\[default: 20, or fewer where it would take over 4 minutes]",
        ),
    ] = None,
    mm_per_pixel: Annotated[
        float | None,
        typer.Option(help="Millimetres per pixel of the images, to state sizes in millimetres."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the defects.")] = 0,
    report: options.PageFolder = None,
    open_report: options.Open = False,
    csv: options.Csv = None,
    json: options.Json = False,
) -> int:
    """Show how small and how faint a synthetic defect may be that the active bank finds.

    Images of good parts are judged with synthetic scratches, spots, stains and cuts of growing size
    and contrast, one at a time. The figures are no recall: your defects are not synthetic. Nothing
    is recorded.
    """
    from patchbank.inspection.measuring.sensitivity import sensitivity_of_paths

    check_open(open_report, report)
    check_csv(csv, json=json)
    with Workspace() as workspace, show_progress() as progress:
        found = sensitivity_of_paths(
            workspace,
            category,
            paths,
            kinds=[kind.strip() for kind in kinds.split(",")] if kinds is not None else (),
            sizes=[int(size) for size in _numbers("--sizes", sizes, "4,8,16")],
            contrasts=[share / 100 for share in _numbers("--contrasts", contrasts, "10,40")],
            images=images,
            mm_per_pixel=mm_per_pixel,
            seed=seed,
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


def _numbers(option: str, given: str | None, example: str) -> list[int]:
    """Return numbers from a comma-separated text.

    Raises
    ------
    ParameterError
        If one is not a whole number.
    """
    try:
        return [int(number) for number in given.split(",")] if given is not None else []
    except ValueError:
        raise ParameterError(
            f"{option} {given}: give whole numbers, separated by commas, such as {example}"
        ) from None


def _print(found: SensitivityReport) -> None:
    from patchbank.inspection.measuring.sensitivity_report import FOUND_SHARE, SYNTHETIC

    console, trial = answer(), found.trial
    console.print(
        f"{found.category}: synthetic defects in {found.how()}; bank version "
        f"{found.bank_version}, {found.thresholds.describe()}",
        markup=False,
    )
    print_table(
        [
            ("synthetic", "left"),
            ("contrast", "right"),
            *((trial.size_in_words(size), "right") for size in trial.sizes),
            ("smallest found", "right"),
        ],
        [
            (
                name,
                f"{100 * share:g} %",
                *(
                    f"{100 * found.share(kind, size, contrast).value:.0f} %"
                    for size in range(len(trial.sizes))
                ),
                found.smallest_in_words(kind, contrast),
            )
            for kind, name in enumerate(trial.kinds)
            for contrast, share in enumerate(trial.contrasts)
        ],
    )
    console.print(
        f"by size: the share found, of {counted(found.images, 'defect')} each; smallest found: the "
        f"size from which on it is {100 * FOUND_SHARE:g} % or more",
        markup=False,
    )
    if found.not_passed:
        console.print(
            f"{counted(len(found.not_passed), 'image')} did not pass without a defect and "
            f"{'is' if len(found.not_passed) == 1 else 'are'} left out",
            markup=False,
        )
    console.print(SYNTHETIC, markup=False)
    if found.page is not None:
        console.print(f"report: {found.page}", markup=False)
