"""Locks between processes that are released however their holder ends."""

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

# The locks that this process holds.
_held: WeakSet[FileLock] = WeakSet()


class FileLock:
    """An exclusive lock on a file (``flock``).

    The kernel releases it when the last copy of its descriptor is closed: a killed process leaves
    nothing locked, and a child that inherits the descriptor holds the lock as long as it or any of
    its children lives. Unlike a process id in a file, it cannot refer to the wrong process, and it
    works between containers that share the folder.

    Parameters
    ----------
    path
        The file; created if missing, never removed.
    owner
        User and group id that the file must belong to, for root working for another account.
    within
        The descriptor of the folder that contains the file; None to open it by its path.
    mode
        The file's permissions on creation, before the umask.
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
        """The open descriptor, for a child to inherit and keep the lock."""
        if self._descriptor is None:
            raise RuntimeError(f"the lock {self.path} is not held")
        return self._descriptor

    def try_acquire(self) -> bool:
        """Take the lock if it is free; return whether it was taken."""
        if self._descriptor is not None:
            raise RuntimeError(f"the lock {self.path} is already held")
        descriptor = above_standard(self._open())
        try:
            check_own_file(descriptor, self.path, self._owner)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:  # an interrupt too
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
            If the lock was not released in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = 0.001
        # Poll, because a blocking flock has no timeout.
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
        """Return whether any process, this one included, holds the lock."""
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
        # A link in a folder of the server's account must not redirect root.
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
    # A forked copy of this process would hold the lock as long as it lives. Programs started with
    # an inherited descriptor, to hand the lock on, do not run this.
    for lock in list(_held):
        lock.release()


os.register_at_fork(after_in_child=_release_in_child)
