"""The connections to a database: lent in transactions, made anew where they are lost."""

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
    """What `patchbank doctor` shows of an open database.

    Attributes
    ----------
    url
        Where it is, without a password; ``"embedded"`` for the embedded server.
    embedded
        Whether it is the embedded server.
    server_version, pgvector_version
        As they name themselves.
    size_bytes
        The database's size on the server's disk.
    pid
        Process id of the embedded server, else None.
    started_at, uptime_seconds
        Since when the server runs.
    standby, read_only
        Whether it only follows another server; whether nothing can be written, for that or another
        reason.
    may_record, may_learn
        Whether this role may record inspections, and save banks.
    pooled
        Whether it is reached through a pooler such as PgBouncer.
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
    """The sessions of an open database, safe for threads; what is stored there uses them."""

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
        # One connection stays: the embedded server sees that it is still wanted.
        self._pool = Pool(self._reconnect, first, size=max_connections)

    @property
    def search_path(self) -> str:
        """Where names are looked up: our schema, and that of pgvector's operators."""
        return search_path(self._prepared.extension_schema)

    @property
    def extension_schema(self) -> str:
        """The schema of pgvector's types and operators."""
        return self._prepared.extension_schema

    @property
    def pooled(self) -> bool:
        """Whether a pooler is in between, so that no two statements need meet the same session."""
        return self._prepared.pooled

    @contextlib.contextmanager
    def connection(self, *, long: bool = False, snapshot: bool = False) -> Iterator[Connection]:
        """Lend a connection in a transaction: committed at the end, rolled back on an error.

        Whatever is set is set for this transaction alone: a pooler gives the session to others.

        Parameters
        ----------
        long
            For what may take its time: no limit of the server's on statements counts, and ours
            only where the server does not answer others either.
        snapshot
            Several statements that see one state of the database, and change nothing.

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
        """Lend a connection on which every statement is a transaction of its own.

        For a single statement that takes one round trip to the server instead of three. It names
        the schema of what it uses: the search path is the server's own. For `long` see
        `connection`; the server's limits count.

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
        """Yield changes of banks as they are committed, for `timeout` seconds (None: for ever).

        It listens on a connection of its own, and it listens from the first ``next`` on.

        Raises
        ------
        DatabaseError
            Where a pooler is in between, which passes no notices on.
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
            # Nothing happens for hours, and that is no silence.
            connection.limit = None
            connection.execute(f"listen {CHANNEL}".encode())
            for notice in connection.notifies(timeout=timeout):
                change = json.loads(notice.payload)
                yield BankNotice(change["category"], change["version"])

    def status(self) -> DatabaseStatus:
        """Return what there is to know about the server."""
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
        """Raise before the work, rather than after it, where no bank can be saved.

        Raises
        ------
        DatabaseReadOnlyError
            When nothing can be written, as on a standby.
        DatabaseError
            When this role may not.
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
        """Raise where the embedded server's disk has not `needed` bytes for what is to be stored.

        The disk of another server cannot be seen. What fits into a segment of the log is left to
        the server to try: it may have such a segment to use again.

        Raises
        ------
        DiskFullError
            When there are fewer, or what is left would not do for the server's log.
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
        """Return what `remove` does, which may not fail for want of the room that it gives back.

        Where the embedded server's disk is full, it has the reserve's room for the log of it.

        Raises
        ------
        DiskFullError
            When that is not enough either.
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
        """Give all connections back; the embedded server stays up for a while."""
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
        """Turn errors of the driver into ours, and see to it that a full disk can be written to."""
        try:
            with explained(self._place):
                yield
        except DiskFullError:
            if self._place.server is not None:
                _log.warning("%s: the disk is full; using its reserve to free space", self._place)
                # Should it not work either, that the disk is full is still what is to be said.
                with contextlib.suppress(DatabaseError, DiskFullError, psycopg.Error):
                    self._place.server.make_room()
            raise

    def _reconnect(self) -> LimitedConnection:
        patient = not getattr(self._hurry, "set", False)
        return connect(self._place, self._limits, patient=patient)

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """Let this thread not wait for a server that is away."""
        self._hurry.set = True
        try:
            yield
        finally:
            self._hurry.set = False


def _size(count: int) -> str:
    return f"{count / 1e9:,.1f} GB" if count >= 1e9 else f"{count / 1e6:,.1f} MB"
