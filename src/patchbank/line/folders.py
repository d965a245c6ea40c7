"""A watched folder: what it is known by, which files are in it, and which of them are complete."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import socket
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from patchbank.errors import ParameterError
from patchbank.inspection.sources import readable
from patchbank.locks import FileLock
from patchbank.spelling import composed
from patchbank.store.watched_files import WatchedFile
from patchbank.vision.image_folders import is_image_name, is_left_out, natural_key

#: The file by which a folder is known, wherever it is mounted.
MARKER = ".patchbank-watch"
_ID = re.compile(r"[0-9a-f]{32}")
_LONGEST_ID = 100


class FoundFile(NamedTuple):
    """A file in the folder: where it is, and the state in which it was found."""

    path: Path
    file: WatchedFile


class OtherFolderError(Exception):
    """Another folder than before is there, as when a drive was mounted over it."""


class WatchedFolder:
    """A folder whose images are judged as they come.

    It is known by a small hidden file with a random number, so that it is the same folder from
    another machine, in another container or under another path; one that cannot be written to is
    known by this machine's name and its path.

    Attributes
    ----------
    id
        What it is known by.
    marked
        Whether it has the hidden file.

    Raises
    ------
    ParameterError
        If it is no folder, or its hidden file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_dir():
            raise ParameterError(f"{path} is not a folder; give one that exists")
        self._begin()

    def _begin(self) -> None:
        self.marked, self._drive = True, drive_of(self.path)
        try:
            self.id = _marked(self.path / MARKER)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS):
                raise
            self.marked = False
            self.id = readable(f"{socket.gethostname()}:{self.path.resolve()}")

    def look(self) -> dict[WatchedFile, FoundFile]:
        """Return the images that are in the folder now; not what is in folders below, nor links.

        Raises
        ------
        OSError
            If the folder is not there at the moment, as when a network drive is away.
        OtherFolderError
            If another drive was mounted there; then that is the folder from now on.
        """
        found = {}
        # Through the open folder: below its path there may be another one at any moment.
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._identify(folder)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_left_out(entry.name) or not is_image_name(entry.name):
                        continue
                    try:
                        if not entry.is_file(follow_symlinks=False):
                            continue
                        # Not the entry's own: on some systems it is as old as the listing.
                        status = os.stat(entry.name, dir_fd=folder, follow_symlinks=False)
                    except FileNotFoundError:
                        continue
                    file = state_of(self.id, entry.name, status)
                    found[file] = FoundFile(self.path / entry.name, file)
        finally:
            os.close(folder)
        return found

    def check(self) -> None:
        """Raise the errors of `look` if the folder is not there at the moment."""
        folder = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self._identify(folder)
        finally:
            os.close(folder)

    def _identify(self, folder: int) -> None:
        try:
            marker = os.open(MARKER, os.O_RDONLY, dir_fd=folder)
        except FileNotFoundError as error:
            if self.marked:
                if self._drive.is_mount() and drive_of(self.path) != self._drive:
                    self._begin()
                    raise self._other() from error
                raise FileNotFoundError(
                    errno.ENOENT,
                    f"is not what it was: the file {MARKER} is missing (mount its drive, or start "
                    "again if the folder was made anew)",
                    str(self.path),
                ) from error
            return
        except PermissionError:
            if self.marked:
                raise
            return
        with open(marker, encoding="ascii", errors="replace") as file:  # noqa: PTH123 (of a descriptor)
            found = _id_in(file.read(_LONGEST_ID), self.path / MARKER)
        if found != self.id:
            self._begin()
            raise self._other()

    def _other(self) -> OtherFolderError:
        return OtherFolderError(f"{self.path} is another folder than before")


def drive_of(path: Path) -> Path:
    """Return the mount point that a path is below."""
    path = path.absolute()
    return next(each for each in (path, *path.parents) if each.is_mount())


def watching_lock(home: Path, category: str, folder: str) -> FileLock | None:
    """Return what one process at a time holds that watches a folder for a category.

    None where the home folder cannot be written to.
    """
    locks = home / "watching"
    try:
        locks.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    if not os.access(locks, os.W_OK | os.X_OK):
        return None
    key = f"{composed(category)}\n{folder}".encode()
    return FileLock(locks / hashlib.sha256(key).hexdigest()[:32])


def state_of(folder: str, name: str, status: os.stat_result) -> WatchedFile:
    """Return the state of a file of a folder."""
    return WatchedFile(folder, readable(name), status.st_size, status.st_mtime_ns)


def _marked(marker: Path) -> str:
    """Return the id in a folder's hidden file, creating the file if it is missing."""
    draft = marker.with_name(f"{MARKER}-{uuid.uuid4().hex[:8]}")
    if not marker.exists():
        # Whole or not at all: another process may begin at the same moment.
        draft.write_text(f"{uuid.uuid4().hex}\n", encoding="ascii")
        try:
            os.link(draft, marker)
        except FileExistsError:
            pass
        except OSError:
            # Network drives may know no links.
            draft.replace(marker)
        draft.unlink(missing_ok=True)
    return _id_in(marker.read_text(encoding="ascii", errors="replace"), marker)


def _id_in(text: str, marker: Path) -> str:
    if not _ID.fullmatch(text.strip()):
        raise ParameterError(f"{marker} is damaged; remove it: the folder is then watched anew")
    return text.strip()


class Arrivals:
    """Tells when a file is complete: when it did not change for a while.

    Parameters
    ----------
    settle
        Seconds for which size and time must stay the same.
    """

    def __init__(self, settle: float) -> None:
        self._settle = settle
        self._since: dict[WatchedFile, float] = {}

    def complete(self, found: Mapping[WatchedFile, FoundFile], now: float) -> list[FoundFile]:
        """Return the complete ones of the files that are there at the moment, oldest first."""
        self._since = {file: self._since.get(file, now) for file in found}
        settled = [found[file] for file in found if now - self._since[file] >= self._settle]
        return sorted(settled, key=_order)


def _order(found: FoundFile) -> tuple[int, object]:
    return found.file.modified_ns, natural_key(found.file.name)
