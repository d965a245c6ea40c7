"""The SQL statements: one ``.sql`` file per subject, each under a ``-- name --`` heading."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HEADING = re.compile(r"^-- (\w+) --$", re.MULTILINE)
_PART = re.compile(r'\w*|[<=>-]+|"(?:[^"]|"")+"')


@cache
def load(subject: str) -> dict[str, bytes]:
    """Return the statements of a subject by name."""
    text = (Path(__file__).parent / f"{subject}.sql").read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    statements = {
        name: body.strip().encode() for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
    if 2 * len(statements) != len(parts):
        raise ValueError(f"{subject}.sql has two statements with the same name")
    return statements


def compose(statement: bytes, **parts: int | str) -> bytes:
    """Return a statement with its ``{parts}`` filled in, such as operators.

    Parts are words and numbers of the program or quoted names, never user input.
    """
    for name, part in parts.items():
        if not _PART.fullmatch(str(part)):
            raise ValueError(
                f"{name} is {part!r}, expected a word, number, operator or quoted name"
            )
    return statement.decode().format(**parts).encode()
