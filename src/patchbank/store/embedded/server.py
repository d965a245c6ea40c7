"""The embedded PostgreSQL: started on demand, shared by processes, stopped when idle.

Everything is in ``<home>/postgres``:

- ``data``: the database, created by initdb under another name and renamed when complete;
- ``socket``: the server's socket; only the server's account and root can enter;
- ``start.lock``: held by whoever starts, stops or is just connecting, so that these never mix;
- ``server.lock``: held by the server's processes, so that it shows reliably whether one of them is
  alive, after any kill and across containers;
- ``keeper.lock``: held by the keeper, which stops an idle server; contains its process id;
- ``reserve``: disk space for a start after the disk was full;
- ``server.log``.
"""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from patchbank.errors import DiskFullError, EmbeddedServerError
from patchbank.links import resolve_trusted
from patchbank.store.embedded.accounts import Account
from patchbank.store.embedded.copies import write_copy
from patchbank.store.embedded.processes import spawn_detached
from patchbank.store.embedded.programs import find_programs
from patchbank.store.embedded.reserve import lay_aside, release, tidy_up
from patchbank.store.embedded.room import (
    Room,
    complains_of_disk,
    room_of,
)
from patchbank.store.embedded.server_processes import (
    ROLE,
    START_SECONDS,
    ServerProcesses,
    explained,
)
from patchbank.store.embedded.site import DATA, FOLDER, LOG, Site, open_site
from patchbank.store.embedded.socket_folder import PORT, SocketFolder

_log = logging.getLogger(__name__)

DATABASE = "postgres"
KEEPER_APPLICATION = "patchbank keeper"

_TIDYING_ATTEMPTS = 5

T = TypeVar("T")


@dataclass(frozen=True)
class EmbeddedStatus:
    """The status of an embedded server, without starting it.

    Attributes
    ----------
    running
        Whether a process of the server is alive.
    pid, keeper_pid
        Process ids of the server and of its keeper, if known.
    folder
        The folder of the server.
    size_bytes
        Size of the database files.
    """

    running: bool
    pid: int | None
    keeper_pid: int | None
    folder: Path
    size_bytes: int


