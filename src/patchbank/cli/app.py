"""The program `patchbank` with its commands."""

from __future__ import annotations

import inspect as inspection
import sys
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import CommandInfo, TyperInfo

from patchbank.cli import (
    access,
    audit,
    backbones,
    backup,
    benchmark,
    calibrate,
    check,
    database,
    drift,
    evaluate,
    fit,
    inspect,
    inspections,
    living,
    manage,
    review,
    search,
    sensitivity,
    serve,
    sinks,
    surfaces,
    threshold,
    transfer,
    tune,
    watch,
)
from patchbank.cli.guard import complain, complain_of_usage
from patchbank.printable import printable

# The headings of the help, in its order.
_GROUPS = {
    "Everyday": (
        "fit",
        "inspect",
        "inspections",
        "review",
        "search",
        "categories",
        "show",
        "calibrate",
        "threshold",
        "activate",
        "remove",
    ),
    "Changing a bank": ("add", "quarantine", "withdraw", "history", "undo"),
    "Evidence": ("check", "drift", "sensitivity", "tune", "evaluate", "benchmark", "demo"),
    "Data": ("defects", "export", "import", "import-anomalib", "make-surfaces", "export-demo"),
    "Database": ("index", "database", "backup", "restore", "audit", "doctor"),
    "Network": ("backbone",),
    "Service": ("serve", "keys", "watch", "sinks"),
}

# Read from the line itself, before there is a command: see `asked_for`.
_ANYWHERE = {"--debug", "--verbose"}


# Of the library, for all that is wrong with a line's options and arguments.
_USAGE_ERROR = typer.BadParameter.__mro__[1:2]


class _Command(TyperCommand):
    """A command that a mistake on its line is attributed to, for the help that is named then."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except _USAGE_ERROR as error:  # type: ignore[misc]  # it has no public name
            error.ctx = error.ctx or ctx
            raise


class _Commands(TyperGroup):
    """The commands, with some options anywhere among theirs: they are added to a line again."""

    def main(self, *args: Any, **extra: Any) -> NoReturn:
        """Run a line and exit: what is wrong with it is said in one line, as all errors are."""
        extra["standalone_mode"] = False
        try:
            code = super().main(*args, **extra)
        except _USAGE_ERROR as error:  # type: ignore[misc]  # it has no public name
            code = complain_of_usage(error)
        sys.exit(code)

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names as the help shows them; others by name only."""
        return [name for names in _GROUPS.values() for name in names]

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        options = [argument for argument in args[:end] if argument not in _ANYWHERE]
        for option in options:
            # The library shows options that it does not know as they are: a file may be called so.
            name = option.partition("=")[0]
            if name.startswith("-") and printable(name) != name:
                raise typer.Exit(
                    complain(f"no such option: {name}; to use it as a name, put -- before it")
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
        bool, typer.Option("--verbose", help="Log progress to standard error.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error, and all log messages.")
    ] = False,
) -> None:
    """Visual inspection that learns from images of good parts only.

    Exit codes: 0 success, 1 an inspected image did not pass or drift was found, 2 error, 70 bug in
    patchbank, 130 interrupted.
    """


for _module in (
    fit,
    calibrate,
    threshold,
    inspect,
    inspections,
    review,
    search,
    check,
    sensitivity,
    drift,
    tune,
    evaluate,
    benchmark,
    sinks,
    surfaces,
    living,
    manage,
    transfer,
    backbones,
    database,
    audit,
    serve,
    access,
    watch,
    sinks,
    backup,
):
    _module.register(app)


def _complete(commands: list[CommandInfo]) -> None:
    """Give commands their class, and help whose paragraphs break where the terminal ends."""
    for command in commands:
        command.cls = _Command
        paragraphs = inspection.cleandoc(getattr(command.callback, "__doc__", None) or "").split(
            "\n\n"
        )
        command.help = "\n\n".join(" ".join(text.split()) for text in paragraphs)


_complete(app.registered_commands)
for _group in app.registered_groups:
    assert _group.typer_instance is not None
    _complete(_group.typer_instance.registered_commands)

_registered: list[CommandInfo | TyperInfo] = [*app.registered_commands, *app.registered_groups]
for _info in _registered:
    _info.rich_help_panel = next((name for name in _GROUPS if _info.name in _GROUPS[name]), "")
    # Each has a heading, or is an old name of one that has.
    assert _info.rich_help_panel or _info.hidden, _info.name
