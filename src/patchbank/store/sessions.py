"""Connections to a database, lent in transactions and reopened when lost."""

from __future__ import annotations

import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import TracebackType
from typing import Self, TypeVar

import psycopg

from patchbank.errors import DatabaseError, DatabaseReadOnlyError, DiskFullError
from patchbank.forks import Opener
from patchbank.store import queries
from patchbank.store.connecting import Limits, connect, lives
from patchbank.store.embedded.room import SEGMENT_BYTES
from patchbank.store.failures import Place, explained
from patchbank.store.migrate import Connection, Prepared, lift_limits, search_path
from patchbank.store.notices import CHANNEL
from patchbank.store.pool import LimitedConnection, Pool

_log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True)
class DatabaseStatus:
    """The status of an open database, for `patchbank doctor`.

    Attributes
    ----------
    url
        Its address without a password; ``"embedded"`` for the embedded server.
    embedded
        Whether it is the embedded server.
    server_version, pgvector_version
        As reported by the server.
    size_bytes
        The database's size on the server's disk.
    pid
        Process id of the embedded server, else None.
    started_at, uptime_seconds
        Start time of the server, and seconds since.
    standby, read_only
        Whether the server is a standby; whether nothing can be written for any reason.
    may_record, may_learn
        Whether this role may record inspections, and save banks.
    pooled
        Whether it is behind a pooler such as PgBouncer.
    """

    url: str
    embedded: bool
    server_version: str
    pgvector_version: str
    size_bytes: int
    pid: int | None
    started_at: datetime
    uptime_seconds: float
    standby: bool
    read_only: bool
    may_record: bool
    may_learn: bool
    pooled: bool


@dataclass(frozen=True)
class BankNotice:
    """A category's bank was replaced, or (version None) the category removed."""

    category: str
    version: int | None


