"""The program `patchbank` with its commands."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from patchbank.cli import (
    backbones,
    benchmark,
    calibrate,
    database,
    evaluate,
    fit,
    inspect,
    manage,
    search,
    surfaces,
    transfer,
)
from patchbank.cli.guard import complain
from patchbank.printable import printable

# Read from the line itself, before there is a command: see `asked_for`.
_ANYWHERE = {"--debug", "--verbose"}


class _Commands(TyperGroup):
    """The commands, with some options anywhere among theirs: they are added to a line again."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        options = [argument for argument in args[:end] if argument not in _ANYWHERE]
        for option in options:
            # The library shows options that it does not know as they are: a file may be called so.
            name = option.partition("=")[0]
            if name.startswith("-") and printable(name) != name:
                raise typer.Exit(
                    complain(f"there is no option {name}; write -- before names that begin so")
                )
        return super().parse_args(ctx, options + args[end:])


app = typer.Typer(
    name="patchbank",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"patchbank {version('patchbank')}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Tell on standard error what is done.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the trace of an error, and all that is logged.")
    ] = False,
) -> None:
    """Visual inspection that learns from good images only.

    Exit codes: 0 when all is well, 1 when an inspected image failed, 2 on an
    error, 70 on a defect of patchbank itself, 130 when interrupted.
    """


for _module in (
    fit,
    calibrate,
    inspect,
    search,
    evaluate,
    benchmark,
    surfaces,
    manage,
    transfer,
    backbones,
    database,
):
    _module.register(app)
