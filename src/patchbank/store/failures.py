"""Translate the driver's errors into ours."""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import errors

from patchbank.errors import (
    DatabaseError,
    DatabaseReadOnlyError,
    DatabaseUnreachableError,
    DiskFullError,
    ParameterError,
    PatchbankError,
)
from patchbank.store.address import as_url, for_driver, in_use
from patchbank.store.embedded.room import LIMITS_OF_SHARED_MEMORY

if TYPE_CHECKING:
    from patchbank.store.embedded.server import EmbeddedServer

# The driver logs what we raise as errors; Python's handler of last resort would print it.
logging.getLogger("psycopg").addHandler(logging.NullHandler())

# Messages of refused connections, and remedies; docs/server.md has more. The driver gives no error
# code for these. Quoted names in the messages are left out here.
_REMEDIES = (
    ("Connection refused", "start PostgreSQL there, and check its listen_addresses and port"),
    ("No such file or directory", "start PostgreSQL there, or put its host in the URL"),
    ("timeout", "check the host, the port and any firewalls"),
    ("password authentication failed", "correct the user or the password in the URL"),
    ("no password supplied", "put the password in the URL or in ~/.pgpass"),
    ("pg_hba.conf", "add a line for this database, user and address to the server's pg_hba.conf"),
    ("permission denied", "ask its owner to `grant connect on database` to this user"),
    ('database "" does not exist', "create it with `createdb`, or correct the URL"),
    ('role "" does not exist', "create it with `createuser`, or correct the URL"),
    ("not permitted to log in", "allow it with `alter role ... login`"),
    (
        "connections for role",
        "close some, or raise the limit with `alter role ... connection limit`",
    ),
    (
        "connections for database",
        "close some, or raise the limit with `alter database ... connection limit`",
    ),
    ("not currently accepting", "allow it with `alter database ... allow_connections true`"),
    ("the database system is", "wait until it is ready, and try again"),
    (
        "unsupported startup parameter",
        "remove it from the URL and the environment (PGOPTIONS), or "
        "add it to PgBouncer's ignore_startup_parameters",
    ),
    ("no such database", "add it to PgBouncer's [databases], or correct the URL"),
    ("no such user", "add it to PgBouncer's auth_file, or correct the URL"),
    ("clients already", "raise the server's max_connections, or end some of its clients"),
    ("connection slots", "raise the server's max_connections, or end some of its clients"),
)
_QUOTED = re.compile(r'"[^"]*"')
_RECORDING_REFUSED = re.compile(
    r"permission denied for (?:table|sequence) (inspection(?:_image\b)?)"
)
_DEFAULT_REMEDY = "check the URL and the server"


class Place:
    """The database that is meant, as text that is safe to show: without the password.

    Parameters
    ----------
    url
        A URL or ``key=value`` string; None for the embedded server.
    server
        The embedded server, if used.

    Raises
    ------
    ParameterError
        If the URL is invalid.
    """

    def __init__(self, url: str | None, server: EmbeddedServer | None = None) -> None:
        self.server = server
        self.url = "embedded"
        # The address for the driver, with password, and whether the URL names PgBouncer.
        self.conninfo, self.pgbouncer = "", False
        self._words = "the embedded database"
        if url is None:
            return
        self.conninfo, self.pgbouncer = for_driver(url)
        values = in_use(self.conninfo)
        host = values.get("host") or values.get("hostaddr") or "the local socket"
        port = values.get("port", "5432")
        user = values.get("user", "")
        name = values.get("dbname") or user
        self.url = as_url(values)
        self._words = f"the database {name!r} on {host}, port {port}, as user {user!r}"

    def __str__(self) -> str:
        return self._words if self.server is None else f"{self._words} in {self.server.home}"

    @property
    def home(self) -> Path | None:
        """The home folder of the embedded server."""
        return self.server.home if self.server else None


