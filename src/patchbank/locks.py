"""Locks between processes that die with their holder, however it dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from pathlib import Path
from types import TracebackType
from weakref import WeakSet

from patchbank.descriptors import above_standard
from patchbank.links import check_own_file, refuse_kind, refuse_link

# Those that this process holds.
_held: WeakSet[FileLock] = WeakSet()


class FileLock:
    """An exclusive lock on a file (``flock``).

    The kernel frees it when the last copy of its descriptor is closed: a killed process leaves
    nothing locked, and a child that inherits the descriptor holds the lock for as long as it or any
    child of its own lives. Unlike a process id in a file this cannot be mistaken for another
    process, and it works between containers that share the folder.

    Parameters
    ----------
    path
        The file; it is created when missing and never removed.
    owner
        User and group id the file shall belong to; used by root, who works for another account.
    within
        The descriptor of the open folder that the file is in; by its path otherwise.
    mode
        The file's permissions when it is created, less the process's mask.
    """

    def __init__(
        self,
        path: Path,
        *,
        owner: tuple[int, int] | None = None,
        within: int | None = None,
        mode: int = 0o600,
    ) -> None:
        self.path = path
        self._owner = owner
        self._within = within
        self._mode = mode
        self._descriptor: int | None = None

    @property
    def descriptor(self) -> int:
        """The open descriptor, to be inherited by a child that shall hold the lock on."""
        if self._descriptor is None:
            raise RuntimeError(f"the lock {self.path} is not held")
        return self._descriptor

    def try_acquire(self) -> bool:
        """Take the lock if nobody holds it; say whether it was taken."""
        if self._descriptor is not None:
            raise RuntimeError(f"the lock {self.path} is held already")
        descriptor = above_standard(self._open())
        try:
            check_own_file(descriptor, self.path, self._owner)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        _held.add(self)
        return True

    def acquire(self, *, timeout: float | None = None) -> None:
        """Wait for the lock, at most `timeout` seconds.

        Raises
        ------
        TimeoutError
            When the lock was not free in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        # Polling, because a blocking flock has no timeout.
        while not self.try_acquire():
            if deadline is not None and time.monotonic() >= deadline:
                raise TimeoutError(str(self.path))
            time.sleep(pause)
            pause = min(2 * pause, 0.02)

    def release(self) -> None:
        """Close our descriptor; children that inherited it keep the lock."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def is_held(self) -> bool:
        """Say whether any process holds the lock (also when it is this one)."""
        if self._descriptor is not None:
            return True
        try:
            os.stat(self._name, dir_fd=self._within, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if self.try_acquire():
            self.release()
            return False
        return True

    @property
    def _name(self) -> str | Path:
        return self.path if self._within is None else self.path.name

    def _open(self) -> int:
        # A link planted in a folder of the server's account must not lead root elsewhere.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self._name, flags, self._mode, dir_fd=self._within)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise refuse_link(self.path) from error
            if error.errno == errno.ENXIO:  # a socket
                raise refuse_kind(self.path) from error
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _release_in_child() -> None:
    # A forked copy of this process would hold the lock for as long as it lives. Programs that are
    # started, which is how a lock is handed on, do not come here.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)
