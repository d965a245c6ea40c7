"""The keeper: a small process that stops an idle embedded server.

If it is killed, the server stays up and the next command starts another keeper.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psycopg

from patchbank.errors import PatchbankError
from patchbank.store.embedded.server import KEEPER_APPLICATION, EmbeddedServer

_CLIENTS = b"""
select count(*) from pg_stat_activity
where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name <> %(keeper)s
"""
# Also counts clients that connected and left between two checks.
_SESSIONS = b"select coalesce(sum(sessions), 0)::bigint from pg_stat_database"


def watch(server: EmbeddedServer, idle_seconds: float) -> None:
    """Wait until the server has had no client for `idle_seconds`, and stop it.

    Return early if the server stops for another reason.
    """
    look_seconds = min(30.0, idle_seconds / 5)
    last_used = time.monotonic()
    sessions = -1
    while server.is_running():
        try:
            with psycopg.connect(
                server.conninfo(), autocommit=True, application_name=KEEPER_APPLICATION
            ) as connection:
                while True:
                    seen = _number(connection, _SESSIONS)
                    if seen != sessions or not _is_idle(connection):
                        sessions = seen
                        last_used = time.monotonic()
                    left = idle_seconds - (time.monotonic() - last_used)
                    if left <= 0 and server.stop_if(lambda: _is_idle(connection)):
                        return
                    # Wait on the connection, to notice at once if the server stops.
                    for _ in connection.notifies(timeout=max(0.01, min(look_seconds, left))):
                        pass
        except psycopg.OperationalError:
            # It stopped or is recovering from a crash.
            time.sleep(0.2)


def _is_idle(connection: psycopg.Connection[tuple[int]]) -> bool:
    return _number(connection, _CLIENTS) == 0


def _number(connection: psycopg.Connection[tuple[int]], query: bytes) -> int:
    row = connection.execute(query, {"keeper": KEEPER_APPLICATION}).fetchone()
    return row[0] if row is not None else 0


def main(arguments: list[str]) -> int | str:
    """Run as ``python -m patchbank.store.embedded.keeper HOME IDLE_SECONDS LOCK``.

    LOCK is the inherited descriptor of keeper.lock, which is already locked.
    """
    home, idle_seconds, lock = arguments
    # Show who holds the lock.
    os.ftruncate(int(lock), 0)
    os.pwrite(int(lock), f"{os.getpid()}\n".encode(), 0)
    try:
        watch(EmbeddedServer(Path(home)), float(idle_seconds))
    except PatchbankError as error:
        return str(error)
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
