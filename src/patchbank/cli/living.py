"""`patchbank add`, `withdraw`, `history` and `undo`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import (
    answer,
    print_json,
    print_refused,
    print_remarks,
    show_progress,
    talk,
)
from patchbank.inspection.living.add import AddReport, add_paths
from patchbank.inspection.living.history import history
from patchbank.inspection.living.undo import undo
from patchbank.inspection.living.withdraw import WithdrawReport, withdraw
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted

# References named in a line of the history.
_NAMED = 3


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("add")(guarded(add_command))
    app.command("withdraw")(guarded(withdraw_command))
    app.command("history")(guarded(history_command))
    app.command("undo")(guarded(undo_command))


def add_command(
    category: options.Category,
    paths: options.Paths,
    force: Annotated[
        bool, typer.Option("--force", help="Also add images that fail; they are good.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Add images of good parts to a bank, without fitting it again.

    Only patches are added that the bank does not represent yet. Running inspectors use the new
    version from their next image on. Images that fail are held; --force adds them.
    """
    with Workspace() as workspace, show_progress() as progress:
        report = add_paths(workspace, category, paths, force=force, progress=progress)
    print_refused(report.refused)
    for image in report.held:
        talk().print(f"held     {image.name}: {image.reason}", markup=False, style="yellow")
    if report.held:
        print_remarks(["held images are not added; if they show good parts, use --force"])
    print_remarks(report.remarks)
    if json:
        print_json(report.to_json())
    elif report.bank_version is None:
        answer().print(f"{category}: version {report.version_before}, unchanged", markup=False)
    else:
        _print_added(report)
    return 0


def _print_added(report: AddReport) -> None:
    patches = sum(image.patches for image in report.added)
    _print_change(
        report,
        ("added", f"{counted(len(report.added), 'image')}, {counted(patches, 'patch', 'patches')}"),
    )


def _print_change(report: AddReport | WithdrawReport, *lines: tuple[str, str]) -> None:
    before, after = report.thresholds_before.describe(), report.thresholds.describe()
    for name, text in (
        ("category", f"{report.category}, version {report.bank_version}"),
        *lines,
        (
            "bank",
            f"{counted(report.images, 'image')}, {counted(report.bank_size, 'patch', 'patches')}",
        ),
        ("calibration", f"{after}, before: {before}"),
        ("to go back", f"patchbank undo {report.category}"),
        ("seconds", f"{report.seconds:.1f}"),
    ):
        answer().print(f"{name:<12} {text}", markup=False)


def withdraw_command(
    category: options.Category,
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE...",
            help="References, each by its name, its path or its file's name.",
            show_default=False,
        ),
    ],
    force: Annotated[bool, typer.Option("--force", help="Keep as few as two references.")] = False,
    json: options.Json = False,
) -> int:
    """Withdraw reference images from a bank.

    All that they gave goes; what other references lose with them is restored.
    """
    with Workspace() as workspace, show_progress() as progress:
        report = withdraw(workspace, category, images, force=force, progress=progress)
    print_remarks(report.remarks)
    if json:
        print_json(report.to_json())
        return 0
    removed = counted(report.removed_patches, "patch", "patches")
    restored = counted(report.restored_patches, "patch", "patches")
    lines = [
        (
            "withdrawn",
            f"{counted(len(report.withdrawn), 'image')}, {removed}; {restored} of others restored",
        )
    ]
    if report.same_as is not None:
        lines.append(("same as", f"version {report.same_as}"))
    _print_change(report, *lines)
    return 0


def history_command(category: options.Category, json: options.Json = False) -> int:
    """List the versions of a category's bank: what changed, when, and by whom."""
    with Workspace() as workspace:
        documents = history(workspace, category)
    for document in documents:
        if json:
            print_json(document)
        else:
            answer().print(version_line(document), markup=False)
    return 0


def version_line(entry: dict[str, Any]) -> str:
    """Return a version as a line for people."""
    same_as = "" if entry["same_as"] is None else f" of version {entry['same_as']}"
    actor = "" if entry["actor"] is None else f" by {entry['actor']}"
    exchanged = "".join(
        f"; {name}: {_some(entry[name])}" for name in ("added", "withdrawn") if entry[name]
    )
    return (
        f"version {entry['bank_version']:<4} {entry['state']:<8} {entry['created_at']}  "
        f"{entry['cause'] or 'unknown'}{same_as}{actor}: {counted(entry['images'], 'image')}, "
        f"{counted(entry['bank_size'], 'patch', 'patches')}{exchanged}"
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def undo_command(
    category: options.Category,
    version: Annotated[
        int | None,
        typer.Argument(
            min=1,
            metavar="[VERSION]",
            help="The version to go back to, as listed by `patchbank history`.  "
            "\\[default: that before the last change]",
            show_default=False,
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Undo the last change of a bank, or go back to a version.

    The state before becomes the next version, so an undo can be undone: give the number of the
    version that you want back. Undoing again without a number goes back one change more.
    """
    with Workspace() as workspace:
        report = undo(workspace, category, version)
    print_remarks(report.remarks)
    if json:
        print_json(report.to_json())
    else:
        undone = "" if report.undone is None else f"{report.undone} undone, "
        answer().print(
            f"{category}: {undone}version {report.bank_version} is active, the same as version "
            f"{report.same_as}; to have it back: patchbank undo {category} {report.version_before}",
            markup=False,
        )
    return 0
