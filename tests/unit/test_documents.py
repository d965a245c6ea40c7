"""Links in the README and beside it lead to files that exist; the README names every command.

Those of docs/ are checked by the build of the site, which makes some of its pages: `make lint`.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENTS = [*ROOT.glob("*.md")]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", document.read_text(encoding="utf-8"))
    for link in links:
        if "://" not in link and not link.startswith("#"):
            assert (document.parent / link.split("#")[0]).exists(), f"{document.name}: {link}"


def test_the_readme_names_every_command() -> None:
    from patchbank.cli.app import app

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    names = [command.name for command in app.registered_commands if not command.hidden]
    names += [group.name for group in app.registered_groups]
    assert len(names) >= 11
    for name in names:
        assert f"`{name}" in readme or f"patchbank {name}" in readme, name
