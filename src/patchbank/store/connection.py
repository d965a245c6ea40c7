"""The open database: its connections, and the doors to what is stored in it."""

from __future__ import annotations

import contextlib
import json
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from patchbank.descriptors import fill_standard_descriptors
from patchbank.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    DiskFullError,
    EmbeddedServerError,
)
from patchbank.store import queries
from patchbank.store.banks import Banks
from patchbank.store.categories import Categories
from patchbank.store.defects import Defects
from patchbank.store.embedded import EmbeddedServer
from patchbank.store.failures import Place, explain_connecting, explained, first_line
from patchbank.store.images import Images
from patchbank.store.indexes import Indexes
from patchbank.store.inspections import Inspections
from patchbank.store.migrate import Connection, prepare, set_search_path
from patchbank.store.notices import CHANNEL
from patchbank.store.patches import Patches

# A server that is starting up or short of connections gets this long.
_PATIENCE_SECONDS = 10.0
_CONNECT_SECONDS = 10
# Whatever the database's encoding is, it then understands all that it can store.
_SESSION: dict[str, Any] = {"application_name": "patchbank", "client_encoding": "utf8"}


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
    """

    url: str
    embedded: bool
    server_version: str
    pgvector_version: str
    size_bytes: int
    pid: int | None
    started_at: datetime
    uptime_seconds: float


@dataclass(frozen=True)
class BankChange:
    """A category's bank was replaced, or (version None) the category forgotten."""

    category: str
    version: int | None


