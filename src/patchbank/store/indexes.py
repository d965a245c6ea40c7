"""HNSW indexes of banks, built and removed while others read and write."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors

from patchbank.errors import DatabaseError, ParameterError, PgvectorMissingError
from patchbank.progress import Progress, silent
from patchbank.store import queries
from patchbank.store.bank_key import BankKey
from patchbank.store.hnsw_index import (
    MAX_DIMENSIONS,
    HnswIndex,
    Indexed,
    Metric,
    check_dimensions,
)
from patchbank.store.migrate import limits_of, quoted

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

_log = logging.getLogger(__name__)

# Older versions can lose rows or read beyond the end of an index.
MINIMUM_PGVECTOR = (0, 8, 4)
_COLUMNS: dict[Indexed, tuple[str, str]] = {
    "images": ("reference", "embedding"),
    "patches": ("patch", "feature"),
}

_POLL_SECONDS = 0.2
# A fit does not wait longer for cleanup.
_TIDYING_TIMEOUT = "2s"


@dataclass(frozen=True)
class StoredIndex:
    """A stored index; it is unfinished if not valid."""

    index: HnswIndex
    valid: bool
    size_bytes: int


class Indexes:
    """The HNSW indexes of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("indexes")

    def of_category(self, category_id: int) -> list[StoredIndex]:
        """Return all indexes of a category, of any generation, including unfinished ones."""
        with self._sessions.statement() as connection:
            return self._list(connection, category_id)

    def find(self, key: BankKey, on: Indexed, metric: Metric) -> HnswIndex | None:
        """Return the finished index of a bank for a metric, if there is one."""
        for stored in self.of_category(key.category_id):
            index = stored.index
            wanted = (key.generation, on, metric)
            if stored.valid and (index.generation, index.on, index.metric) == wanted:
                return index
        return None

    def build(self, index: HnswIndex, rows: int, *, progress: Progress = silent) -> None:
        """Build an index while others read and write; replace one of another type.

        Through a pooler, saving a bank waits until the index is built, because concurrent builds
        need their own session. An interrupted build leaves nothing behind; unfinished indexes of
        killed processes are removed.

        Parameters
        ----------
        rows
            Number of rows, to choose the memory and to report progress.

        Raises
        ------
        ParameterError
            If the vectors are too long for the type.
        DatabaseError
            If another process is building an index of this category.
        PgvectorMissingError
            If the server's pgvector is older than 0.8.4.
        """
        check_dimensions(index.type, index.dimensions)
        memory = _memory_megabytes(index, rows)
        with self._alone(index.category_id, maintenance_work_mem=f"{memory}MB") as connection:
            check_pgvector(connection)
            for stored in self._list(connection, index.category_id):
                other = stored.index
                same = (other.on, other.metric) == (index.on, index.metric)
                if not stored.valid or (same and other.generation == index.generation):
                    self._drop(connection, other)
            self._remember(connection, index)
            self._create(connection, index, rows, progress)
        _log.info("built the HNSW index %s on %d %s", index.name, rows, index.on)

    def record(self, index: HnswIndex) -> None:
        """Store the measured recall of the index, if the index still exists."""
        with self._sessions.statement() as connection:
            connection.execute(
                self._queries["record"],
                {
                    "category_id": index.category_id,
                    "name": index.name,
                    "recall": index.recall,
                },
            )

    def drop(self, category_id: int, on: Indexed | None = None) -> list[HnswIndex]:
        """Remove a category's indexes and return them."""
        return self._sessions.removing(lambda: self._drop_of(category_id, on))

    def _drop_of(self, category_id: int, on: Indexed | None) -> list[HnswIndex]:
        with self._alone(category_id) as connection:
            found = [
                stored.index
                for stored in self._list(connection, category_id)
                if on in (None, stored.index.on)
            ]
            for index in found:
                self._drop(connection, index)
                _log.info("removed the HNSW index %s", index.name)
        return found

    def drop_retired(self, category_id: int, active: int | None) -> None:
        """Remove the indexes of other generations than the active one, if that is quick.

        Indexes in use are left for the next time.
        """
        # The new bank is already saved: an error here must not look like a failed save.
        with contextlib.suppress(DatabaseError):
            retired = [
                stored.index
                for stored in self.of_category(category_id)
                if stored.index.generation != active
            ]
            if retired:
                with self._outside(lock_timeout=_TIDYING_TIMEOUT) as connection:
                    for index in retired:
                        self._drop(connection, index)

    def _list(self, connection: Connection, category_id: int) -> list[StoredIndex]:
        rows = connection.execute(self._queries["list"], {"category_id": category_id}).fetchall()
        return [StoredIndex(HnswIndex(*row[:-2]), *row[-2:]) for row in rows]

    def _remember(self, connection: Connection, index: HnswIndex) -> None:
        """Store the description of the index before it is built, in case the process is killed."""
        connection.execute(self._queries["remember"], {**asdict(index), "name": index.name})

    def _drop(self, connection: Connection, index: HnswIndex) -> None:
        connection.execute(
            queries.compose(self._queries["drop"], name=index.name, concurrently=self._concurrently)
        )
        connection.execute(
            self._queries["remove"], {"category_id": index.category_id, "name": index.name}
        )

    def _create(
        self, connection: Connection, index: HnswIndex, rows: int, progress: Progress
    ) -> None:
        table, column = _COLUMNS[index.on]
        statement = queries.compose(
            self._queries["create"],
            concurrently=self._concurrently,
            extension=quoted(self._sessions.extension_schema),
            name=index.name,
            table=table,
            column=column,
            type=index.type,
            dimensions=index.dimensions,
            operators=f"{index.type}_{index.metric}_ops",
            category_id=index.category_id,
            generation=index.generation,
        )
        stage = f"index of {index.on}"
        pid = connection.info.backend_pid
        with ThreadPoolExecutor(1, "patchbank-index") as thread:
            building = thread.submit(connection.execute, statement)
            try:
                while not building.done():
                    progress(stage, min(self._tuples_done(pid), rows), rows)
                    wait([building], timeout=_POLL_SECONDS)
                building.result()
            except errors.NumericValueOutOfRange as error:
                if not self._sessions.pooled:
                    self._drop(connection, index)
                raise ParameterError(_out_of_range(index)) from error
            except BaseException:  # an interrupt too
                while not building.done():
                    connection.cancel_safe()
                    wait([building], timeout=_POLL_SECONDS)
                if not self._sessions.pooled:
                    # Outside a transaction PostgreSQL leaves an unfinished index.
                    with contextlib.suppress(psycopg.OperationalError):
                        self._drop(connection, index)
                raise
        progress(stage, rows, rows)

    def _tuples_done(self, pid: int) -> int:
        if self._sessions.pooled:
            # A query would need another of the pooler's few sessions.
            return 0
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["progress"], {"pid": pid}).fetchone()
        return 0 if row is None else int(row[0])

    @property
    def _concurrently(self) -> str:
        return "" if self._sessions.pooled else "concurrently"

    @contextlib.contextmanager
    def _alone(self, category_id: int, **settings: str) -> Iterator[Connection]:
        """Lock the category's indexes: an index being built looks like an unfinished one."""
        pooled = self._sessions.pooled
        key = {"key": category_id % 2**31}
        with self._outside(**settings) as connection:
            lock = self._queries["lock_in_transaction" if pooled else "lock"]
            row = connection.execute(lock, key).fetchone()
            if row is None or not row[0]:
                raise DatabaseError(
                    "another process is changing this category's indexes; wait until it is done"
                )
            try:
                yield connection
            finally:
                if not (pooled or connection.closed):
                    connection.execute(self._queries["unlock"], key)

    @contextlib.contextmanager
    def _outside(self, **settings: str) -> Iterator[Connection]:
        """Yield a connection for long work, outside a transaction if possible.

        Concurrent builds cannot run in a transaction, so the settings apply to the session and are
        reset afterwards. The sessions of a pooler are shared: there it is one transaction.
        """
        if self._sessions.pooled:
            with self._sessions.connection(long=True) as connection:
                for name, value in settings.items():
                    connection.execute("select set_config(%s, %s, true)", [name, value])
                yield connection
            return
        with self._sessions.statement(long=True) as connection:
            settings = dict.fromkeys(limits_of(connection), "0") | settings
            for name, value in settings.items():
                connection.execute("select set_config(%s, %s, false)", [name, value])
            try:
                yield connection
            finally:
                if not connection.closed:
                    for name in settings:
                        connection.execute(f"reset {name}".encode())


