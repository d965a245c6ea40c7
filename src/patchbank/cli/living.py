"""`patchbank add`, `withdraw`, `history` and `undo`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchbank.cli import options
from patchbank.cli.guard import EXIT_FAILED, guarded
from patchbank.cli.output import (
    answer,
    local_time,
    print_json,
    print_refused,
    print_remarks,
    show_progress,
    talk,
)
from patchbank.inspection.settings import DEFAULT_EFFECT
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from patchbank.printable import counted, printable

if TYPE_CHECKING:
    from patchbank.inspection.living.add import AddReport
    from patchbank.inspection.living.withdraw import WithdrawReport

# References named in a line of the history, and inspections listed that change.
_NAMED = 3
_CHANGES = 10


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("add")(guarded(add_command))
    app.command("withdraw")(guarded(withdraw_command))
    app.command("quarantine")(guarded(quarantine_command))
    app.command("history")(guarded(history_command))
    app.command("undo")(guarded(undo_command))


def add_command(
    category: options.Category,
    paths: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="PATH...", help="Folders, images or globs of good parts.", show_default=False
        ),
    ] = None,
    held: Annotated[
        bool,
        typer.Option("--held", help="Add the images in quarantine instead; needs --force."),
    ] = False,
    force: Annotated[
        bool,
        typer.Option("--force", help="Confirm that the images are good, also those that fail."),
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only show what would change.")
    ] = False,
    effect: Annotated[
        int,
        typer.Option(
            min=0,
            max=100_000,
            help="Of how many recorded inspections, the last ones, the verdicts before and after "
            "are compared.",
        ),
    ] = DEFAULT_EFFECT,
    budget: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Patches that the bank may have before they are chosen anew.  "
            "\\[default: PATCHBANK_BANK_BUDGET]",
            show_default=False,
        ),
    ] = None,
    group_by: Annotated[
        str | None,
        typer.Option(
            metavar="RULE",
            help="Which images depend on one another, as for fit: added images join the groups of "
            "references.  \\[default: the rule of the fit]",
        ),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Folder for heatmaps of held images, and of inspections whose verdict changes."
        ),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json: options.Json = False,
) -> int:
    """Add images of good parts to a bank, without fitting it again.

    Only patches are added that the bank does not represent yet. Running inspectors use the new
    version from their next image on. Images that fail are held in quarantine until you confirm them
    with --force. On a terminal, the effect on recorded inspections is shown first.
    """
    from patchbank.inspection.living.add import add_paths

    bars = ExitStack()

    shown: AddReport | None = None

    def confirm(planned: AddReport) -> bool:
        nonlocal shown
        if yes or json or not (talk().is_terminal and sys.stdin.isatty()):
            return True
        bars.close()
        _print_found(planned)
        _print_plan(planned)
        shown = planned
        return typer.confirm(
            f"Add {counted(len(planned.added), 'image')} to {printable(category)}?", err=True
        )

    with Workspace() as workspace, bars:
        done = add_paths(
            workspace,
            category,
            paths or (),
            held=held,
            force=force,
            dry_run=dry_run,
            effect=effect,
            budget=budget,
            group_by=group_by,
            report=report,
            confirm=confirm,
            progress=bars.enter_context(show_progress()),
        )
    if shown is None:
        _print_found(done)
    else:
        print_remarks(remark for remark in done.remarks if remark not in shown.remarks)
    if json:
        print_json(done.to_json())
    elif done.bank_version is None:
        if done.added and shown is None:
            _print_plan(done)
        answer().print(f"{category}: version {done.version_before}, unchanged", markup=False)
    else:
        if shown is None:
            _print_effect(done)
        _print_change(done, ("added", _added(done)))
    if report is not None and not json:
        answer().print(
            f"{'heatmaps':<12} {counted(len(done.pictures), 'picture')} in {report}", markup=False
        )
    return EXIT_FAILED if done.held else 0


def _print_found(report: AddReport) -> None:
    """Say which images cannot be added or are held, and what else there is to know."""
    print_refused(report.refused)
    held = "to hold" if report.dry_run else "held"
    for image in report.held:
        talk().print(f"{held:<8} {image.name}: {image.reason}", markup=False, style="yellow")
    for added in report.added:
        if added.confirmed is not None:
            talk().print(f"forced   {added.name}: {added.confirmed}", markup=False, style="yellow")
    if report.held:
        where = "" if report.dry_run else f"; patchbank quarantine {report.category} lists them"
        print_remarks(
            [f"held images are not added{where}; if they show good parts, confirm with --force"]
        )
    print_remarks(report.remarks)


def _print_effect(report: AddReport) -> None:
    if report.effect is None:
        return
    answer().print(f"{'effect':<12} {report.effect.describe()}", markup=False)
    for change in report.effect.changes[:_CHANGES]:
        after = "" if change.score_after is None else f" to {change.score_after:.4g}"
        answer().print(
            f"{'':<12} {change.before} to {change.after}: {change.image}, score "
            f"{change.score:.4g}{after}",
            markup=False,
        )
    if len(report.effect.changes) > _CHANGES:
        answer().print(f"{'':<12} and {len(report.effect.changes) - _CHANGES} more", markup=False)


def _print_plan(report: AddReport) -> None:
    """Say what an addition that is not made yet would do."""
    answer().print(f"{'would add':<12} {_added(report)}", markup=False)
    answer().print(f"{'calibration':<12} {_calibration(report)}", markup=False)
    _print_effect(report)
    if report.chosen_anew is not None:
        answer().print(f"{'budget':<12} {report.beyond_budget()}", markup=False)


def _added(report: AddReport) -> str:
    patches = counted(report.patches, "patch", "patches")
    return f"{counted(len(report.added), 'image')}, {patches}"


def _calibration(report: AddReport | WithdrawReport) -> str:
    before, after = report.thresholds_before.describe(), report.thresholds.describe()
    return f"{after}, as before" if before == after else f"{after}; before: {before}"


def _print_change(report: AddReport | WithdrawReport, *lines: tuple[str, str]) -> None:
    # Where its patches were chosen anew too, that is a version of its own.
    alone = report.bank_version == report.version_before + 1
    back = "" if alone else f" {report.version_before}"
    for name, text in (
        ("category", f"{report.category}, version {report.bank_version}"),
        *lines,
        (
            "bank",
            f"{counted(report.images, 'image')}, {counted(report.bank_size, 'patch', 'patches')}",
        ),
        ("calibration", _calibration(report)),
        ("to go back", f"patchbank undo {report.category}{back}"),
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
    from patchbank.inspection.living.withdraw import withdraw

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


def quarantine_command(
    category: options.Category,
    dismiss_images: Annotated[
        list[str] | None,
        typer.Option(
            "--dismiss",
            metavar="IMAGE",
            help="Take an image out without adding it: its name or path. May be repeated.",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """List the images that `add` held because they fail.

    They are added with `patchbank add CATEGORY --held --force`, or taken out with --dismiss.
    """
    from patchbank.inspection.living.quarantine import dismiss, quarantined

    with Workspace() as workspace:
        if dismiss_images:
            names = dismiss(workspace, category, dismiss_images)
            talk().print(f"{category}: dismissed {', '.join(names)}", markup=False)
        documents = quarantined(workspace, category)
    for document in documents:
        if json:
            print_json(document)
        else:
            answer().print(
                f"{local_time(document['held_at'])}  {document['name']}: {document['reason']}; "
                f"held by {document['held_by']}",
                markup=False,
            )
    if not documents:
        talk().print(f"{category}: no images in quarantine", markup=False)
    return 0


def history_command(category: options.Category, json: options.Json = False) -> int:
    """List the versions of a category's bank: what changed, when, and by whom."""
    from patchbank.inspection.living.history import history

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
    if entry["screened"]:
        exchanged += f"; left out by screening: {_some([i['name'] for i in entry['screened']])}"
    if entry["thresholds"]:
        exchanged += f"; {Thresholds(**entry['thresholds']).describe()}"
    if likeness := entry["likeness"]:
        to = f"on, to {counted(likeness['defects'], 'recorded defect')}"
        exchanged += f"; {to if likeness['on'] else 'off'}"
    return (
        f"version {entry['bank_version']:<4} {entry['state']:<8} "
        f"{local_time(entry['created_at'])}  "
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
    from patchbank.inspection.living.undo import undo

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
