"""Bringing a database to the schema this program needs."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import errors

from patchbank.errors import DatabaseError, DatabaseTooNewError, PgvectorMissingError
from patchbank.store import queries
from patchbank.store.failures import Place

_log = logging.getLogger(__name__)

MINIMUM_SERVER = 15
MINIMUM_PGVECTOR = (0, 8)
_TRANSACTION_TIMEOUT_SINCE = 170_000

_FOLDER = Path(__file__).parent / "migrations"

Connection = psycopg.Connection[tuple[Any, ...]]


class Prepared(NamedTuple):
    """What is known of a ready database: pgvector's schema, and whether a pooler is before it."""

    extension_schema: str
    pooled: bool


def prepare(connection: Connection, place: Place) -> Prepared:
    """Check versions, apply what is missing, and return what is found out.

    Raises
    ------
    DatabaseError
        When the server is older than PostgreSQL 15.
    PgvectorMissingError
        When pgvector is missing, too old or may not be created by this user.
    DatabaseTooNewError
        When the database knows migrations that this program does not.
    """
    statements = queries.load("database")
    with connection.transaction():
        looked = _look(connection)
    if looked.server // 10000 < MINIMUM_SERVER:
        raise DatabaseError(
            f"{place} is PostgreSQL {looked.server // 10000}; "
            f"patchbank needs {MINIMUM_SERVER} or newer, upgrade the server"
        )
    if looked.installed is None:
        _create_extension(connection, place, looked.available)
        with connection.transaction():
            looked = _look(connection)
    schema = looked.schema or "public"
    if looked.usable is False:
        raise DatabaseError(
            f"{place}: this user may not use pgvector, which is in the schema {schema}; have its "
            f"owner run `grant usage on schema {quoted(schema)} to {quoted(looked.user)}`"
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
            applied = {name for (name,) in connection.execute(statements["migrations"])}
    _refuse_newer(applied, known, place)
    if applied != set(known):
        with connection.transaction():
            lift_limits(connection)
            connection.execute(statements["lock_migrations"])
            connection.execute(statements["catch_up"])
            connection.execute(statements["create_schema"])
            connection.execute(statements["create_migration"])
            # Another process may have been faster.
            applied = {name for (name,) in connection.execute(statements["migrations"])}
            _refuse_newer(applied, known, place)
            connection.execute(b"set local search_path to " + search_path(schema).encode())
            for name, text in known.items():
                if name not in applied:
                    _log.info("%s: applying the migration %s", place, name)
                    connection.execute(text)
                    connection.execute(statements["add_migration"], {"name": name})
    # A pooler makes up a number of its own, for clients to cancel by.
    pooled = place.pgbouncer or looked.pid != connection.info.backend_pid
    return Prepared(schema, pooled)


def migrations() -> dict[str, bytes]:
    """Return the program's migrations by name, in their order."""
    return {path.stem: path.read_bytes() for path in sorted(_FOLDER.glob("*.sql"))}


def search_path(extension_schema: str) -> str:
    """Return the search path: our schema, and that of pgvector's operators."""
    return f"patchbank, {quoted(extension_schema)}"


def lift_limits(connection: Connection) -> None:
    """Let this transaction take the time it needs, whatever limits the role or the database has."""
    names = limits_of(connection)
    connection.execute("; ".join(f"set local {name} to 0" for name in names).encode())


def limits_of(connection: Connection) -> list[str]:
    """Return the names of the server's settings that end what takes long."""
    names = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    if connection.info.server_version >= _TRANSACTION_TIMEOUT_SINCE:
        names.append("transaction_timeout")
    return names


def quoted(name: str) -> str:
    """Return a name as SQL takes it."""
    return '"' + name.replace('"', '""') + '"'


class _Looked(NamedTuple):
    """The server's version, and of pgvector: versions, where it is, whether it may be used."""

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
            "have a superuser run `create extension vector` in that database"
        ) from error


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
