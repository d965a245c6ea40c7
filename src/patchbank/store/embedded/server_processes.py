"""Start and stop the processes of the embedded server, under its `start.lock`."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from patchbank.errors import DiskFullError, EmbeddedServerError
from patchbank.files import is_disk_full
from patchbank.settings import usable_cores
from patchbank.store.embedded.accounts import Account, check_entry, let_reach, name_of_current
from patchbank.store.embedded.processes import spawn_detached
from patchbank.store.embedded.programs import SETTINGS, find_programs, initialise
from patchbank.store.embedded.reserve import LEAST_RESERVE_BYTES, RESERVE, release
from patchbank.store.embedded.room import (
    LIMITS_OF_SHARED_MEMORY,
    complains_of_disk,
    complains_of_memory,
    free_bytes,
    log_bytes,
    log_settings,
)
from patchbank.store.embedded.site import DATA, FOLDER, LOG, Site
from patchbank.store.embedded.socket_folder import SocketFolder

_log = logging.getLogger(__name__)

ROLE = "patchbank"

# Crash recovery replays up to max_wal_size, which may take minutes on a slow disk.
START_SECONDS = 300.0
_STOP_SECONDS = 120.0
# Files of initdb, first tables, and a log of two segments.
_NEW_DATABASE_BYTES = 62 * 2**20
_UNFINISHED = "data.new"
_MAX_LOG_BYTES = 5_000_000


class ServerProcesses:
    """The processes of the server of a resolved home folder."""

    def __init__(self, home: Path, socket: SocketFolder) -> None:
        self.home = home
        self.folder = home / FOLDER
        self.data = self.folder / DATA
        self.log = self.folder / LOG
        self._socket = socket

    def start(self, site: Site) -> None:
        """Start the server; if the disk is full, with the space of the reserve."""
        try:
            with explained(self.home):
                self._start_once(site)
        except DiskFullError:
            if not release(site):
                raise
            site.is_short = True
            self._start_once(site)

    def _start_once(self, site: Site) -> None:
        begun = time.monotonic()
        if (version := site.version()) is None:
            self._create(site)
            _log.info("created an empty database in %s", self.data)
            version = site.version()
        account = site.account
        programs = find_programs(version, self.home)
        let_reach(account, [programs / "postgres", *self._by_path(account)])
        alive = site.lock("server.lock")
        if not alive.try_acquire():
            return
        try:
            self._clear_leftovers(site)
            if site.log_size() > _MAX_LOG_BYTES:
                site.folder.remove(LOG)
            position = site.log_size()
            # Refuse a planted link here, not once the server is running.
            site.folder.look(RESERVE)
            command = [str(programs / "postgres"), "-D", name_of_current(self.data, account)]
            with site.data() as data, site.folder.appending(LOG, account) as log:
                data.refuse_pipes()
                written = log_bytes(data.name_for_children / "pg_wal")
                settings = SETTINGS | log_settings(free_bytes(data.descriptor), written)
                # In addition to the process that builds an index; PostgreSQL's default is 2.
                builders = min(2, usable_cores() - 1)
                settings["max_parallel_maintenance_workers"] = str(builders)
                command += [f"--{name}={value}" for name, value in settings.items()]
                spawn_detached(
                    command,
                    log=log,
                    account=account,
                    descriptors=[alive.descriptor],
                    folder=data.name_for_children,
                )
        finally:
            alive.release()
        deadline = time.monotonic() + START_SECONDS
        while not site.is_ready():
            if not alive.is_held():
                self._explain_end(site.log_since(position), "the embedded database did not start")
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the embedded database in {self.home} is still starting; see {self.log}"
                )
            time.sleep(0.003)
        _log.info(
            "started the embedded PostgreSQL %s of %s (process %s) in %.2f s",
            version, self.home, site.pid(), time.monotonic() - begun,
        )  # fmt: skip

    def _create(self, site: Site) -> None:
        """Create an empty database under a temporary name, and rename it when complete."""
        account = site.account
        programs = find_programs(None, self.home)
        check_entry(account)
        if free_bytes(site.folder.descriptor) < _NEW_DATABASE_BYTES + LEAST_RESERVE_BYTES:
            raise _disk_full(
                self.home,
                "a new embedded database takes "
                f"{(_NEW_DATABASE_BYTES + LEAST_RESERVE_BYTES) / 1e6:.0f} MB",
            )
        let_reach(account, [programs / "initdb", *self._by_path(account)])
        site.folder.remove_folder(_UNFINISHED, account)
        with site.folder.make(_UNFINISHED, account) as unfinished:
            made = initialise(programs, unfinished.name_for_children, role=ROLE, account=account)
        if made.returncode != 0:
            site.folder.remove_folder(_UNFINISHED, account)
            self._explain_end(made.stderr, "the embedded database could not be created")
        site.folder.rename(_UNFINISHED, DATA)

    def _clear_leftovers(self, site: Site) -> None:
        """Clean up after a killed server; we hold server.lock, so no process of it is alive."""
        self._socket.renew(site)
        pid = site.pid()
        if pid is not None and not self._is_our_server(pid):
            # The pid may have been reused; PostgreSQL would take that process for a server.
            with site.data() as data:
                data.remove("postmaster.pid")

    def stop(self, site: Site) -> bool:
        """Stop it; return whether it was running."""
        alive = site.lock("server.lock")
        if not alive.is_held():
            return False
        deadline = time.monotonic() + _STOP_SECONDS
        pid = site.pid()
        if pid is not None and self._is_our_server(pid):
            # "Fast" shutdown: roll back, write a checkpoint, exit.
            os.kill(pid, signal.SIGINT)
        while alive.is_held():
            if time.monotonic() > deadline:
                raise EmbeddedServerError(
                    f"the embedded database in {self.home} did not stop within "
                    f"{_STOP_SECONDS:.0f} s; see {self.log}"
                )
            time.sleep(0.005)
        self._socket.remove_link()
        _log.info("stopped the embedded PostgreSQL of %s (process %s)", self.home, pid)
        return True

    def _by_path(self, account: Account) -> list[Path]:
        """Return the folders that the account must access by path: none if it has another name."""
        named = name_of_current(self.data, account)
        return [self.folder] if named == str(self.data) else []

    def _is_our_server(self, pid: int) -> bool:
        import psutil

        try:
            process = psutil.Process(pid)
            return process.name() == "postgres" and Path(process.cwd()) == self.data
        except psutil.NoSuchProcess:
            return False
        except psutil.AccessDenied:
            return True

    def _explain_end(self, output: str, message: str) -> None:
        if complains_of_disk(output):
            raise _disk_full(self.home, message)
        telling = [
            line.strip()
            for line in output.splitlines()
            if re.search(r"FATAL|PANIC|error:|could not", line)
        ]
        if memory := [line for line in telling if complains_of_memory(line)]:
            message += f" for lack of shared memory ({LIMITS_OF_SHARED_MEMORY})"
        reason = (memory or telling or ["it ended without a message"])[-1]
        raise EmbeddedServerError(f"{message} in {self.home}: {reason} (log: {self.log})")


@contextlib.contextmanager
def explained(home: Path) -> Iterator[None]:
    """Turn operating system errors into errors with a remedy."""
    try:
        yield
    except OSError as error:
        if is_disk_full(error):
            raise _disk_full(home, "the embedded database cannot be used") from error
        raise EmbeddedServerError(
            f"the embedded database in {home} cannot be used: {error.strerror or error} "
            f"({error.filename or home}); check it or set another PATCHBANK_HOME"
        ) from error


def _disk_full(home: Path, message: str) -> DiskFullError:
    return DiskFullError(
        f"no space left on the disk of {home}: {message}; free some space there "
        "or set PATCHBANK_HOME to another disk"
    )
