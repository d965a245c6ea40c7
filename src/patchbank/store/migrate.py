"""Upgrade a database to the schema of this program."""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import psycopg
from psycopg import errors

from patchbank.errors import (
    DatabaseError,
    DatabaseTooNewError,
    DatabaseUpgradedWarning,
    DatabaseUpgradeNeededError,
    DiskFullError,
    PgvectorMissingError,
)
from patchbank.store import queries
from patchbank.store.embedded.copies import most_bytes_of_copy
from patchbank.store.failures import Place

if TYPE_CHECKING:
    from patchbank.store.embedded.server import EmbeddedServer

_log = logging.getLogger(__name__)

MINIMUM_SERVER = 15
MINIMUM_PGVECTOR = (0, 8)
_TRANSACTION_TIMEOUT_SINCE = 170_000
# An upgrade waits that long for sessions that use the tables.
_LOCK_SECONDS = 30

_FOLDER = Path(__file__).parent / "migrations"

Connection = psycopg.Connection[tuple[Any, ...]]


class Prepared(NamedTuple):
    """Facts about a ready database: pgvector's schema, and whether it is behind a pooler."""

    extension_schema: str
    pooled: bool


@dataclass(frozen=True)
class UpgradePlan:
    """What an upgrade will do, and the contents of the database.

    Attributes
    ----------
    database
        Its description for people.
    migrations
        The missing migrations, with a sentence on what each does.
    banks, patches, inspections, size_bytes
        Its contents.
    sessions
        Number of other patchbank connections.
    """

    database: str
    migrations: dict[str, str]
    banks: int = 0
    patches: int = 0
    inspections: int = 0
    size_bytes: int = 0
    sessions: int = 0


def plan_upgrade(connection: Connection, place: Place) -> UpgradePlan:
    """Return what an upgrade would do; no migrations if there is nothing to upgrade.

    Raises
    ------
    DatabaseTooNewError
        If the database has migrations that this program does not know.
    """
    known = migrations()
    with connection.transaction():
        if not _look(connection).migrated:
            return UpgradePlan(str(place), {})
        lift_limits(connection)
        applied = _applied(connection)
        _refuse_newer(applied, known, place)
        row = connection.execute(queries.load("database")["contents"]).fetchone()
    assert row is not None
    missing = {name: _purpose(text) for name, text in known.items() if name not in applied}
    return UpgradePlan(str(place), missing if applied else {}, *row)


def prepare(connection: Connection, place: Place, *, upgrade: bool = False) -> Prepared:
    """Check versions, apply missing migrations, and return facts about the database.

    An empty database gets its tables. The embedded database is upgraded after copying it; an
    external one, which older programs may be using, only if `upgrade`.

    Raises
    ------
    DatabaseError
        If the server is older than PostgreSQL 15.
    PgvectorMissingError
        If pgvector is missing or too old, or this user may not create it.
    DatabaseTooNewError
        If the database has migrations that this program does not know.
    DatabaseUpgradeNeededError
        If migrations are missing and it must not be upgraded.
    DiskFullError
        If there is no space for the copy.
    """
    statements = queries.load("database")
    with connection.transaction():
        looked = _look(connection)
    if looked.server // 10000 < MINIMUM_SERVER:
        raise DatabaseError(
            f"{place} runs PostgreSQL {looked.server // 10000}; "
            f"patchbank needs {MINIMUM_SERVER} or newer, upgrade the server"
        )
    if looked.installed is None:
        _create_extension(connection, place, looked.available)
        with connection.transaction():
            looked = _look(connection)
    schema = looked.schema or "public"
    if looked.usable is False:
        raise DatabaseError(
            f"{place}: this user may not use pgvector, which is in the schema {schema}; ask its "
            f"owner to run `grant usage on schema {quoted(schema)} to {quoted(looked.user)}`"
        )
    if _version(looked.installed) < MINIMUM_PGVECTOR:
        raise PgvectorMissingError(
            f"{place} has pgvector {looked.installed}; patchbank needs 0.8 or newer: install "
            "it on the server and run `alter extension vector update`"
        )
    known = migrations()
    applied: set[str] = set()
    if looked.migrated:
        with connection.transaction():
            applied = _applied(connection)
    _check(applied, known, place, upgrade=upgrade)
    upgraded = ""
    if applied != set(known):
        with _locks_in_time(place), connection.transaction():
            lift_limits(connection)
            connection.execute(statements["lock_migrations"])
            connection.execute(statements["catch_up"])
            connection.execute(statements["create_schema"])
            connection.execute(statements["create_migration"])
            # Another process, perhaps an older program, may have been faster.
            applied = _applied(connection)
            _check(applied, known, place, upgrade=upgrade)
            if applied and applied != set(known) and place.server is not None:
                upgraded = _keep_copy(connection, place, place.server, min(set(known) - applied))
            connection.execute(b"set local search_path to " + search_path(schema).encode())
            connection.execute(f"set local lock_timeout to '{_LOCK_SECONDS}s'".encode())
            for name, text in known.items():
                if name not in applied:
                    _log.info("%s: applying the migration %s", place, name)
                    connection.execute(text)
                    connection.execute(statements["add_migration"], {"name": name})
    if upgraded:
        warnings.warn(upgraded, DatabaseUpgradedWarning, stacklevel=2)
    # A pooler reports its own process id, which clients use to cancel.
    pooled = place.pgbouncer or looked.pid != connection.info.backend_pid
    return Prepared(schema, pooled)


