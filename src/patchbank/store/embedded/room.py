"""Space on the embedded server's disk: what is free, and what its log may still take."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

SEGMENT_BYTES = 16 * 2**20
# With enough space, a large save need not wait for checkpoints; PostgreSQL's minimum is 2 segments.
_MOST_LOG_BYTES = 2 * 2**30
_LEAST_LOG_BYTES = 2 * SEGMENT_BYTES
LIMITS_OF_SHARED_MEMORY = (
    "see `ipcs -m` for its users; kernel.shmmni, kernel.shmall and a container's memory limit "
    "bound it"
)
# PostgreSQL's default for segments kept for reuse.
_KEPT_LOG_BYTES = 5 * SEGMENT_BYTES
# The log may take an eighth of the space.
_PARTS = 8


@dataclass(frozen=True)
class Room:
    """Space on the disk of the embedded server.

    Attributes
    ----------
    free
        Bytes that the server's account can write there.
    reserve
        How many of these the server's log needs: data may take ``free - reserve``.
    """

    free: int
    reserve: int


def room_of(folder: Path, log: Path) -> Room:
    """Return the space on the disk of `folder`, which need not exist, for a server with `log`.

    Raises
    ------
    OSError
        If the disk cannot be queried.
    """
    while not folder.exists():
        folder = folder.parent
    free = free_bytes(folder)
    written = log_bytes(log)
    # The limit is soft: the log may exceed it by a segment.
    return Room(free, max(log_limit(free, written) - written, 0) + SEGMENT_BYTES)


def free_bytes(folder: Path | int) -> int:
    """Return the bytes that an ordinary account can write to a folder's disk."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize


def log_settings(free: int, written: int) -> dict[str, str]:
    """Return the server's settings for a log of `written` bytes on a disk with `free` bytes."""
    limit = log_limit(free, written)
    kept = min(limit, _KEPT_LOG_BYTES)
    return {"max_wal_size": f"{limit >> 20}MB", "min_wal_size": f"{kept >> 20}MB"}


def complains_of_disk(text: str) -> bool:
    """Return whether a server's message is about a full disk.

    The same message is used for shared memory.
    """
    return any(
        ("No space left on device" in line and not complains_of_memory(line))
        or "Disk quota exceeded" in line
        for line in text.splitlines()
    )


def complains_of_memory(text: str) -> bool:
    """Return whether a server's message is about a lack of shared memory."""
    return re.search(r"could not (create|get|resize|map|attach).*shared memory", text) is not None


def log_limit(free: int, written: int) -> int:
    """Return how large a log of `written` bytes may become on a disk with `free` bytes."""
    segments = (free + written) // _PARTS // SEGMENT_BYTES
    return min(max(segments * SEGMENT_BYTES, _LEAST_LOG_BYTES), _MOST_LOG_BYTES)


def log_bytes(log: Path) -> int:
    """Return the bytes of the server's write-ahead log (``pg_wal``), 0 before it is created."""
    try:
        with os.scandir(log) as entries:
            return sum(
                SEGMENT_BYTES for entry in entries if entry.name.strip("0123456789ABCDEF") == ""
            )
    except FileNotFoundError:
        return 0
