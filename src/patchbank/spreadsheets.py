"""CSV that a spreadsheet program opens without running anything."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any, TextIO

# Of these, the full-width ones too, as programs set to Japanese or Chinese read them alike.
_FIRST = frozenset("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)


class SafeWriter:
    """Writes rows as CSV; a text that would be taken for a formula gets an apostrophe before it.

    Names of parts, stations and files come from outside, and a spreadsheet program may run a cell
    that begins with ``=``, ``+``, ``-`` or ``@``. Numbers stay as they are.
    """

    def __init__(self, file: TextIO) -> None:
        self._writer = csv.writer(file, lineterminator="\n")

    def writerow(self, row: Iterable[Any]) -> None:
        """Write a row."""
        self._writer.writerow([_safe(cell) for cell in row])

    def writerows(self, rows: Iterable[Iterable[Any]]) -> None:
        """Write several rows."""
        self._writer.writerows([_safe(cell) for cell in row] for row in rows)


def _safe(cell: Any) -> Any:
    # A million lines have ten million cells.
    if type(cell) is str and cell[:1] in _FIRST and not _NUMBER.fullmatch(cell):
        return f"'{cell}"
    return cell
