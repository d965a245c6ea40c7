"""Pages of the site that are made from the code: the commands, and the Python API."""

from __future__ import annotations

import typer
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from typer.cli import get_docs_for_click

import patchbank
from patchbank.cli.app import app


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the generated pages."""
    for name, content in (("commands.md", _commands()), ("python.md", _python())):
        files.append(File.generated(config, name, content=content))
    return files


def _commands() -> str:
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="patchbank")
    return get_docs_for_click(obj=command, ctx=context, name="patchbank", title="Commands")


def _python() -> str:
    parts = "\n\n".join(f"::: patchbank.{name}" for name in patchbank.__all__)
    return f"# Python\n\n{parts}\n"
