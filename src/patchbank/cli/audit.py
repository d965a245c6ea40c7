"""`patchbank audit`."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.text import Text
from typer.core import TyperGroup

from patchbank.cli import options
from patchbank.cli.guard import EXIT_FAILED, guarded
from patchbank.cli.output import (
    answer,
    check_csv,
    local_time,
    print_json,
    print_table,
    talk,
    write_csv,
)
from patchbank.inspection.workspace import Workspace
from patchbank.printable import printable

_LIST = "list"


class _Audit(TyperGroup):
    """`audit CATEGORY` is `audit list CATEGORY`, and `audit` is `audit list`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, "-h", "--help"):
            args = [_LIST, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(
        cls=_Audit,
        help="Who changed what and when: the event log. `audit CATEGORY` is `audit list CATEGORY`; "
        "`audit` alone lists all, of removed categories too.",
    )
    group.command(_LIST)(guarded(list_command))
    group.command("verify")(guarded(verify_command))
    app.add_typer(group, name="audit")


_Category = Annotated[
    str | None,
    typer.Argument(help="Category; by default all, removed ones too.", show_default=False),
]


def list_command(
    category: _Category = None, csv: options.Csv = None, json: options.Json = False
) -> int:
    """List the events of a category: who changed what and when, oldest first."""
    from patchbank.inspection.keeping.audit import open_audit

    check_csv(csv, json=json)
    with Workspace() as workspace, open_audit(workspace, category) as audit:
        if csv is not None:
            write_csv(csv, audit.write_csv)
        elif json:
            for logged in audit.events():
                print_json(logged.to_json())
        else:
            rows = [
                (
                    logged.category.name,
                    str(logged.event.position),
                    local_time(logged.event.happened_at),
                    logged.event.actor,
                    logged.event.kind,
                    logged.detail,
                )
                for logged in audit.events()
            ]
            print_table(
                [
                    ("category", "left"),
                    ("event", "right"),
                    ("when", "left"),
                    ("who", "left"),
                    ("what", "left"),
                    ("detail", "fold"),
                ],
                rows,
            )
    return 0


def verify_command(
    category: _Category = None,
    expect: Annotated[
        str | None,
        typer.Option(
            metavar="HASH",
            help="A head that an earlier verification printed: it must still be in the log, so "
            "that events removed from its end are noticed.",
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Check that the event log is as it was written.

    Computes the hash of every event again. Exits 0 if all belong to their content and follow one
    another, else 1.
    """
    from patchbank.inspection.keeping.audit import verify_log

    with Workspace() as workspace:
        found = verify_log(workspace, category, expect=expect)
    if json:
        print_json(found.to_json())
    else:
        for log in found.logs:
            style = "" if log.problem is None else "red"
            # A hash is one word, whatever the width.
            answer().print(Text(printable(log.text), style=style), soft_wrap=True)
    if found.missing is not None:
        talk().print(
            f"no event has the hash {found.missing}: events at the end of the log were removed or "
            "written anew",
            markup=False,
            style="red",
        )
    return 0 if found.passed else EXIT_FAILED
