"""`patchbank keys`: who may use the service."""

from __future__ import annotations

from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, local_time, print_json, print_table, talk
from patchbank.inspection.workspace import Workspace

_Name = Annotated[
    str, typer.Argument(help="Name of the key, for example camera-3.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(no_args_is_help=True, help="Keys of the service: see `patchbank serve`.")
    group.command("create")(guarded(create_command))
    group.command("list")(guarded(list_command))
    group.command("revoke")(guarded(revoke_command))
    group.command("uses")(guarded(uses_command))
    app.add_typer(group, name="keys")


def create_command(
    name: _Name,
    role: Annotated[
        str,
        typer.Option(
            help="operator (inspects and reads), engineer (also fits, teaches and reviews) or "
            "admin (also removes, imports and manages keys).",
            show_default=False,
        ),
    ],
    json: options.Json = False,
) -> int:
    """Make a key and print its secret.

    The secret is not stored: it is never shown again.
    """
    from patchbank.inspection.keeping.access import create_key

    with Workspace() as workspace:
        key = create_key(workspace, name, role)
    if json:
        print_json(key.to_json())
    else:
        answer().print(key.secret, markup=False, soft_wrap=True)
        talk().print(
            f"key {key.name!r}, role {key.role}: keep the line above, it is not shown again",
            markup=False,
        )
    return 0


def list_command(json: options.Json = False) -> int:
    """List all keys, with role, age and last use."""
    from patchbank.inspection.keeping.access import list_keys

    with Workspace() as workspace:
        keys = list_keys(workspace)
    if json:
        for key in keys:
            print_json(key.to_json())
        return 0
    if not keys:
        answer().print(
            "no keys: the service asks for none, and answers this machine only",
            markup=False,
        )
        return 0
    print_table(
        [("name", "left"), ("role", "left"), ("made", "left"), ("by", "left"),
         ("last used", "left"), ("revoked", "left")],
        [
            (
                key.name,
                key.role,
                local_time(key.created_at),
                key.created_by,
                "-" if key.last_used_at is None else local_time(key.last_used_at),
                "-"
                if key.revoked_at is None
                else f"{local_time(key.revoked_at)} by {key.revoked_by}",
            )
            for key in keys
        ],
    )  # fmt: skip
    return 0


def revoke_command(name: _Name, json: options.Json = False) -> int:
    """Revoke a key: running services refuse it after a second at the latest."""
    from patchbank.inspection.keeping.access import revoke_key

    with Workspace() as workspace:
        revoke_key(workspace, name)
    if json:
        print_json({"revoked": name})
    else:
        answer().print(f"revoked key {name!r}", markup=False)
    return 0


def uses_command(
    name: Annotated[
        str | None, typer.Argument(help="Name of a key; by default all.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many lines at most.")] = 100,
    json: options.Json = False,
) -> int:
    """Show how keys were used, hour by hour, newest first, and what was refused."""
    from patchbank.inspection.keeping.access import key_uses

    with Workspace() as workspace:
        uses = key_uses(workspace, name, limit=limit)
    if json:
        for use in uses:
            print_json(use.to_json())
        return 0
    print_table(
        [("last", "left"), ("key", "left"), ("address", "left"), ("action", "left"),
         ("outcome", "left"), ("times", "right")],
        [
            (local_time(use.last_at), use.name or "-", use.address, use.action, use.outcome,
             f"{use.times:,}")
            for use in uses
        ],
    )  # fmt: skip
    return 0
