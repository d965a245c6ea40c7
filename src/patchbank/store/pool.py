"""A pool of connections that do not wait forever for an answer."""

from __future__ import annotations

import contextlib
import logging
import select
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import psycopg
from psycopg import capabilities
from psycopg.pq import TransactionStatus

from patchbank.errors import DatabaseError

_log = logging.getLogger(__name__)

# Connections beyond the first are closed after this long without use.
_IDLE_SECONDS = 600.0
_CANCEL_SECONDS = 1.0

T = TypeVar("T")


class LimitedConnection(psycopg.Connection[tuple[Any, ...]]):
    """A connection that is closed when the server is silent for too long.

    The server's own time limits do not help when the server or the network is down.

    Attributes
    ----------
    limit
        Seconds of silence after which the connection counts as lost; None for no limit.
    lives
        Called at the limit: returns whether to wait as long again.
    """

    limit: float | None = None
    lives: Callable[[], bool] | None = None

    def wait(self, gen: Generator[Any, Any, T], *args: Any, **kwargs: Any) -> T:
        """Run one of the driver's generators within the limit."""
        return super().wait(self._within_limit(gen), *args, **kwargs)

    def _within_limit(self, generator: Generator[Any, Any, T]) -> Generator[Any, Any, T]:
        try:
            state = next(generator)
            heard = time.monotonic()
            while True:
                ready = yield state
                now = time.monotonic()
                if ready:
                    heard = now
                elif self.limit is not None and now - heard > self.limit:
                    if self.lives is None or not self.lives():
                        raise self._lost()
                    heard = time.monotonic()
                state = generator.send(ready)
        except StopIteration as end:
            result: T = end.value
            return result

    def _lost(self) -> psycopg.OperationalError:
        """Close the connection and return the error to raise."""
        if capabilities.has_cancel_safe():
            # A server that is merely slow would continue for nobody.
            with contextlib.suppress(psycopg.Error):
                self.cancel_safe(timeout=_CANCEL_SECONDS)
        self.close()
        return psycopg.OperationalError(f"the server did not answer within {self.limit:g} s")


class Pool:
    """The connections of one process, in autocommit mode unless a transaction was begun.

    Parameters
    ----------
    connect
        Opens a connection; its errors are passed on.
    first
        An open connection.
    size
        The maximum number of connections.
    """

    def __init__(
        self,
        connect: Callable[[], LimitedConnection],
        first: LimitedConnection,
        *,
        size: int,
    ) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(size)
        # The most recently used are at the end, and lent first.
        self._free = [(time.monotonic(), first)]
        self._closed = False

    @contextlib.contextmanager
    def lend(self, begin: bytes | None = None) -> Iterator[LimitedConnection]:
        """Yield a connection; roll back what is left uncommitted.

        Parameters
        ----------
        begin
            A statement to execute first, and again on a new connection if one was lost.
        """
        with self._room:
            connection = self._take(begin)
            try:
                yield connection
            finally:
                self._give_back(connection)

    def close(self) -> None:
        """Close all connections: those in use when they are returned."""
        with self._lock:
            self._closed = True
        self._empty()

    def _take(self, begin: bytes | None) -> LimitedConnection:
        if self._closed:
            raise PoolClosedError
        with self._lock:
            connection = self._free.pop()[1] if self._free else None
        if connection is not None:
            try:
                if _is_there(connection, begin):
                    return connection
            except BaseException:  # an interrupt too
                connection.close()
                raise
            connection.close()
            _log.info("the connection to the database was lost; reconnecting")
            # The others were most likely lost too.
            self._empty()
        connection = self._connect()
        try:
            if begin is not None:
                connection.execute(begin)
        except BaseException:  # an interrupt too
            connection.close()
            raise
        return connection

    def _give_back(self, connection: LimitedConnection) -> None:
        if connection.info.transaction_status in (
            TransactionStatus.INTRANS, TransactionStatus.INERROR
        ):  # fmt: skip
            with contextlib.suppress(psycopg.Error):
                connection.rollback()
        if connection.closed:
            self._empty()
        elif connection.info.transaction_status != TransactionStatus.IDLE:
            # Interrupted during a query: the next one would receive its answer.
            connection.close()
        else:
            self._keep(connection)

    def _keep(self, connection: LimitedConnection) -> None:
        now = time.monotonic()
        with self._lock:
            if self._closed:
                connection.close()
                return
            self._free.append((now, connection))
            while len(self._free) > 1 and now - self._free[0][0] > _IDLE_SECONDS:
                self._free.pop(0)[1].close()

    def _empty(self) -> None:
        with self._lock:
            free, self._free = self._free, []
        for _, connection in free:
            connection.close()


class PoolClosedError(DatabaseError):
    """The database was closed; open it again."""


def _is_there(connection: LimitedConnection, begin: bytes | None) -> bool:
    """Return whether the connection still works, after executing `begin`.

    Without `begin`, query only if there is something to read: a closed connection, or a notice.
    """
    waiting = select.poll()
    waiting.register(connection.fileno(), select.POLLIN)
    try:
        if begin is not None:
            connection.execute(begin)
        elif waiting.poll(0):
            connection.execute(b"select 1")
    except psycopg.OperationalError:
        # If the server is down, the next connection will report it.
        return False
    return True
