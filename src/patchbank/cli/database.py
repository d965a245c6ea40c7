"""`patchbank database status` and `patchbank database stop`: the embedded PostgreSQL."""

from __future__ import annotations

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json
from patchbank.inspection.manage import database_status, stop_database
from patchbank.inspection.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(no_args_is_help=True, help="The embedded PostgreSQL.")
    group.command("status")(guarded(status_command))
    group.command("stop")(guarded(stop_command))
    app.add_typer(group, name="database")


def status_command(json: options.Json = False) -> int:
    """Show whether the embedded PostgreSQL runs, and where; never starts it."""
    with Workspace() as workspace:
        document = database_status(workspace)
    if json:
        print_json(document)
    else:
        for name, value in document.items():
            answer().print(f"{name.replace('_', ' '):<14} {value}", markup=False)
    return 0


def stop_command(json: options.Json = False) -> int:
    """Stop the embedded PostgreSQL; the next command that needs it starts it again."""
    with Workspace() as workspace:
        stopped = stop_database(workspace)
    if json:
        print_json({"stopped": stopped})
    else:
        answer().print("stopped" if stopped else "was not running")
    return 0
