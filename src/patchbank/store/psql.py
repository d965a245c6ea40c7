"""The command and environment to run psql on the database."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from psycopg import conninfo, pq

from patchbank.errors import EmbeddedServerError
from patchbank.store.address import as_url, for_driver
from patchbank.store.connecting import Limits
from patchbank.store.database import open_database
from patchbank.store.embedded.programs import find_programs
from patchbank.store.embedded.server import EmbeddedServer

_CLEARED = ("PGSERVICE", "PGOPTIONS")


def psql_command(
    url: str | None, home: Path, *, idle_minutes: float, limits: Limits
) -> tuple[list[str], dict[str, str]]:
    """Return psql's command and environment for the database; start it if necessary.

    The address is in the environment, because anyone can read a process's command line. The search
    path is set, so that views and vectors need no schema name.

    Raises
    ------
    EmbeddedServerError
        If psql is not installed.
    DatabaseError
        When the database cannot be used.
    """
    with open_database(url, home, idle_minutes=idle_minutes, limits=limits) as database:
        path, pooled = database.search_path, database.pooled
    environment = _environment(url, home)
    # In PGOPTIONS, spaces and backslashes must be escaped.
    escaped = path.replace("\\", "\\\\").replace(" ", "\\ ")
    if not pooled:
        # PgBouncer rejects PGOPTIONS.
        environment["PGOPTIONS"] = f"-c search_path={escaped}"
    return [_program("psql", home, own_first=url is not None)], environment


class ClientPrograms:
    """PostgreSQL's client programs for a database, and the environment to run them in.

    Parameters
    ----------
    url
        Of your own server; None for the embedded server, which must be running.
    """

    def __init__(self, url: str | None, home: Path) -> None:
        self.environment = _environment(url, home)
        self._home = home

    def command(self, name: str, *arguments: str, apart: bool = False) -> list[str]:
        """Return a command line; the bundled programs go before the system's, which may be older.

        Parameters
        ----------
        apart
            It asks the database nothing.

        Raises
        ------
        EmbeddedServerError
            If the program is not installed.
        """
        asking = () if apart else ("--no-password",)
        return [_program(name, self._home, own_first=False), *asking, *arguments]


def database_url(url: str | None, home: Path, *, idle_minutes: float, limits: Limits) -> str:
    """Return a URL of the database for other programs; start the server if necessary.

    It has all hosts and parameters but no password, because it is printed.

    Raises
    ------
    DatabaseError
        When the database cannot be used.
    """
    with open_database(url, home, idle_minutes=idle_minutes, limits=limits) as database:
        if url is not None:
            return database.status().url
    given = conninfo.conninfo_to_dict(EmbeddedServer(home).conninfo())
    return as_url({name: str(value) for name, value in given.items()})


def _environment(url: str | None, home: Path) -> dict[str, str]:
    """Return the environment with the address, which must not be on a command line."""
    address = EmbeddedServer(home).conninfo() if url is None else for_driver(url)[0]
    environment = {name: value for name, value in os.environ.items() if name not in _CLEARED}
    return environment | _as_variables(address)


def _as_variables(address: str) -> dict[str, str]:
    """Return an address as libpq's environment variables."""
    return {
        option.envvar.decode(): option.val.decode()
        for option in pq.Conninfo.parse(address.encode())
        if option.envvar and option.val is not None
    }


def _program(name: str, home: Path, *, own_first: bool) -> str:
    """Return the path of a client program: the system's or the bundled one."""
    own = shutil.which(name)
    if own_first and own is not None:
        return own
    try:
        bundled = find_programs(None, home) / name
    except EmbeddedServerError:
        bundled = None
    if bundled is not None and bundled.exists():
        return str(bundled)
    if own is not None:
        return own
    raise EmbeddedServerError(f"{name} is not installed; install the PostgreSQL client programs")