class Database:
    """An open database; made by `open_database`, used as a context manager, safe for threads."""

    def __init__(self, place: Place, url: str | None, path: str, *, max_connections: int) -> None:
        self._place = place
        self._url = url
        self._path = path
        self._pool: ConnectionPool[Connection] = ConnectionPool(
            url or "",
            connection_class=_embedded_connection(place.server) if place.server else Connection,
            kwargs=_SESSION,
            configure=self._configure,
            check=_prepare_to_lend,
            # One connection stays: the embedded server sees that it is still wanted.
            min_size=1,
            max_size=max_connections,
            timeout=_CONNECT_SECONDS,
            reconnect_timeout=_PATIENCE_SECONDS,
            open=False,
        )
        self._pool.open()

    @property
    def search_path(self) -> str:
        """Where names are looked up: our schema, and that of pgvector's operators."""
        return self._path

    @cached_property
    def categories(self) -> Categories:
        """What is inspected."""
        return Categories(self)

    @cached_property
    def banks(self) -> Banks:
        """The memory banks."""
        return Banks(self)

    @cached_property
    def images(self) -> Images:
        """The reference images."""
        return Images(self)

    @cached_property
    def patches(self) -> Patches:
        """The banks' single entries."""
        return Patches(self)

    @cached_property
    def defects(self) -> Defects:
        """What anomalies look like."""
        return Defects(self)

    @cached_property
    def indexes(self) -> Indexes:
        """HNSW indexes, where they were asked for."""
        return Indexes(self)

    @cached_property
    def inspections(self) -> Inspections:
        """What was judged."""
        return Inspections(self)

    @contextlib.contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection: committed at the end, rolled back when an error passes.

        Raises
        ------
        DatabaseError
            For whatever the driver raises inside; DiskFullError when the disk is full.
        """
        try:
            with explained(self._place), self._pool.connection() as connection:
                yield connection
        except DiskFullError:
            if self._place.server is not None:
                # Should it not work either, that the disk is full is still what is to be said.
                with contextlib.suppress(DatabaseError, DiskFullError, psycopg.Error):
                    self._place.server.make_room()
            raise

    @contextlib.contextmanager
    def statement(self) -> Iterator[Connection]:
        """Lend a connection on which every statement is a transaction of its own.

        For a single statement that takes one round trip to the server instead of three.

        Raises
        ------
        DatabaseError
            For whatever the driver raises inside; DiskFullError when the disk is full.
        """
        with self.connection() as connection:
            # Undone when the connection is lent the next time: here, an interruption could prevent
            # it, or be replaced by the error of a connection that is still at work.
            connection.autocommit = True
            yield connection

    def changes(self, *, timeout: float | None = None) -> Iterator[BankChange]:
        """Yield changes of banks as they are committed, for `timeout` seconds (None: for ever).

        It listens on a connection of its own, and it listens from the first ``next`` on.
        """
        with (
            explained(self._place),
            _connect(self._place, self._url, autocommit=True) as connection,
        ):
            connection.execute(f"listen {CHANNEL}".encode())
            for notice in connection.notifies(timeout=timeout):
                change = json.loads(notice.payload)
                yield BankChange(change["category"], change["version"])

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
        )

    def close(self) -> None:
        """Give all connections back; the embedded server stays up for a while."""
        self._pool.close()

    def __enter__(self) -> Database:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _configure(self, connection: Connection) -> None:
        connection.execute(set_search_path(self._path))
        connection.commit()


def open_database(
    url: str | None, home: Path, *, idle_minutes: float = 10.0, max_connections: int = 8
) -> Database:
    """Open the database, started and brought to the current schema if need be.

    Parameters
    ----------
    url
        A PostgreSQL of one's own, as URL or ``key=value`` string; None for the embedded server.
    home
        The home folder, where the embedded server keeps its data.
    idle_minutes
        Minutes without a client after which the embedded server stops by itself.
    max_connections
        The most connections this process opens.

    Raises
    ------
    ParameterError
        When the URL is none.
    DatabaseUnreachableError
        When no connection can be made.
    EmbeddedServerError
        When the embedded server cannot be started or belongs to another user.
    PgvectorMissingError, DatabaseTooNewError, DatabaseError, DiskFullError
        When the database cannot be used.
    """
    # A connection with such a number would be sent whatever a library prints.
    fill_standard_descriptors()
    server = EmbeddedServer(home, idle_minutes=idle_minutes) if url is None else None
    place = Place(url, server)
    with contextlib.closing(_connect(place, url)) as connection, explained(place):
        path = prepare(connection, place)
        database = Database(place, url, path, max_connections=max_connections)
        try:
            # Only then is the first connection closed: the embedded server must not look idle.
            database._pool.wait(timeout=_PATIENCE_SECONDS)
        except PoolTimeout as error:
            database.close()
            raise DatabaseUnreachableError(
                f"{place} gave one connection but not a second; it may be out of connections"
            ) from error
        except BaseException:
            database.close()
            raise
    return database


def _prepare_to_lend(connection: Connection) -> None:
    """Make an ordinary connection of one that the pool kept; raise if its server has gone.

    The server is not asked every time. When it ends it closes the connection, which can then be
    read from; so it can after other news, hence the question.
    """
    if connection.autocommit:
        connection.autocommit = False
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    if waiting.poll(0):
        ConnectionPool.check_connection(connection)


def _connect(place: Place, url: str | None, *, autocommit: bool = False) -> Connection:
    """Connect, waiting a little for a server that is just starting."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if place.server is not None:
                return place.server.connect(
                    lambda conninfo: psycopg.connect(conninfo, autocommit=autocommit, **_SESSION)
                )
            given = psycopg.conninfo.conninfo_to_dict(url or "")
            timeout = given.get("connect_timeout", _CONNECT_SECONDS)
            return psycopg.connect(
                url or "",
                autocommit=autocommit,
                **_SESSION,
                connect_timeout=timeout,
            )
        except psycopg.OperationalError as error:
            starting = "the database system is" in str(error)
            if not starting or time.monotonic() > deadline:
                raise explain_connecting(error, place) from error
        time.sleep(0.1)


def _embedded_connection(server: EmbeddedServer) -> type[Connection]:
    """Return a class whose `connect` starts the embedded server when it is down."""

    class EmbeddedConnection(psycopg.Connection[tuple[Any, ...]]):
        @classmethod
        def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
            connect = super().connect
            try:
                return server.connect(lambda address: connect(address, **kwargs))
            except EmbeddedServerError as error:
                # The pool tries again after the driver's errors only.
                raise psycopg.OperationalError(first_line(error)) from error

    return EmbeddedConnection
