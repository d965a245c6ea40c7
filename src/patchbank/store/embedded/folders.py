"""Open folders whose entries are accessed by descriptor and never through links.

Root works in folders of other accounts, who may put links there or replace what was just checked.
So nothing is done by path, and ownership is only given to newly made folders.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from patchbank.descriptors import above_standard
from patchbank.errors import EmbeddedServerError
from patchbank.links import (
    account_name,
    check_own_file,
    open_folder,
    path_of,
    refuse_kind,
    refuse_link,
)
from patchbank.store.embedded.accounts import Account

_MOST_READ_BYTES = 65_536


class Folder:
    """An open folder; made by `Folder.open` or `inner`, closed as a context manager.

    Attributes
    ----------
    path
        Its path, for messages.
    descriptor
        For use as ``dir_fd``.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor

    @classmethod
    def open(cls, path: Path, *, make: bool = False) -> Folder:
        """Open a folder by its resolved path.

        Raises
        ------
        UnsafePathError
            If the path contains a link.
        OSError
            If it does not exist or cannot be opened.
        """
        return cls(path, open_folder(path, make=make))

    @property
    def status(self) -> os.stat_result:
        """Its status."""
        return os.fstat(self.descriptor)

    @property
    def owner(self) -> int:
        """The user id of its owner."""
        return self.status.st_uid

    @property
    def name_for_children(self) -> Path:
        """A path to it for a child process."""
        return path_of(self.descriptor, self.path)

    def look(self, name: str) -> os.stat_result | None:
        """Return the status of a file or folder in this one, None if it does not exist.

        Raises
        ------
        UnsafePathError
            If it is a link or neither a file nor a folder.
        """
        try:
            found = os.stat(name, dir_fd=self.descriptor, follow_symlinks=False)
        except FileNotFoundError:
            return None
        if stat.S_ISLNK(found.st_mode):
            raise refuse_link(self.path / name)
        if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
            raise refuse_kind(self.path / name)
        return found

    def inner(self, name: str, account: Account) -> Folder:
        """Open a folder inside this one that belongs to the account.

        Raises
        ------
        UnsafePathError
            If it is a link.
        EmbeddedServerError
            If it belongs to another account.
        OSError
            If it does not exist or cannot be opened.
        """
        folder = self._open(name)
        owner = folder.owner
        # An account may have moved any folder here. An empty one of root's counts as new.
        new = owner == os.geteuid() and folder.is_empty()
        if account.switch and owner != account.uid and not new:
            folder.close()
            raise _not_theirs(folder.path, owner, account.uid)
        return folder

    def make(self, name: str, account: Account) -> Folder:
        """Create or open a folder that only the account and root can enter.

        Raises
        ------
        UnsafePathError
            If it is a link.
        EmbeddedServerError
            If it already exists and belongs to another account.
        OSError
            If it cannot be created or opened.
        """
        # Another process may create it at the same time.
        with contextlib.suppress(FileExistsError), self._named(name):
            os.mkdir(name, mode=0o700, dir_fd=self.descriptor)
        folder = self.inner(name, account)
        if account.owner is not None and folder.owner != account.uid:
            os.fchown(folder.descriptor, *account.owner)
        return folder

    def read(self, name: str, *, start: int | None = None) -> bytes | None:
        """Return a small file's bytes, from `start` or the last 64 kB; None if there is no file.

        Raises
        ------
        UnsafePathError
            If it is no regular file.
        OSError
            If it cannot be read.
        """
        if self.look(name) is None:
            return None
        # It may have been replaced by a pipe, which must not block us.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            with self._named(name):
                descriptor = os.open(name, flags, dir_fd=self.descriptor)
        except FileNotFoundError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise refuse_kind(self.path / name)
            least = max(0, os.fstat(descriptor).st_size - _MOST_READ_BYTES)
            file.seek(least if start is None else max(start, least))
            return file.read(_MOST_READ_BYTES)

    @contextlib.contextmanager
    def appending(self, name: str, account: Account) -> Iterator[int]:
        """Yield the descriptor of a file of the account for appending; create it if missing.

        Raises
        ------
        UnsafePathError
            If it is not a regular file, or belongs to another account.
        OSError
            If it cannot be opened.
        """
        self.look(name)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
        with self._named(name):
            # A pipe put there in the meantime would block us.
            descriptor = os.open(name, flags | os.O_NONBLOCK, 0o600, dir_fd=self.descriptor)
        descriptor = above_standard(descriptor)
        try:
            check_own_file(descriptor, self.path / name, account.owner)
            yield descriptor
        finally:
            os.close(descriptor)

    def is_empty(self) -> bool:
        """Return whether it is empty."""
        with os.scandir(self.descriptor) as entries:
            return next(entries, None) is None

    def remove(self, name: str) -> None:
        """Remove a file if it exists."""
        with contextlib.suppress(FileNotFoundError), self._named(name):
            os.unlink(name, dir_fd=self.descriptor)

    def remove_folder(self, name: str, account: Account) -> None:
        """Remove a folder of the account with all its contents, if it exists.

        Raises
        ------
        UnsafePathError
            If it is a link.
        EmbeddedServerError
            If it belongs to another account.
        """
        if self.look(name) is None:
            return
        self.inner(name, account).close()
        # rmtree uses descriptors too, and refuses links.
        shutil.rmtree(name, ignore_errors=True, dir_fd=self.descriptor)

    def rename(self, old: str, new: str) -> None:
        """Rename an entry durably."""
        with self._named(old):
            os.rename(old, new, src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)
        os.fsync(self.descriptor)

    def size(self) -> int:
        """Return the total bytes of all files below it."""
        size = 0
        for _, _, names, descriptor in os.fwalk(dir_fd=self.descriptor):
            for name in names:
                # Files may disappear meanwhile.
                with contextlib.suppress(FileNotFoundError):
                    size += os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_size
        return size

    def refuse_pipes(self) -> None:
        """Refuse files at any depth that would block a program that opens them.

        Raises
        ------
        UnsafePathError
            If a file below is a pipe, a socket or a device.
        """
        for folder, _, names, descriptor in os.fwalk(dir_fd=self.descriptor):
            for name in names:
                mode = os.stat(name, dir_fd=descriptor, follow_symlinks=False).st_mode
                if not stat.S_ISREG(mode) and not stat.S_ISLNK(mode):
                    raise refuse_kind(self.path / folder / name)

    def close(self) -> None:
        """Close it."""
        os.close(self.descriptor)

    def __enter__(self) -> Folder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _open(self, name: str) -> Folder:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        try:
            with self._named(name):
                descriptor = os.open(name, flags, dir_fd=self.descriptor)
        except NotADirectoryError:
            self.look(name)
            raise
        return Folder(self.path / name, descriptor)

    @contextlib.contextmanager
    def _named(self, name: str) -> Iterator[None]:
        """Make system errors name the whole path."""
        try:
            yield
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(self.path / name)) from error


def _not_theirs(path: Path, owner: int, wanted: int) -> EmbeddedServerError:
    return EmbeddedServerError(
        f"{path} belongs to {account_name(owner)}, not to {account_name(wanted)}, who runs the "
        "embedded database; find out why, remove it, or set PATCHBANK_HOME to another folder"
    )
