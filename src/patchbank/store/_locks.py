"""Locks between processes that die with their holder, however it dies."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path
from types import TracebackType

from patchbank.descriptors import above_standard


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
    """

    def __init__(self, path: Path, *, owner: tuple[int, int] | None = None) -> None:
        self.path = path
        self._owner = owner
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
        # A link planted in a folder of the server's account must not lead root elsewhere.
        descriptor = above_standard(
            os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        )
        try:
            if self._owner is not None and os.fstat(descriptor).st_uid != self._owner[0]:
                os.fchown(descriptor, *self._owner)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
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
        if not self.path.exists():
            return False
        if self.try_acquire():
            self.release()
            return False
        return True

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
