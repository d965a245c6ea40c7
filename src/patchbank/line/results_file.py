"""The CSV file with a line for each file of a watched folder."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from patchbank.errors import OutputError
from patchbank.files import writing
from patchbank.spreadsheets import SafeWriter
from patchbank.store.watched_files import HandledFile

_COLUMNS = (
    "file",
    "inspected_at",
    "category",
    "image",
    "verdict",
    "score",
    "pass_below",
    "fail_above",
    "p_value",
    "bank_version",
    "inspection_id",
    "sha256",
    "part",
    "station",
    "refused",
)
#: What stands for a verdict where a file could not be judged.
REFUSED = "refused"


class Result(NamedTuple):
    """What became of a file, and where it is now; None if it is gone."""

    handled: HandledFile
    path: Path | None


class ResultsFile:
    """Appends a line for each file, once: also where the line was written before a crash.

    Raises
    ------
    OutputError
        If it cannot be written.
    """

    def __init__(self, path: Path, category: str) -> None:
        self._path, self._category = path, category
        # Whether lines may be there already, or half a line.
        self._unsure = True
        self._append("")

    def add(self, results: Sequence[Result]) -> None:
        """Append a line for each result that has none yet."""
        if not results:
            return
        rows = [self._row(result) for result in results]
        if self._unsure:
            there = self._there({_key(row) for row in rows})
            rows = [row for row in rows if _key(row) not in there]
        self._unsure = True
        text = io.StringIO()
        SafeWriter(text).writerows(rows)
        self._append(text.getvalue())
        self._unsure = False

    def begin_anew(self) -> None:
        """Look again whether lines are there already before the next are written."""
        self._unsure = True

    def _append(self, text: str) -> None:
        heading = io.StringIO()
        SafeWriter(heading).writerow(_COLUMNS)
        with (
            writing("results", self._path, OutputError, "give another file with --results"),
            self._path.open("ab") as file,
        ):
            size = file.seek(0, os.SEEK_END)
            content = ("" if size else heading.getvalue()) + text
            try:
                file.write(content.encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # No half a line.
                file.truncate(size)
                raise

    def _row(self, result: Result) -> tuple[str, ...]:
        handled = result.handled
        found = (
            handled.file.name if result.path is None else result.path,
            handled.inspected_at.astimezone().isoformat(),
            self._category,
            handled.image or handled.name,
            REFUSED if handled.refused else handled.verdict,
            handled.score,
            handled.pass_below,
            handled.fail_above,
            handled.p_value,
            handled.bank_version,
            handled.inspection_id,
            handled.sha256,
            handled.part,
            handled.station,
            handled.refused,
        )
        return tuple("" if value is None else str(value) for value in found)

    def _there(self, wanted: set[tuple[str, str]]) -> set[tuple[str, str]]:
        """Return which of these lines are there; the rest of a line that was cut off is removed."""
        with writing("results", self._path, OutputError, "give another file with --results"):
            _cut_off_half_a_line(self._path)
            with self._path.open(encoding="utf-8", newline="") as file:
                return {_key(row) for row in csv.reader(file) if len(row) > 3} & wanted


def _cut_off_half_a_line(path: Path) -> None:
    with path.open("rb+") as file:
        position = size = file.seek(0, os.SEEK_END)
        while position:
            begin = max(0, position - 4096)
            file.seek(begin)
            end = file.read(position - begin).rfind(b"\n")
            if end >= 0:
                position = begin + end + 1
                break
            position = begin
        if position < size:
            file.truncate(position)


def _key(row: Sequence[str]) -> tuple[str, str]:
    """Return what only one line has: the time, and the image's name."""
    return row[1], row[3].removeprefix("'")
