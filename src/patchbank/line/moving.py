"""Moving judged files out of a watched folder, so that a move that was cut off can be resumed."""

from __future__ import annotations

import contextlib
import errno
import filecmp
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from patchbank.errors import ParameterError
from patchbank.files import new_file, rename_new
from patchbank.inspection.sources import file_at
from patchbank.line.folders import drive_of, state_of
from patchbank.store.watched_files import HandledFile, WatchedFile

# File systems keep times to up to two seconds.
_COARSE_NS = 2_000_000_000
# In bytes, on all usual file systems.
_LONGEST_NAME = 255


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
        self._drives: dict[Path, Path] = {}
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
            self._drives[target] = drive_of(target)

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
        if not self._drives[target].is_mount():
            # What is moved to its empty mount point is hidden when it is back.
            raise FileNotFoundError(
                errno.ENOENT, f"{self._drives[target]} is not mounted", str(target)
            )
        # Another may have been mounted since.
        self._drives[target] = drive_of(target)
        if _is(source, handled.file):
            target.mkdir(parents=True, exist_ok=True)
            moved = _moved(source, handled.file, target)
        else:
            # It was moved before, or another came in its place, which is judged by itself.
            first, *others = _taken(source, handled.file, target)
            moved = next((path for path in (*others, first) if _was(path, handled.file)), None)
        if moved is not None and handled.refused:
            reason = moved.with_name(_fitting(moved.name, ".txt"))
            with new_file(reason, durable=False) as draft:
                draft.write_text(f"{handled.refused}\n", encoding="utf-8")
        return moved


def _verdict(handled: HandledFile) -> str:
    return "refused" if handled.refused else handled.verdict or ""


def _names(source: Path, file: WatchedFile, target: Path) -> Iterator[Path]:
    """Yield the paths for a file in a folder: its name, then with its time, then numbered too."""
    moment = datetime.fromtimestamp(file.modified_ns // 10**9, UTC)
    time = f"-{moment:%Y%m%dT%H%M%S}{file.modified_ns % 10**9:09d}"
    yield target / source.name
    yield target / _fitting(source.stem, f"{time}{source.suffix}")
    for number in itertools.count(2):
        yield target / _fitting(source.stem, f"{time}-{number}{source.suffix}")


def _taken(source: Path, file: WatchedFile, target: Path) -> list[Path]:
    """Return the first two paths for a file, and those after them that are taken."""
    names = _names(source, file, target)
    return [*itertools.islice(names, 2), *itertools.takewhile(os.path.lexists, names)]


def _fitting(stem: str, ending: str) -> str:
    """Return a name; a stem that is too long for it is cut, and marked by what it was."""
    name = stem + ending
    if len(os.fsencode(name)) > _LONGEST_NAME:
        ending = f"-{hashlib.sha256(os.fsencode(stem)).hexdigest()[:8]}{ending}"
        while len(os.fsencode(stem + ending)) > _LONGEST_NAME:
            stem = stem[:-1]
        name = stem + ending
    return name


def _moved(source: Path, file: WatchedFile, target: Path) -> Path | None:
    """Move a file to the first path that is free."""
    for path in _taken(source, file, target):
        if path.exists() and filecmp.cmp(source, path, shallow=False):
            # A copy to another disk was finished, but not yet the removal.
            source.unlink()
            return path
    for path in _names(source, file, target):
        # Another watcher may take a name at the same moment.
        with contextlib.suppress(FileExistsError):
            return _put(source, file, path)
    raise AssertionError("there is always another name")


def _put(source: Path, file: WatchedFile, path: Path) -> Path | None:
    try:
        rename_new(source, path)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return _copied(source, file, path)
    if not _is(path, file, name=file.name) and not source.exists():
        # Just then another was written under its name: that has not been judged.
        path.rename(source)
        return None
    return path


def _copied(source: Path, file: WatchedFile, path: Path) -> Path | None:
    with new_file(path, replace=False) as draft:
        shutil.copyfile(source, draft)
        # Some drives let nobody set times or permissions.
        with contextlib.suppress(PermissionError):
            shutil.copystat(source, draft)
    if not _is(source, file):
        # While it was copied, another was written under its name: that has not been judged.
        path.unlink()
        return None
    source.unlink()
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
