"""A CSV file to which lines are appended, each once: also where one was written before a crash."""

from __future__ import annotations

import csv
import errno
import fcntl
import io
import os
import time
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path

from patchbank.errors import OutputError
from patchbank.files import writing
from patchbank.line.folders import drive_of
from patchbank.spreadsheets import SafeWriter

# Where lines of before a crash are looked for: thousands of lines.
_TAIL_BYTES = 1_000_000
# For how long another program may have the file locked.
_LOCK_SECONDS = 5.0

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
        self._drive = drive_of(path.parent)
        self._columns = columns
        heading = io.StringIO()
        SafeWriter(heading).writerow(columns)
        self._heading = heading.getvalue().encode()

    def add(self, rows: Sequence[Row]) -> None:
        """Append the lines that are not there yet, all or none; a new file gets its heading.

        Raises
        ------
        OutputError, DiskFullError
            If it cannot be written, or is a file with another heading.
        """
        if not self._drive.is_mount():
            # A new file would begin in its empty mount point, and be hidden when it is back.
            raise OutputError(f"{self._path}: {self._drive} is not mounted; mount it")
        self._drive = drive_of(self._path.parent)
        with (
            writing("results", self._path, OutputError, self._remedy),
            self._path.open("ab+") as file,
        ):
            _lock(file)
            self._check_heading(file)
            size = _cut_off_half_a_line(file)
            there = self._keys(file, size)
            new = [row for row in rows if self._key(row) not in there]
            text = io.StringIO()
            SafeWriter(text).writerows(new)
            try:
                file.write(b"" if size else self._heading)
                file.write(text.getvalue().encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:
                # No half a line.
                file.truncate(size)
                raise

    def _check_heading(self, file: io.BufferedRandom) -> None:
        file.seek(0)
        # Half of it may have been written before a crash.
        if not self._heading.startswith(file.read(len(self._heading))):
            raise OutputError(
                f"{self._path} has other columns than its lines would have; move it away, and a "
                "new file begins"
            )

    def _keys(self, file: io.BufferedRandom, size: int) -> set[Hashable]:
        file.seek(max(0, size - _TAIL_BYTES))
        # Not `splitlines`: names may have what it takes for the end of a line.
        lines = io.StringIO(file.read().decode(errors="replace"), newline="")
        width = len(self._columns)
        return {self._key(row) for row in csv.reader(lines) if len(row) == width}


def _lock(file: io.BufferedRandom) -> None:
    """Keep others from appending until the file is closed: lines are written once, and whole."""
    deadline = time.monotonic() + _LOCK_SECONDS
    while True:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() > deadline:
                raise OSError(error.errno, "another program has locked it") from error
            time.sleep(0.01)
        except OSError as error:
            # Some network drives have no locks; one process writes there.
            if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            return
        else:
            return


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
