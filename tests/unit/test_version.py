"""The version comes from the tag that was built; everything that shows it shows the same."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

import patchbank
from patchbank.cli.app import app

ROOT = Path(__file__).parents[2]


def test_the_package_and_the_command_tell_the_installed_version() -> None:
    installed = version("patchbank")
    assert patchbank.__version__ == installed
    assert CliRunner().invoke(app, ["--version"]).stdout == f"patchbank {installed}\n"


def test_an_unknown_name_is_still_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'__versions__'"):
        patchbank.__versions__  # noqa: B018


def test_a_build_without_tags_takes_the_version_that_the_changelog_works_on() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        project = tomllib.load(file)
    assert "version" not in project["project"]
    fallback = project["tool"]["hatch"]["version"]["fallback-version"]
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)
    assert newest is not None
    assert fallback == f"{newest[1]}.dev0"