def _out_of_range(index: HnswIndex) -> str:
    remedy = (
        "use --type vector"
        if index.dimensions <= MAX_DIMENSIONS["vector"]
        else "search without an index, which is exact"
    )
    return f"the bank has values above 65,504, the maximum of halfvec; {remedy}"


def check_pgvector(connection: Connection) -> None:
    """Raise PgvectorMissingError if pgvector is too old for HNSW indexes."""
    row = connection.execute(queries.load("database")["status"]).fetchone()
    assert row is not None
    version = str(row[1])
    if tuple(int(part) for part in re.findall(r"\d+", version)[:3]) < MINIMUM_PGVECTOR:
        needed = ".".join(map(str, MINIMUM_PGVECTOR))
        raise PgvectorMissingError(
            f"the server has pgvector {version}; HNSW indexes need {needed} or newer: install it "
            "on the server and run `alter extension vector update` (searches without an index work)"
        )


def _memory_megabytes(index: HnswIndex, rows: int) -> int:
    """Return the memory that holds the graph of a build, from PostgreSQL's default to 2 GB."""
    value = 4 if index.type == "vector" else 2
    # Vectors, links of the graph, and allocator overhead.
    needed = rows * (index.dimensions * value + 600) * 1.2
    return int(min(2_048, max(64, needed / 2**20 + 1)))