@contextlib.contextmanager
def explained(place: Place) -> Iterator[None]:
    """Turn the driver's errors into errors with a remedy."""
    try:
        yield
    except psycopg.Error as error:
        raise explain(error, place) from error
    except UnicodeEncodeError as error:
        # Linux file names may be invalid UTF-8.
        raise ParameterError(
            f"{error.object!r} is not valid UTF-8 and cannot be stored; rename it"
        ) from error


def explain(error: Exception, place: Place) -> PatchbankError:
    """Return our error for one of the driver's."""
    reason = first_line(error)
    if "shared memory segment" in reason:
        # Reported as a full disk, but it is /dev/shm: a container has 64 MB for index builds.
        remedy = "give the server a larger /dev/shm (shm_size in compose.yaml)"
        if place.server is not None:
            remedy = LIMITS_OF_SHARED_MEMORY
        return DatabaseError(f"{place} has too little shared memory: {reason}; {remedy}")
    if isinstance(error, errors.DiskFull) or "No space left on device" in str(error):
        return _disk_full(place)
    if isinstance(error, psycopg.DataError) and "NUL (0x00)" in reason:
        return ParameterError(
            "a name or label contains a NUL byte, which cannot be stored; remove it"
        )
    if isinstance(error, errors.UntranslatableCharacter):
        return ParameterError(
            f"{place} cannot store a character: {reason}; use simpler names, or a database created "
            "with `createdb --encoding=UTF8 --template=template0`"
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return DatabaseReadOnlyError(
            f"{place} is read-only: {reason}; use the primary server, or inspect with --no-record"
        )
    if isinstance(error, errors.InsufficientPrivilege):
        refused = _RECORDING_REFUSED.search(reason)
        if refused is not None:
            table, otherwise = refused[1], "inspect with --no-record"
            if table != "inspection":
                otherwise = "set PATCHBANK_KEEP_IMAGES to none"
            remedy = f"run `grant insert on patchbank.{table}`, or {otherwise}"
            return DatabaseError(f"{place} refused: {reason}; {remedy}")
        return DatabaseError(
            f"{place} refused: {reason}; use a role that may create and write tables, or grant "
            "this one what docs/server.md lists for a role that only inspects"
        )
    if "statement pooling mode" in reason:
        return DatabaseError(
            f"{place} is behind PgBouncer in statement mode, which does not support transactions; "
            "set `pool_mode = transaction` there, or connect to the server directly"
        )
    lost = (psycopg.OperationalError, psycopg.InterfaceError)
    if isinstance(error, lost) and getattr(error, "sqlstate", None) in (None, "57P01", "57P02"):
        # A full disk takes the whole server down; only its log names the cause.
        if place.server is not None and place.server.log_says_disk_full():
            return _disk_full(place)
        return DatabaseUnreachableError(
            f"{place} closed the connection: {reason}; unfinished work was not saved, try again"
        )
    return DatabaseError(f"{place} reported an error: {reason}")


def explain_connecting(error: psycopg.Error, place: Place) -> PatchbankError:
    """Return our error for a refused connection."""
    if place.server is not None:
        return DatabaseUnreachableError(
            f"{place} refused the connection: {first_line(error)}; "
            "stop it with `patchbank database stop` and try again"
        )
    reason = first_line(error)
    bare = _QUOTED.sub('""', reason)
    remedy = next((remedy for text, remedy in _REMEDIES if text in bare), _DEFAULT_REMEDY)
    return DatabaseUnreachableError(
        f"cannot reach {place}: {reason}; {remedy} (PATCHBANK_DATABASE_URL)"
    )


def first_line(error: Exception) -> str:
    """Return the first line of a driver's message, without the address."""
    lines = str(error).strip().splitlines()
    line = lines[0] if lines else type(error).__name__
    for mark in ("FATAL:  ", "failed: ", "ERROR:  "):
        if mark in line:
            line = line.rsplit(mark, 1)[1]
    return line.strip().rstrip(".")


def _disk_full(place: Place) -> DiskFullError:
    where = f"the disk of {place.home}" if place.home else f"the disk of {place}"
    return DiskFullError(
        f"no space left on {where}; nothing was saved, free some space and try again"
    )