@contextlib.contextmanager
def _locks_in_time(place: Place) -> Iterator[None]:
    """Say who is in the way where the tables stay locked by another session."""
    try:
        yield
    except errors.LockNotAvailable as error:
        raise DatabaseError(
            f"{place}: another session has locked the tables for {_LOCK_SECONDS} seconds; end it "
            "(pg_stat_activity lists the sessions) and try again: nothing was changed"
        ) from error


def migrations() -> dict[str, bytes]:
    """Return the program's migrations by name, in order."""
    return {path.stem: path.read_bytes() for path in sorted(_FOLDER.glob("*.sql"))}


def search_path(extension_schema: str) -> str:
    """Return the search path: our schema, and that of pgvector's operators."""
    return f"patchbank, {quoted(extension_schema)}"


def lift_limits(connection: Connection) -> None:
    """Lift the time limits of the role or the database for this transaction."""
    names = limits_of(connection)
    connection.execute("; ".join(f"set local {name} to 0" for name in names).encode())


def limits_of(connection: Connection) -> list[str]:
    """Return the names of the server's time limits."""
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        names.append("transaction_timeout")
    return names


def quoted(name: str) -> str:
    """Return a name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


class _Looked(NamedTuple):
    """Versions of the server and of pgvector, and whether pgvector may be used."""

    server: int
    available: str | None
    installed: str | None
    schema: str | None
    usable: bool | None
    user: str
    migrated: bool
    pid: int


def _look(connection: Connection) -> _Looked:
    row = connection.execute(queries.load("database")["look"]).fetchone()
    assert row is not None
    return _Looked(*row)


def _create_extension(connection: Connection, place: Place, available: str | None) -> None:
    if available is None:
        raise PgvectorMissingError(
            f"{place} has no pgvector; install pgvector 0.8 or newer on the server"
        )
    try:
        with connection.transaction():
            # Two processes creating it at once would collide in the catalog.
            lift_limits(connection)
            for name in ("lock_migrations", "catch_up", "create_extension"):
                connection.execute(queries.load("database")[name])
    except errors.InsufficientPrivilege as error:
        raise PgvectorMissingError(
            f"{place}: this user may not create the extension pgvector; "
            "ask a superuser to run `create extension vector` in that database"
        ) from error


def _applied(connection: Connection) -> set[str]:
    statement = queries.load("database")["migrations"]
    return {name for (name,) in connection.execute(statement)}


def _purpose(migration: bytes) -> str:
    """Return the first sentence of the comment at the start of a migration."""
    comment = []
    for line in migration.decode().splitlines():
        if not line.startswith("-- "):
            break
        comment.append(line.removeprefix("-- "))
    return " ".join(comment).partition(". ")[0].rstrip(".")


def _keep_copy(connection: Connection, place: Place, server: EmbeddedServer, migration: str) -> str:
    """Copy the embedded database, and return a remark on it."""
    row = connection.execute(queries.load("database")["contents"]).fetchone()
    assert row is not None
    needed, room = most_bytes_of_copy(row[3]), server.room()
    usable = max(room.free - room.reserve, 0)
    if needed > usable:
        raise DiskFullError(
            f"{place} must be upgraded, and a copy made before that may take "
            f"{needed / 1e6:,.0f} MB, more than the {usable / 1e6:,.0f} MB available on "
            "that disk; free some space there"
        )
    copy = server.keep_copy(f"before-{migration}.dump")
    return f"{place} was upgraded; a copy made before the upgrade is in {copy} (docs/storage.md)"


def _check(applied: set[str], known: dict[str, bytes], place: Place, *, upgrade: bool) -> None:
    """Refuse databases of a newer patchbank, and unrequested upgrades of an external database."""
    _refuse_newer(applied, known, place)
    if applied and applied != set(known) and place.server is None and not upgrade:
        raise DatabaseUpgradeNeededError(
            f"{place} was created by an older patchbank; stop the stations that still use it, then "
            "run `patchbank database upgrade`, which first shows what it will change"
        )


def _refuse_newer(applied: set[str], known: dict[str, bytes], place: Place) -> None:
    unknown = sorted(applied - set(known))
    if unknown:
        raise DatabaseTooNewError(
            f"{place} was changed by a newer patchbank (migration {unknown[-1]}); "
            "upgrade this patchbank"
        )


def _version(text: str | None) -> tuple[int, ...]:
    numbers = [int(part) for part in (text or "0").split(".")[:2] if part.isdigit()]
    return tuple(numbers)
