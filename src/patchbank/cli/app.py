"""The program `patchbank` with its commands."""

from __future__ import annotations

from typing import Annotated

import typer

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

app = typer.Typer(
    name="patchbank",
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
) -> None:
    """Visual inspection that learns from good images only.

    Exit codes: 0 when all is well, 1 when an inspected image failed, 2 on an error, 130 when
    interrupted.
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
