"""`patchbank serve`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from patchbank.cli.guard import guarded
from patchbank.cli.output import talk
from patchbank.environment import install_command
from patchbank.errors import MissingExtraError
from patchbank.inspection.workspace import Workspace


def register(app: typer.Typer) -> None:
    """Add this module's commands."""
    app.command("serve")(guarded(serve_command))


def serve_command(
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. Others than those of this machine need a key "
            "(`patchbank keys create`)."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8420,
    name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="HOST",
            help="A name under which browsers may ask for the service; repeat it for several.  "
            "\\[default: any, but without keys only this machine's]",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        list[Path] | None,
        typer.Option(
            help="A folder of this machine whose images clients may ask to learn or to add, and to "
            "which admins may have CSV files written; repeat it for several.  \\[default: none]",
            show_default=False,
        ),
    ] = None,
) -> int:
    """Run the service: an API for the line and pages for people, until Ctrl-C."""
    try:
        from patchbank.server.request_ids import WithRequest
        from patchbank.server.running import serve
        from patchbank.server.service import ServiceOptions
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"the service needs the extra `server`: {install_command('patchbank[server]')}"
        ) from error
    for handler in logging.getLogger().handlers:
        handler.addFilter(WithRequest())
    options = ServiceOptions(tuple(name or ()), tuple(path.resolve() for path in folder or ()))
    with Workspace() as workspace:
        serve(
            workspace,
            host=host,
            port=port,
            options=options,
            on_ready=lambda url: talk().print(f"patchbank answers at {url}", markup=False),
        )
    return 0
