"""The CSV file with a line for each file of a watched folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from patchbank.inspection.sources import readable, source_name
from patchbank.line.appended_csv import AppendedCsv
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
    OutputError, DiskFullError
        If it cannot be written.
    """

    def __init__(self, path: Path, category: str, folder: Path) -> None:
        self._category, self._folder = category, folder
        self._file = AppendedCsv(path, _COLUMNS, _key, "give another file with --results")
        # What cannot be written is said before anything is judged.
        self._file.add([])

    def add(self, results: Sequence[Result]) -> None:
        """Append a line for each result that has none yet."""
        if results:
            self._file.add([self._row(result) for result in results])

    def _row(self, result: Result) -> tuple[str, ...]:
        handled = result.handled
        found = (
            handled.file.name if result.path is None else readable(result.path.as_posix()),
            handled.inspected_at.astimezone().isoformat(),
            self._category,
            handled.image or source_name(self._folder / handled.name),
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


def _key(row: Sequence[str]) -> tuple[str, str]:
    """Return the time, and the image's name."""
    return row[1], row[3].removeprefix("'")
