"""The PostgreSQL that comes with the installation: started on demand, shared, stopping by itself.

Everything lies in ``<home>/postgres``:

- ``data``: the database, made by initdb under another name and renamed when complete;
- ``socket``: the server's socket; nobody but the server's account (and root) can enter;
- ``start.lock``: held by whoever starts, stops or is just connecting, so that these never mix;
- ``server.lock``: held by the server's processes themselves, so that it tells truly whether one of
  them lives, after any kill and across containers;
- ``keeper.lock``: held by the keeper, the small process that stops an idle server, and its number;
- ``server.log``.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import psycopg
from psycopg.conninfo import make_conninfo

from patchbank.errors import DiskFullError, EmbeddedServerError
from patchbank.store._accounts import Account, account_for, let_reach, name_of_current
from patchbank.store._files import complains_of_disk, make_private, read_number, size_of, tail
from patchbank.store._locks import FileLock
from patchbank.store._processes import spawn_detached
from patchbank.store._programs import SETTINGS, find_programs, initialise
from patchbank.store._room import Room, room_of
from patchbank.store._socket import PORT, SocketFolder

ROLE = "patchbank"
DATABASE = "postgres"
KEEPER_APPLICATION = "patchbank keeper"

# Crash recovery replays at most max_wal_size, which a slow disk may take minutes for.
_START_SECONDS = 300.0
_STOP_SECONDS = 120.0
_MAX_LOG_BYTES = 5_000_000

T = TypeVar("T")


@dataclass(frozen=True)
class EmbeddedStatus:
    """What is known of an embedded server without starting it.

    Attributes
    ----------
    running
        Whether a process of the server lives.
    pid, keeper_pid
        Process ids of the server and of its keeper, where known.
    folder
        The folder of everything.
    size_bytes
        Size of the database's files.
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
        The home folder; made when missing.
    idle_minutes
        Minutes without a client after which the server stops. The server keeps the value of the
        process that started its keeper.
    """

    def __init__(self, home: Path, *, idle_minutes: float = 10.0) -> None:
        self.home = home.expanduser().resolve()
        self.folder = self.home / "postgres"
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self._socket = SocketFolder(self.folder / "socket")
        self._idle_minutes = idle_minutes

    def connect(self, connect: Callable[[str], T]) -> T:
        """Start the server unless it runs, and return ``connect(conninfo)``.

        The connection is made under the lock that a stop needs too: a server is never stopped
        under a client that is just coming in.

        Raises
        ------
        EmbeddedServerError
            When the server cannot be started or belongs to another user.
        DiskFullError
            When there is no space for the database.
        """
        with self._explained():
            account = self._prepare()
            with self._lock("start.lock", account):
                connection = self._connect(connect, account)
                self._ensure_keeper(account)
                return connection

    def stop(self) -> bool:
        """Stop the server, clients or not; say whether one was running.

        Raises
        ------
        EmbeddedServerError
            When it belongs to another user or does not stop.
        """
        if not self.folder.exists():
            return False
        with self._explained():
            account = account_for(self.folder, self.home)
            with self._lock("start.lock", account):
                stopped = self._stop(account)
            # It notices by itself; waiting makes "stopped" mean that nothing is left.
            with contextlib.suppress(TimeoutError):
                keeper = self._lock("keeper.lock", account)
                keeper.acquire(timeout=5.0)
                keeper.release()
            return stopped

    def stop_if(self, idle: Callable[[], bool]) -> bool:
        """Stop the server if `idle` still says so once nobody can come in; say whether it did."""
        with self._explained():
            account = account_for(self.folder, self.home)
            with self._lock("start.lock", account):
                return idle() and self._stop(account)

    def is_running(self) -> bool:
        """Say whether a process of the server lives."""
        if not self.folder.exists():
            return False
        with self._explained():
            return self._lock("server.lock", account_for(self.folder, self.home)).is_held()

    def status(self) -> EmbeddedStatus:
        """Return what is known without starting anything.

        Raises
        ------
        EmbeddedServerError
            When the folder belongs to another user.
        """
        running = self.is_running()
        keeper_pid = None
        size = 0
        if self.folder.exists():
            with self._explained():
                if self._lock("keeper.lock", account_for(self.folder, self.home)).is_held():
                    keeper_pid = read_number(self.folder / "keeper.lock")
                size = size_of(self.data)
        return EmbeddedStatus(
            running=running,
            pid=self._pid() if running else None,
            keeper_pid=keeper_pid,
            folder=self.folder,
            size_bytes=size,
        )

    def room(self) -> Room:
        """Return what is free on the server's disk, and how much of that its log needs.

        Nothing is started or made: a fit asks this before it begins, and what it saves may take
        ``free - reserve`` bytes.

        Raises
        ------
        EmbeddedServerError
            When the disk cannot be asked.
        """
        with self._explained():
            return room_of(self.data, self.data / "pg_wal")

    def log_says_disk_full(self) -> bool:
        """Say whether the end of the server's log complains about a full disk."""
        return complains_of_disk(tail(self.log))

    def conninfo(self) -> str:
        """Return how to connect to a running server."""
        return make_conninfo(
            host=self._socket.address(), port=PORT, user=ROLE, dbname=DATABASE, sslmode="disable"
        )

    # What follows runs under start.lock.

    def _connect(self, connect: Callable[[str], T], account: Account) -> T:
        deadline = time.monotonic() + _START_SECONDS
        alive = self._lock("server.lock", account)
        while True:
            if not alive.is_held():
                self._start(account)
            try:
                return connect(self.conninfo())
            except psycopg.OperationalError as error:
                reason = str(error)
                starting_or_stopping = "the database system is" in reason
                if "FATAL" in reason and not starting_or_stopping:
                    raise
                if time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"the embedded database in {self.home} does not answer; "
                        f"see {self.log}, or end it with `patchbank database stop`"
                    ) from error
                if not self._socket.has_socket() and self._is_ready():
                    # It serves those who are connected, but nobody can reach it any more.
                    self._stop(account)
            time.sleep(0.01)

    def _start(self, account: Account) -> None:
        if not (self.data / "PG_VERSION").exists():
            self._create(account)
        programs = find_programs(int((self.data / "PG_VERSION").read_text().strip()), self.home)
        let_reach(account, [programs / "postgres", *self._by_path(account)])
        alive = self._lock("server.lock", account)
        if not alive.try_acquire():
            return
        try:
            self._clear_leftovers(account)
            if self.log.exists() and self.log.stat().st_size > _MAX_LOG_BYTES:
                self.log.unlink()
            position = self.log.stat().st_size if self.log.exists() else 0
            command = [str(programs / "postgres"), "-D", name_of_current(self.data, account)]
            command += [f"--{name}={value}" for name, value in SETTINGS.items()]
            spawn_detached(
                command,
                log="../server.log",
                account=account,
                descriptors=[alive.descriptor],
                folder=self.data,
            )
        finally:
            alive.release()
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if not alive.is_held():
                self._explain_end(tail(self.log, position), "the embedded database did not start")
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the embedded database in {self.home} is still starting; see {self.log}"
                )
            time.sleep(0.003)

    def _create(self, account: Account) -> None:
        """Make an empty database; a half-made one never gets the name that counts."""
        programs = find_programs(None, self.home)
        let_reach(account, [programs / "initdb", *self._by_path(account)])
        unfinished = self.folder / "data.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        make_private(unfinished, account)
        made = initialise(programs, unfinished, role=ROLE, account=account)
        if made.returncode != 0:
            shutil.rmtree(unfinished, ignore_errors=True)
            self._explain_end(made.stderr, "the embedded database could not be made")
        unfinished.rename(self.data)
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _clear_leftovers(self, account: Account) -> None:
        """Remove what a killed server left; we hold server.lock, so none of its processes lives."""
        self._socket.renew(account)
        pid = self._pid()
        if pid is not None and not self._is_our_server(pid):
            # The number may by now be another process's, which PostgreSQL takes for a server.
            (self.data / "postmaster.pid").unlink()

    def _stop(self, account: Account) -> bool:
        alive = self._lock("server.lock", account)
        if not alive.is_held():
            return False
        deadline = time.monotonic() + _STOP_SECONDS
        pid = self._pid()
        if pid is not None and self._is_our_server(pid):
            # "Fast": roll back, write a checkpoint, end.
            os.kill(pid, signal.SIGINT)
        while alive.is_held():
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the embedded database in {self.home} did not stop within "
                    f"{_STOP_SECONDS:.0f} s; see {self.log}"
                )
            time.sleep(0.005)
        self._socket.remove_link()
        return True

    def _ensure_keeper(self, account: Account) -> None:
        lock = self._lock("keeper.lock", account)
        if not sys.executable or not lock.try_acquire():
            return
        try:
            # The keeper before this one has left its number there.
            os.ftruncate(lock.descriptor, 0)
            spawn_detached(
                [sys.executable, "-P", "-m", "patchbank.store.keeper", str(self.home),
                 repr(60.0 * self._idle_minutes), str(lock.descriptor)],
                log=os.devnull,
                # As ourselves: it must reach the installation and this folder, as we do.
                account=Account(account.uid, account.gid, switch=False),
                descriptors=[lock.descriptor],
                folder=Path("/"),
            )  # fmt: skip
        finally:
            lock.release()

    def _by_path(self, account: Account) -> list[Path]:
        """Return what the account must reach by its path: nothing where it has another name."""
        named = name_of_current(self.data, account)
        return [self.folder] if named == str(self.data) else []

    def _prepare(self) -> Account:
        """Make the folders and return the account; cheap when all is there."""
        account = account_for(self.folder, self.home)
        if not self.folder.exists():
            self.home.mkdir(parents=True, exist_ok=True)
            make_private(self.folder, account)
        return account

    def _lock(self, name: str, account: Account) -> FileLock:
        return FileLock(self.folder / name, owner=account.owner)

    def _pid(self) -> int | None:
        return read_number(self.data / "postmaster.pid")

    def _is_our_server(self, pid: int) -> bool:
        import psutil

        try:
            process = psutil.Process(pid)
            return process.name() == "postgres" and Path(process.cwd()) == self.data
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True

    def _is_ready(self) -> bool:
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"

    def _explain_end(self, output: str, what: str) -> None:
        if complains_of_disk(output):
            raise self._disk_full(what)
        telling = [
            line.strip()
            for line in output.splitlines()
            if re.search(r"FATAL|PANIC|error:|could not", line)
        ]
        reason = telling[-1] if telling else "it ended without a word"
        raise EmbeddedServerError(f"{what} in {self.home}: {reason} (log: {self.log})")

    def _disk_full(self, what: str) -> DiskFullError:
        return DiskFullError(
            f"no space left on the disk of {self.home}: {what}; free some space there "
            "or set PATCHBANK_HOME to another disk"
        )

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn the operating system's refusals into errors that say what to do."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise self._disk_full("the embedded database cannot be used") from error
            raise EmbeddedServerError(
                f"the embedded database in {self.home} cannot be used: {error.strerror or error} "
                f"({error.filename or self.folder}); check it or set another PATCHBANK_HOME"
            ) from error
