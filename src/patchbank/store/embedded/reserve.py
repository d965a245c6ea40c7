"""Room that is kept on the disk, so that a server that filled it can start again.

PostgreSQL ends when its log cannot grow, and does not start without room for a segment of it. So a
file of some segments lies beside the data. It goes when a start fails for want of room, and comes
back when there is room again.
"""

from __future__ import annotations

import contextlib
import os

import psycopg

from patchbank.store.embedded.room import SEGMENT_BYTES, free_bytes
from patchbank.store.embedded.site import Site

RESERVE = "reserve"
# Recovery ends with a checkpoint, which may need a segment, and tables may need some room. Tidying
# up writes into another segment: on a small disk it has to do with what is left of the first.
_SIZES = (2 * SEGMENT_BYTES, SEGMENT_BYTES * 5 // 4)
LEAST_RESERVE_BYTES = _SIZES[-1]
# Not the last bit of room: the server writes some small files.
_MARGIN_BYTES = 2 * 2**20

_TIDYING_TIMEOUT = "60s"


def lay_aside(site: Site) -> None:
    """Take the reserve's room from the disk unless it is taken, or would leave none."""
    found = site.folder.look(RESERVE)
    taken = 0 if found is None else found.st_size
    room = free_bytes(site.folder.descriptor) + taken - _MARGIN_BYTES
    size = next((size for size in _SIZES if size <= room), 0)
    if size <= taken:
        return
    site.folder.remove(RESERVE)
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = os.open(RESERVE, flags, 0o600, dir_fd=site.folder.descriptor)
        with os.fdopen(descriptor, "wb") as file:
            if site.account.owner is not None:
                os.fchown(descriptor, *site.account.owner)
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(descriptor, 0, size)
            else:
                file.write(bytes(size))
    except OSError:
        # Others take from the same disk: the server works without.
        site.folder.remove(RESERVE)


def release(site: Site) -> bool:
    """Give the room back to the disk; return whether there was any."""
    there = site.folder.look(RESERVE) is not None
    site.folder.remove(RESERVE)
    return there


def tidy_up(conninfo: str) -> None:
    """Give the disk back what failed transactions wrote, and the log what it needs no more.

    After a crash the server no longer knows that there is something to be cleared away.
    """
    # Not every bit of room comes back; whether it was enough shows when it is needed.
    with (
        contextlib.suppress(psycopg.Error),
        psycopg.connect(conninfo, autocommit=True, application_name="patchbank") as connection,
    ):
        connection.execute(f"set statement_timeout = '{_TIDYING_TIMEOUT}'".encode())
        connection.execute("vacuum (skip_locked)")
        connection.execute("checkpoint")
