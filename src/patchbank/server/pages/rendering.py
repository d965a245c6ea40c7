"""The templates of the pages, and the files that belong to them."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from patchbank.printable import printable
from patchbank.server.remedies import for_people

_FOLDER = Path(__file__).parent
STATIC = _FOLDER / "static"

# As in words.js: a file's name, a setting.
_NAME_FIRST = re.compile(r"\S*[._/\\\d]\S")


@cache
def static_version() -> str:
    """Return what changes when one of the files does, so that browsers may keep them."""
    digest = hashlib.sha256()
    for path in sorted(STATIC.iterdir()):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def sentence(text: str) -> str:
    """Return a message as a sentence; a name at its beginning stays as it is."""
    begun = text if _NAME_FIRST.match(text) else text[:1].upper() + text[1:]
    return begun if begun.endswith((".", "!", "?")) else f"{begun}."


@cache
def _environment() -> Environment:
    # Whatever is in a name or a label is text.
    environment = Environment(
        loader=FileSystemLoader(_FOLDER / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=lambda value: printable(value) if isinstance(value, str) else value,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["sentence"] = sentence
    environment.globals["static"] = f"/static/{static_version()}"
    return environment


def render(name: str, **values: Any) -> str:
    """Return a page."""
    defaults: dict[str, Any] = {"categories": [], "category": None, "links": [], "here": None}
    return (
        _environment()
        .get_template(f"{name}.html.j2")
        .render({**defaults, "caller": None, **values})
    )


def problem_page(title: str, detail: str) -> str:
    """Return the page that says what went wrong, by the words of a problem document."""
    return render("problem", title=title, detail=for_people(detail))
