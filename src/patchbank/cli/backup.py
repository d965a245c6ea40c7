"""`patchbank backup` and `restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, print_remarks
from patchbank.inspection.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("backup")(guarded(backup_command))
    app.command("restore")(guarded(restore_command))


def backup_command(
    file: Annotated[Path, typer.Argument(help="File to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace an existing file.")] = False,
    json: options.Json = False,
) -> int:
    """Write the whole database to a file, while it is in use.

    It has all categories with their banks, inspections, defects, reviews and history, and also
    keys and sinks with their secrets: this account alone may read the file.
    """
    from patchbank.inspection.keeping.backup import backup

    with Workspace() as workspace:
        report = backup(workspace, file, force=force)
    if json:
        print_json(report.to_json())
    else:
        answer().print(f"{file}: {report.text}", markup=False)
    return 0


def restore_command(
    file: Annotated[
        Path, typer.Argument(help="File written by patchbank backup.", show_default=False)
    ],
    json: options.Json = False,
) -> int:
    """Read a backup into an empty database."""
    from patchbank.inspection.keeping.backup import restore

    with Workspace() as workspace:
        report = restore(workspace, file)
    if json:
        print_json(report.to_json())
    else:
        answer().print(f"restored {file}: {report.text}", markup=False)
        if report.remark is not None:
            print_remarks([report.remark])
    return 0
