"""The program's SQL: one ``.sql`` file a subject, each statement under a ``-- name --`` heading."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_HEADING = re.compile(r"^-- (\w+) --$", re.MULTILINE)


@cache
def load(subject: str) -> dict[str, bytes]:
    """Return the statements of a subject by name."""
    text = (Path(__file__).parent / f"{subject}.sql").read_text(encoding="utf-8")
    _, *parts = _HEADING.split(text)
    statements = {
        name: body.strip().encode() for name, body in zip(parts[::2], parts[1::2], strict=True)
    }
    if 2 * len(statements) != len(parts):
        raise ValueError(f"{subject}.sql has two statements of one name")
    return statements
