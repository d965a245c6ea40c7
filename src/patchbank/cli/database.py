"""`patchbank database status`, `upgrade`, `stop`, `prune`, `url` and `psql`."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, print_json, talk
from patchbank.errors import ParameterError
from patchbank.inspection.keeping.manage import (
    database_status,
    psql,
    stop_database,
    upgrade,
    url_for_clients,
)
from patchbank.inspection.keeping.prune import prune
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.store.migrate import UpgradePlan


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Status, upgrade and address of the PostgreSQL database."
    )
    group.command("status")(guarded(status_command))
    group.command("upgrade")(guarded(upgrade_command))
    group.command("stop")(guarded(stop_command))
    group.command("prune")(guarded(prune_command))
    group.command("url")(guarded(url_command))
    group.command(
        "psql",
        context_settings={
            "allow_extra_args": True,
            "ignore_unknown_options": True,
            "help_option_names": ["--help"],
        },
    )(guarded(psql_command))
    app.add_typer(group, name="database")


def status_command(json: options.Json = False) -> int:
    """Show whether the embedded PostgreSQL is running, and where. Does not start it."""
    with Workspace() as workspace:
        document = database_status(workspace)
    if json:
        print_json(document)
    else:
        for name, text in (
            ("running", "yes" if document["running"] else "no"),
            ("process", document["pid"] or "none"),
            ("keeper process", document["keeper_pid"] or "none"),
            ("folder", document["folder"]),
            ("size", f"{document['size_megabytes']:,.1f} MB"),
            ("stops after", f"{document['idle_minutes']:g} min without a client"),
        ):
            answer().print(f"{name:<14} {text}", markup=False)
    return 0


def upgrade_command(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    json: options.Json = False,
) -> int:
    """Upgrade a database created by an older version of patchbank, after showing the changes.

    Older versions of patchbank cannot use the database afterwards. The upgrade runs in a single
    transaction. With --json and without --yes, only the plan is printed.
    """

    def confirm(plan: UpgradePlan) -> bool:
        if json:
            return yes
        _print_plan(plan)
        if not yes:
            if not talk().is_terminal:
                raise ParameterError(
                    f"{plan.database}: older versions of patchbank cannot use it after an upgrade; "
                    "confirm with --yes"
                )
            typer.confirm("Upgrade it?", abort=True, err=True)
        return True

    with Workspace() as workspace:
        plan, upgraded = upgrade(workspace, confirm)
    if json:
        print_json({**asdict(plan), "upgraded": upgraded})
    else:
        answer().print("upgraded" if upgraded else "nothing to upgrade")
    return 0


def _print_plan(plan: UpgradePlan) -> None:
    console = talk()
    console.print(
        f"{plan.database}: {counted(plan.banks, 'bank version')}, "
        f"{counted(plan.patches, 'patch', 'patches')}, "
        f"{counted(plan.inspections, 'inspection')}, {plan.size_bytes / 1e6:,.1f} MB",
        markup=False,
    )
    for name, purpose in plan.migrations.items():
        console.print(f"  {name}: {purpose}", markup=False)
    if plan.sessions:
        console.print(
            f"  {counted(plan.sessions, 'other connection')} to it: older versions of patchbank "
            "cannot use it afterwards",
            markup=False,
        )


def stop_command(json: options.Json = False) -> int:
    """Stop the embedded PostgreSQL. The next command that needs it starts it again."""
    with Workspace() as workspace:
        stopped = stop_database(workspace)
    if json:
        print_json({"stopped": stopped})
    else:
        answer().print("stopped" if stopped else "was not running")
    return 0


def prune_command(
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would be removed.")
    ] = False,
    json: options.Json = False,
) -> int:
    """Remove inspections that are no longer to be kept, with their images.

    PATCHBANK_KEEP_INSPECTIONS_DAYS and PATCHBANK_KEEP_INSPECTIONS_BYTES say which; a process that
    records also removes them, at most once an hour.
    """
    with Workspace() as workspace:
        report = prune(workspace, dry_run=dry_run)
    if json:
        print_json(report.to_json())
    else:
        for line in report.lines:
            answer().print(line, markup=False)
    return 0


def url_command(json: options.Json = False) -> int:
    """Print the database URL for other programs, without a password."""
    with Workspace() as workspace:
        url = url_for_clients(workspace)
    if json:
        print_json({"url": url})
    else:
        # A URL is one word, whatever the width.
        answer().print(url, markup=False, soft_wrap=True)
    return 0


def psql_command(
    arguments: Annotated[
        list[str] | None,
        typer.Argument(metavar="[OPTION]...", help="Options for psql.", show_default=False),
    ] = None,
) -> int:
    """Open a psql prompt on the database. Starts the database if needed."""
    with Workspace() as workspace:
        command, environment = psql(workspace)
    # psql takes this process's place, terminal and signals.
    os.execvpe(command[0], [*command, *(arguments or [])], environment)