class Sessions:
    """The sessions of an open database; thread-safe."""

    def __init__(
        self,
        place: Place,
        first: LimitedConnection,
        prepared: Prepared,
        limits: Limits,
        *,
        max_connections: int,
    ) -> None:
        self._opener = Opener("the database")
        self._place = place
        self._prepared = prepared
        self._limits = limits
        self._hurry = threading.local()
        # One connection stays open, so that the embedded server does not stop as idle.
        self._pool = Pool(self._reconnect, first, size=max_connections)

    @property
    def search_path(self) -> str:
        """The search path: our schema, and that of pgvector's operators."""
        return search_path(self._prepared.extension_schema)

    @property
    def extension_schema(self) -> str:
        """The schema of pgvector's types and operators."""
        return self._prepared.extension_schema

    @property
    def pooled(self) -> bool:
        """Whether a pooler is in between, so that statements may run in different sessions."""
        return self._prepared.pooled

    @contextlib.contextmanager
    def connection(self, *, long: bool = False, snapshot: bool = False) -> Iterator[Connection]:
        """Yield a connection in a transaction: committed at the end, rolled back on an error.

        Settings apply to this transaction only, because a pooler shares the session.

        Parameters
        ----------
        long
            For long work: the server's time limits are lifted, and ours apply only if the server
            does not accept new connections either.
        snapshot
            All statements see the same state of the database and are read-only.

        Raises
        ------
        DatabaseError
            For whatever the driver raises inside; DiskFullError when the disk is full.
        """
        self._opener.check()
        begin = b"begin isolation level repeatable read, read only" if snapshot else b"begin"
        begin += b"; set local search_path to " + self.search_path.encode()
        with self._explained(), self._pool.lend(begin) as connection:
            connection.lives = partial(lives, self._place, self._limits) if long else None
            if long:
                lift_limits(connection)
            yield connection
            connection.commit()

    @contextlib.contextmanager
    def statement(self, *, long: bool = False) -> Iterator[Connection]:
        """Yield a connection in autocommit mode.

        For single statements, which take one round trip to the server instead of three. They must
        name the schema, because the search path is not set. For `long` see `connection`; the
        server's time limits still apply.

        Raises
        ------
        DatabaseError
            For whatever the driver raises inside; DiskFullError when the disk is full.
        """
        self._opener.check()
        with self._explained(), self._pool.lend() as connection:
            connection.lives = partial(lives, self._place, self._limits) if long else None
            yield connection

    def changes(self, *, timeout: float | None = None) -> Iterator[BankNotice]:
        """Yield changes of banks as they are committed, for `timeout` seconds (None: forever).

        It listens on a separate connection from the first ``next`` on.

        Raises
        ------
        DatabaseError
            If a pooler is in between, which does not forward notifications.
        """
        self._opener.check()
        if self.pooled:
            raise DatabaseError(
                f"{self._place} is behind a pooler, which does not forward notifications; "
                "connect to the server directly to follow changes"
            )
        with (
            explained(self._place),
            contextlib.closing(connect(self._place, self._limits)) as connection,
        ):
            # Hours without a notification are normal.
            connection.limit = None
            connection.execute(f"listen {CHANNEL}".encode())
            for notice in connection.notifies(timeout=timeout):
                change = json.loads(notice.payload)
                yield BankNotice(change["category"], change["version"])

    def status(self) -> DatabaseStatus:
        """Return the status of the database."""
        with self.connection() as connection:
            row = connection.execute(queries.load("database")["status"]).fetchone()
        assert row is not None
        server = self._place.server
        return DatabaseStatus(
            url=self._place.url,
            embedded=server is not None,
            server_version=row[0],
            pgvector_version=row[1],
            size_bytes=row[2],
            pid=server.status().pid if server else None,
            started_at=row[3],
            uptime_seconds=row[4],
            standby=row[5],
            read_only=row[6],
            may_record=row[7],
            may_learn=row[8],
            pooled=self.pooled,
        )

    def check_can_learn(self) -> None:
        """Raise before the work if no bank can be saved.

        Raises
        ------
        DatabaseReadOnlyError
            If nothing can be written, as on a standby.
        DatabaseError
            If this role may not save banks.
        """
        status = self.status()
        if status.read_only:
            kind = "a standby" if status.standby else "read-only"
            raise DatabaseReadOnlyError(
                f"{self._place} is {kind}: banks cannot be saved there; use the primary server"
            )
        if not status.may_learn:
            raise DatabaseError(
                f"{self._place}: this role may inspect but not save banks; use the role that "
                "owns the tables"
            )

    def check_room(self, needed: int) -> None:
        """Raise if the embedded server's disk has less than `needed` bytes free.

        The disk of an external server cannot be checked. Data that fits into one log segment is
        not checked, because the server may have a segment to reuse.

        Raises
        ------
        DiskFullError
            If there is not enough space for the data and the server's log.
        """
        server = self._place.server
        if server is None:
            return
        room = server.room()
        usable = max(0, room.free - room.reserve)
        if needed > max(usable, SEGMENT_BYTES):
            raise DiskFullError(
                f"the bank needs about {_size(needed)} on the disk of {server.home}, where "
                f"{_size(usable)} of {_size(room.free)} free can be used (the rest is for the "
                "database's log); free some space there, set PATCHBANK_HOME to another disk, or "
                "fit fewer images or use a smaller coreset ratio"
            )

    def removing(self, remove: Callable[[], T]) -> T:
        """Return the result of `remove`, which must work on a full disk because it frees space.

        If the embedded server's disk is full, retry with the space of the reserve.

        Raises
        ------
        DiskFullError
            If that is not enough either.
        """
        try:
            return remove()
        except DiskFullError:
            server = self._place.server
            if server is None:
                raise
        with self._explained(), server.reserve_lent():
            return remove()

    def close(self) -> None:
        """Close all connections; the embedded server stays up for a while."""
        if self._opener.is_this_process:
            self._pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the driver's errors into ours, and free space on a full disk."""
        try:
            with explained(self._place):
                yield
        except DiskFullError:
            if self._place.server is not None:
                _log.warning("%s: the disk is full; using its reserve to free space", self._place)
                # If that fails too, the full disk is still the error to report.
                with contextlib.suppress(DatabaseError, DiskFullError, psycopg.Error):
                    self._place.server.make_room()
            raise

    def _reconnect(self) -> LimitedConnection:
        patient = not getattr(self._hurry, "set", False)
        return connect(self._place, self._limits, patient=patient)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Make this thread not wait for a server that is down."""
        self._hurry.set = True
        try:
            yield
        finally:
            self._hurry.set = False


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
