"""Moving judged files out of a watched folder, so that a move that was cut off can be resumed."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from patchbank.errors import ParameterError
from patchbank.files import new_file
from patchbank.inspection.sources import file_at
from patchbank.line.folders import state_of
from patchbank.store.watched_files import HandledFile, WatchedFile

# File systems keep times to up to two seconds.
_COARSE_NS = 2_000_000_000


class Mover:
    """Moves files by their verdicts.

    Parameters
    ----------
    folder
        The watched folder.
    targets
        The folder for each verdict, and for ``refused``; the files of others stay.

    Raises
    ------
    ParameterError
        If a target is the watched folder itself, or cannot be made.
    """

    def __init__(self, folder: Path, targets: Mapping[str, Path]) -> None:
        self._folder, self._targets = folder, targets
        for verdict, target in targets.items():
            try:
                target.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                reason = (error.strerror or str(error)).lower()
                raise ParameterError(
                    f"--{verdict} {target}: cannot be made: {reason}; give another folder"
                ) from error
            if target.resolve() == folder.resolve():
                raise ParameterError(
                    f"--{verdict} {target}: is the watched folder; give another, such as one in it"
                )
            if not os.access(target, os.W_OK | os.X_OK):
                raise ParameterError(
                    f"--{verdict} {target}: cannot be written to; give another folder"
                )

    def moves(self, handled: HandledFile) -> bool:
        """Return whether the file is to be moved."""
        return _verdict(handled) in self._targets

    def move(self, handled: HandledFile) -> Path | None:
        """Move a file, if it is to be; return where it is, or None if it is gone or has changed.

        Raises
        ------
        OSError
            If it cannot be moved at the moment.
        """
        source = file_at((self._folder / handled.name).as_posix())
        target = self._targets.get(_verdict(handled))
        if target is None:
            return source if _is(source, handled.file) else None
        first, second = target / source.name, target / _with_time(source, handled.file)
        if not _is(source, handled.file):
            # It was moved before, or another came in its place, which is judged by itself.
            moved = next((path for path in (second, first) if _was(path, handled.file)), None)
        else:
            target.mkdir(parents=True, exist_ok=True)
            moved = _moved(source, handled.file, first, second)
        if moved is not None and handled.refused:
            with new_file(moved.with_name(f"{moved.name}.txt"), durable=False) as draft:
                draft.write_text(f"{handled.refused}\n", encoding="utf-8")
        return moved


def _verdict(handled: HandledFile) -> str:
    return "refused" if handled.refused else handled.verdict or ""


def _moved(source: Path, file: WatchedFile, first: Path, second: Path) -> Path | None:
    """Move a file to the first path if that is free, else to the second."""
    for path in (first, second):
        if path.exists() and filecmp.cmp(source, path, shallow=False):
            # A copy to another disk was finished, but not yet the removal.
            source.unlink()
            return path
    path = second if first.exists() else first
    if path.exists():
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))
    try:
        source.rename(path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        with new_file(path) as draft:
            shutil.copy2(source, draft)
        source.unlink()
        return path
    if not _is(path, file, name=file.name) and not source.exists():
        # Just then another was written under its name: that has not been judged.
        path.rename(source)
        return None
    return path


def _is(path: Path, file: WatchedFile, *, name: str | None = None) -> bool:
    """Return whether a path leads to a file in this state."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return state_of(file.folder, name or path.name, status) == file


def _was(path: Path, file: WatchedFile) -> bool:
    """Return whether a path leads to a file that was in this state before it was moved."""
    try:
        status = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return status.st_size == file.size and abs(status.st_mtime_ns - file.modified_ns) <= _COARSE_NS


def _with_time(source: Path, file: WatchedFile) -> str:
    moment = datetime.fromtimestamp(file.modified_ns // 10**9, UTC)
    part = f"{moment:%Y%m%dT%H%M%S}{file.modified_ns % 10**9:09d}"
    return f"{source.stem}-{part}{source.suffix}"
