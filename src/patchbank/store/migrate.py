"""Bringing a database to the schema this program needs."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import psycopg
from psycopg import errors, sql

from patchbank.errors import DatabaseError, DatabaseTooNewError, PgvectorMissingError
from patchbank.store import queries
from patchbank.store.failures import Place

MINIMUM_SERVER = 15
MINIMUM_PGVECTOR = (0, 8)

_FOLDER = Path(__file__).parent / "migrations"

Connection = psycopg.Connection[tuple[Any, ...]]


def prepare(connection: Connection, place: Place) -> str:
    """Check versions, apply what is missing, and return the search path to use.

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
            f"owner run `grant usage on schema {_quote(schema)} to {_quote(looked.user)}`"
        )
    if _version(looked.installed) < MINIMUM_PGVECTOR:
        raise PgvectorMissingError(
            f"{place} has pgvector {looked.installed}; patchbank needs 0.8 or newer: install "
            "it on the server and run `alter extension vector update`"
        )
    path = search_path(schema)
    known = migrations()
    applied: set[str] = set()
    if looked.migrated:
        with connection.transaction():
            applied = {name for (name,) in connection.execute(statements["migrations"])}
    _refuse_newer(applied, known, place)
    if applied != set(known):
        with connection.transaction():
            connection.execute(statements["lock_migrations"])
            connection.execute(statements["catch_up"])
            connection.execute(statements["create_schema"])
            connection.execute(statements["create_migration"])
            # Another process may have been faster.
            applied = {name for (name,) in connection.execute(statements["migrations"])}
            _refuse_newer(applied, known, place)
            connection.execute(set_search_path(path, local=True))
            for name, text in known.items():
                if name not in applied:
                    connection.execute(text)
                    connection.execute(statements["add_migration"], {"name": name})
    return path


def migrations() -> dict[str, bytes]:
    """Return the program's migrations by name, in their order."""
    return {path.stem: path.read_bytes() for path in sorted(_FOLDER.glob("*.sql"))}


def search_path(extension_schema: str) -> str:
    """Return the search path: our schema, and that of pgvector's operators."""
    return f"patchbank, {_quote(extension_schema)}"


def set_search_path(path: str, *, local: bool = False) -> sql.Composed:
    """Return the statement that sets the search path, for this transaction alone if `local`."""
    return sql.SQL("select set_config('search_path', {}, {})").format(path, local)


def _quote(name: str) -> str:
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