class EmbeddedServer:
    """The server of one home folder, as seen by one process.

    Parameters
    ----------
    home
        The home folder; created if missing.
    idle_minutes
        Minutes without a client after which the server stops. The server keeps the value of the
        process that started its keeper.
    """

    def __init__(self, home: Path, *, idle_minutes: float = 10.0) -> None:
        with explained(home):
            self.home = resolve_trusted(home.expanduser())
        self.folder = self.home / FOLDER
        self.data = self.folder / DATA
        self.log = self.folder / LOG
        self._socket = SocketFolder(self.folder / "socket")
        self._processes = ServerProcesses(self.home, self._socket)
        self._idle_minutes = idle_minutes

    def connect(self, connect: Callable[[str], T]) -> T:
        """Start the server if necessary, and return ``connect(conninfo)``.

        The connection is made under the lock that a stop needs too, so that a server is never
        stopped while a client connects.

        Raises
        ------
        EmbeddedServerError
            If the server cannot be started or belongs to another user.
        DiskFullError
            If there is no space for the database.
        """
        with self._site_made() as site:
            with site.lock("start.lock"):
                # Before connecting: a refused lock would leave the connection open.
                kept = site.lock("keeper.lock").is_held()
                connection = self._connect(connect, site)
                if not kept:
                    self._ensure_keeper(site)
            if site.is_short:
                self._tidy_up(site)
            return connection

    def make_room(self) -> None:
        """Free the space of a transaction that failed because the disk was full.

        Uses the reserve, and recreates it if there is space.
        """
        with self.reserve_lent():
            pass

    @contextlib.contextmanager
    def reserve_lent(self) -> Iterator[None]:
        """Release the reserve for work that frees space, and start the server if necessary.

        Tidy up afterwards, and recreate the reserve if there is space.
        """
        with self._site() as site:
            if site is None:
                yield
                return
            release(site)
            site.is_short = True
            with site.lock("start.lock"):
                self._connect(lambda address: psycopg.connect(address), site).close()
            try:
                yield
            finally:
                self._tidy_up(site)

    def stop(self) -> bool:
        """Stop the server even if it has clients; return whether it was running.

        Raises
        ------
        EmbeddedServerError
            If it belongs to another user or does not stop.
        """
        with self._site() as site:
            if site is None:
                return False
            with site.lock("start.lock"):
                stopped = self._processes.stop(site)
            # The keeper stops by itself; wait, so that nothing is left running.
            with contextlib.suppress(TimeoutError):
                keeper = site.lock("keeper.lock")
                keeper.acquire(timeout=5.0)
                keeper.release()
            return stopped

    def stop_if(self, idle: Callable[[], bool]) -> bool:
        """Stop the server if `idle()` holds while nobody can connect; return whether it stopped."""
        with self._site() as site:
            if site is None:
                return False
            with site.lock("start.lock"):
                return idle() and self._processes.stop(site)

    def is_running(self) -> bool:
        """Return whether a process of the server is alive."""
        with self._site() as site:
            return site is not None and site.lock("server.lock").is_held()

    def status(self) -> EmbeddedStatus:
        """Return the status without starting anything.

        Raises
        ------
        EmbeddedServerError
            When the folder belongs to another user.
        """
        running = False
        pid = keeper_pid = None
        size = 0
        with self._site() as site:
            if site is not None:
                running = site.lock("server.lock").is_held()
                pid = site.pid() if running else None
                keeper_pid = site.keeper_pid()
                size = site.size()
        return EmbeddedStatus(
            running=running,
            pid=pid,
            keeper_pid=keeper_pid,
            folder=self.folder,
            size_bytes=size,
        )

    def room(self) -> Room:
        """Return the free space on the server's disk, and how much of it its log needs.

        Nothing is started or created. A fit checks this first: it may save ``free - reserve``.

        Raises
        ------
        EmbeddedServerError
            If the disk cannot be queried.
        """
        with explained(self.home):
            return room_of(self.data, self.data / "pg_wal")

    def keep_copy(self, name: str) -> Path:
        """Write a copy of the running server's database; see `write_copy`."""
        with self._site_made() as site:
            return write_copy(site, find_programs(site.version(), self.home), self.conninfo(), name)

    def log_says_disk_full(self) -> bool:
        """Return whether the end of the server's log reports a full disk."""
        with self._site() as site:
            return site is not None and complains_of_disk(site.log_since())

    def conninfo(self) -> str:
        """Return how to connect to a running server.

        Raises
        ------
        EmbeddedServerError, UnsafePathError
            If another user's file is in the way of its socket.
        """
        return make_conninfo(
            host=self._socket.address(), port=PORT, user=ROLE, dbname=DATABASE, sslmode="disable"
        )

    def _tidy_up(self, site: Site) -> None:
        # The server that crashed on the full disk may accept this connection before it notices, and
        # then ends it.
        with contextlib.suppress(psycopg.Error, EmbeddedServerError, DiskFullError):
            for _ in range(_TIDYING_ATTEMPTS):
                with site.lock("start.lock"):
                    connection = self._connect(_connect_to_tidy, site)
                if tidy_up(connection):
                    break
        lay_aside(site)

    # The methods below run under start.lock.

    def _connect(self, connect: Callable[[str], T], site: Site) -> T:
        deadline = time.monotonic() + START_SECONDS
        alive = site.lock("server.lock")
        while True:
            if not alive.is_held():
                self._processes.start(site)
                if not site.is_short:
                    lay_aside(site)
            try:
                return connect(self.conninfo())
            except psycopg.OperationalError as error:
                reason = str(error)
                if complains_of_disk(reason) and release(site):
                    # A new session writes files of its own.
                    site.is_short = True
                    continue
                starting_or_stopping = "the database system is" in reason
                if "FATAL" in reason and not starting_or_stopping:
                    raise
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"the embedded database in {self.home} does not answer; "
                        f"see {self.log}, or stop it with `patchbank database stop`"
                    ) from error
                if not self._socket.has_socket() and site.is_ready():
                    # It still serves connected clients, but nobody else can connect.
                    self._processes.stop(site)
            time.sleep(0.01)

    def _ensure_keeper(self, site: Site) -> None:
        lock = site.lock("keeper.lock")
        if not sys.executable or not lock.try_acquire():
            return
        try:
            # Clear the process id of the previous keeper.
            os.ftruncate(lock.descriptor, 0)
            spawn_detached(
                [sys.executable, "-P", "-m", "patchbank.store.embedded.keeper", str(self.home),
                 repr(60.0 * self._idle_minutes), str(lock.descriptor)],
                log=subprocess.DEVNULL,
                # As ourselves: it needs access to the installation and this folder.
                account=Account(site.account.uid, site.account.gid, switch=False),
                descriptors=[lock.descriptor],
                folder=Path("/"),
            )  # fmt: skip
        finally:
            lock.release()

    @contextlib.contextmanager
    def _site(self) -> Iterator[Site | None]:
        """Yield the server's folder, None if it does not exist."""
        with explained(self.home), open_site(self.home, make=False) as site:
            yield site

    @contextlib.contextmanager
    def _site_made(self) -> Iterator[Site]:
        """Yield the server's folder; create it if missing."""
        with explained(self.home), open_site(self.home, make=True) as site:
            assert site is not None
            yield site


def _connect_to_tidy(conninfo: str) -> psycopg.Connection:
    return psycopg.connect(conninfo, autocommit=True, application_name="patchbank")
