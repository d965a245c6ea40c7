"""`patchbank sinks`: where inspections are sent to."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from patchbank.cli import options
from patchbank.cli.guard import guarded
from patchbank.cli.output import answer, local_time, print_json, print_table, talk
from patchbank.errors import ParameterError
from patchbank.files import read_regular
from patchbank.inspection.workspace import Workspace
from patchbank.line.sinks.configured import (
    SinkOptions,
    add_sink,
    list_sinks,
    remove_sink,
    shown_target,
    state_to_json,
    try_sink,
)
from patchbank.printable import counted, printable

_LONGEST_SECRET = 10_000

_Name = Annotated[
    str, typer.Argument(help="Name of the sink, for example mes.", show_default=False)
]


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    group = typer.Typer(
        no_args_is_help=True, help="Where inspections of the service and of watchers are sent to."
    )
    group.command("add")(guarded(add_command))
    group.command("list")(guarded(list_command))
    group.command("test")(guarded(try_command))
    group.command("remove")(guarded(remove_command))
    app.add_typer(group, name="sinks")


def add_command(
    name: _Name,
    target: Annotated[
        str,
        typer.Argument(
            help="URL of a webhook (https://...) or of an MQTT broker (mqtt://..., mqtts://...), "
            "or a CSV file.",
            show_default=False,
        ),
    ],
    category: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CATEGORY",
            help="Send inspections of this category; repeat it for several.  \\[default: all]",
            show_default=False,
        ),
    ] = None,
    verdict: Annotated[
        list[str] | None,
        typer.Option(
            metavar="VERDICT",
            help="Send inspections with this verdict: pass, review or fail; repeat it for "
            "several.  \\[default: all]",
            show_default=False,
        ),
    ] = None,
    secret_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="File with the secret that signs a webhook (whsec_...), or with the password of "
            "--user; - reads standard input.  \\[default: a webhook's is made and printed]",
            show_default=False,
        ),
    ] = None,
    user: Annotated[
        str | None, typer.Option(help="User of the MQTT broker.", show_default=False)
    ] = None,
    topic: Annotated[
        str | None,
        typer.Option(
            help="What MQTT topics begin with.  \\[default: patchbank]", show_default=False
        ),
    ] = None,
    json: options.Json = False,
) -> int:
    """Have inspections sent to a webhook, an MQTT broker or a CSV file from now on.

    Those of `patchbank serve` and `patchbank watch` are sent, by these programs.
    """
    secret = None if secret_file is None else _secret_in(secret_file)
    wanted = SinkOptions(tuple(category or ()), tuple(verdict or ()), secret, user, topic)
    with Workspace() as workspace:
        added = add_sink(workspace, name, target, wanted)
    if json:
        print_json(added.to_json())
        return 0
    if added.made_secret is not None:
        answer().print(added.made_secret, markup=False, soft_wrap=True)
    text = f"added sink {added.name!r}; `patchbank sinks test {shlex.quote(added.name)}` tries it"
    if added.made_secret is not None:
        text += "; the line above is its secret, which is not shown again: give it to the receiver"
    talk().print(text, markup=False)
    return 0


def _secret_in(path: Path) -> str:
    if str(path) == "-":
        text = sys.stdin.read(_LONGEST_SECRET)
    else:
        try:
            text = read_regular(path, _LONGEST_SECRET).decode()
        except (OSError, UnicodeDecodeError) as error:
            reason = (getattr(error, "strerror", None) or "is not UTF-8").lower()
            raise ParameterError(
                f"--secret-file {path}: {reason}; give a file with the secret alone"
            ) from error
    secret = text.strip()
    if not secret or not secret.isprintable():
        raise ParameterError(
            f"--secret-file {path}: is empty or has several lines; give a file with the secret "
            "alone"
        )
    return secret


def list_command(json: options.Json = False) -> int:
    """List all sinks, how many inspections wait for each, and what keeps them."""
    with Workspace() as workspace:
        states = list_sinks(workspace)
    if json:
        for state in states:
            print_json(state_to_json(state))
        return 0
    if not states:
        answer().print("no sinks; `patchbank sinks add` adds one", markup=False)
        return 0
    print_table(
        [("name", "left"), ("target", "left"), ("categories", "left"), ("verdicts", "left"),
         ("delivered", "right"), ("last", "left"), ("waiting", "right"), ("last error", "left")],
        [
            (
                state.sink.name,
                printable(shown_target(state.sink)),
                ", ".join(state.sink.categories or ["all"]),
                ", ".join(state.sink.verdicts),
                f"{state.delivered:,}",
                "-" if state.delivered_at is None else local_time(state.delivered_at),
                f"{state.waiting:,}",
                state.last_error or state.refused or "-",
            )
            for state in states
        ],
    )  # fmt: skip
    return 0


def try_command(name: _Name, json: options.Json = False) -> int:
    """Send something that is not an inspection, and say whether it arrived."""
    with Workspace() as workspace:
        try_sink(workspace, name)
    if json:
        print_json({"arrived": name})
    else:
        answer().print(f"sink {name!r} takes what is sent", markup=False)
    return 0


def remove_command(name: _Name, json: options.Json = False) -> int:
    """Send to a sink no more; what waits for it is not sent."""
    with Workspace() as workspace:
        waiting = remove_sink(workspace, name)
    if json:
        print_json({"removed": name, "not_sent": waiting})
    else:
        rest = f"; {counted(waiting, 'inspection')} that waited for it will not be sent"
        answer().print(f"removed sink {name!r}{rest if waiting else ''}", markup=False)
    return 0
