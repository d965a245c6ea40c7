"""The SQL statements: one ``.sql`` file per subject, each under a ``-- name --`` heading.

What several statements of a file have in common is under ``-- part name --``, and stands in them as
``<name>``.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HEADING = re.compile(r"^-- (part )?(\w+) --$", re.MULTILINE)
_LARGEST_BIGINT = 2**63 - 1
_USE_OF_PART = re.compile(r"<(\w+)>")
_PART = re.compile(r'\w*|[<=>-]+|"(?:[^"]|"")+"')


@cache
def load(subject: str) -> dict[str, bytes]:
    """Return the statements of a subject by name."""
    text = (Path(__file__).parent / f"{subject}.sql").read_text(encoding="utf-8")
    _, *sections = _HEADING.split(text)
    names, bodies = sections[1::3], [body.strip() for body in sections[2::3]]
    if len({*names}) != len(names):
        raise ValueError(f"{subject}.sql has two statements with the same name")
    parts = {
        name: body for kind, name, body in zip(sections[::3], names, bodies, strict=True) if kind
    }

    def whole(body: str) -> str:
        return _USE_OF_PART.sub(lambda use: whole(parts[use[1]]), body)

    return {
        name: whole(body).encode()
        for name, body in zip(names, bodies, strict=True)
        if name not in parts
    }


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


def as_bigint(number: int | None) -> int | None:
    """Return a limit or an id that a user gave, or the nearest that PostgreSQL's `bigint` holds."""
    if number is None:
        return None
    return max(-_LARGEST_BIGINT, min(number, _LARGEST_BIGINT))
