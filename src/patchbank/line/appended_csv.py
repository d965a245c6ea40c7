"""A CSV file to which lines are appended, each once: also where one was written before a crash."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from patchbank.errors import OutputError
from patchbank.files import writing
from patchbank.spreadsheets import SafeWriter

# Where lines of before a crash are looked for: thousands of lines.
_TAIL_BYTES = 1_000_000

Row = Sequence[str]


class AppendedCsv:
    """A CSV file with a heading; it may be moved away at any time, and a new one begins.

    Parameters
    ----------
    key
        Returns what only one line has.
    remedy
        What to do where it cannot be written.
    """

    def __init__(
        self, path: Path, columns: Row, key: Callable[[Row], Hashable], remedy: str
    ) -> None:
        self._path, self._key, self._remedy = path, key, remedy
        self._columns = columns

    def add(self, rows: Sequence[Row]) -> None:
        """Append the lines that are not there yet, all or none; a new file gets its heading.

        Raises
        ------
        OutputError, DiskFullError
            If it cannot be written.
        """
        with (
            writing("results", self._path, OutputError, self._remedy),
            self._path.open("ab+") as file,
        ):
            _lock(file)
            size = _cut_off_half_a_line(file)
            there = self._keys(file, size)
            new = [row for row in rows if self._key(row) not in there]
            text = io.StringIO()
            writer = SafeWriter(text)
            if not size:
                writer.writerow(self._columns)
            writer.writerows(new)
            try:
                file.write(text.getvalue().encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # No half a line.
                file.truncate(size)
                raise

    def _keys(self, file: io.BufferedRandom, size: int) -> set[Hashable]:
        file.seek(max(0, size - _TAIL_BYTES))
        # Not `splitlines`: names may have what it takes for the end of a line.
        lines = io.StringIO(file.read().decode(errors="replace"), newline="")
        width = len(self._columns)
        return {self._key(row) for row in csv.reader(lines) if len(row) == width}


def _lock(file: io.BufferedRandom) -> None:
    """Keep others from appending until the file is closed: lines are written once, and whole."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
    except OSError as error:
        # Some network drives have no locks; one process writes there.
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            raise


def _cut_off_half_a_line(file: io.BufferedRandom) -> int:
    """Remove what follows the last end of a line; return the file's size then."""
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
    return position
