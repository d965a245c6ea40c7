"""Reserved disk space, so that a server that filled the disk can start again.

PostgreSQL stops when its log cannot grow, and does not start without space for a log segment. So a
file of some segments is kept beside the data. It is removed when a start fails for lack of space,
and recreated when there is space again.
"""

from __future__ import annotations

import contextlib
import os

import psycopg

from patchbank.store.embedded.room import SEGMENT_BYTES, free_bytes
from patchbank.store.embedded.site import Site

RESERVE = "reserve"
# Recovery ends with a checkpoint, which may need a segment, and tables may need some space. Tidying
# up writes to another segment; on a small disk, the rest of the first must do.
_SIZES = (2 * SEGMENT_BYTES, SEGMENT_BYTES * 5 // 4)
LEAST_RESERVE_BYTES = _SIZES[-1]
# Left free, because the server writes some small files.
_MARGIN_BYTES = 2 * 2**20

_TIDYING_TIMEOUT = "60s"


def lay_aside(site: Site) -> None:
    """Create the reserve unless it exists or would fill the disk."""
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
        # Others filled the disk: the server works without the reserve.
        site.folder.remove(RESERVE)


def release(site: Site) -> bool:
    """Remove the reserve; return whether there was one."""
    existed = site.folder.look(RESERVE) is not None
    site.folder.remove(RESERVE)
    return existed


def tidy_up(connection: psycopg.Connection) -> bool:
    """Free the space of failed transactions and of the log; return whether the server stayed up.

    After a crash, the server no longer knows that there is something to clean up.

    Parameters
    ----------
    connection
        In autocommit mode; it is closed.
    """
    with contextlib.closing(connection):
        try:
            connection.execute(f"set statement_timeout = '{_TIDYING_TIMEOUT}'".encode())
            # The log first: else vacuum fills the reserve with more of it, and the server cannot
            # start again.
            connection.execute("checkpoint")
            connection.execute("vacuum (skip_locked)")
            connection.execute("checkpoint")
        except psycopg.Error:
            # Whether enough was freed shows when the space is needed.
            return not connection.broken
    return True
