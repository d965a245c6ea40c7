"""A server that is there and says nothing, or is gone: nobody waits for ever, nor long for it."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from patchbank.errors import DatabaseUnreachableError
from patchbank.store.connecting import Limits
from patchbank.store.database import Database, open_database
from tests.fixtures.banks import make_bank
from tests.fixtures.database import NetworkServer

pytestmark = pytest.mark.serial

LIMITS = Limits(connect=2, answer=0.5)


@pytest.fixture
def network_database(network_server: NetworkServer, tmp_path: Path) -> Iterator[Database]:
    """An open database on the server with a port, with one bank in it."""
    with psycopg.connect(network_server.url(), autocommit=True) as connection:
        connection.execute("create database silent")
    with open_database(network_server.url("silent"), tmp_path, limits=LIMITS) as database:
        database.banks.save("tile", make_bank())
        yield database
    with psycopg.connect(network_server.url(), autocommit=True) as connection:
        connection.execute("drop database silent with (force)")


@contextmanager
def _stopped(server: NetworkServer) -> Iterator[None]:
    """Stop the server's processes where they are: the kernel goes on taking what is sent."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        rows = connection.execute("select pid from pg_stat_activity").fetchall()
    pids = [server.pid, *(pid for (pid,) in rows)]
    alive = [pid for pid in pids if _signalled(pid, signal.SIGSTOP)]
    try:
        yield
    finally:
        # One that was ending is gone as soon as its parent goes on.
        for pid in alive:
            _signalled(pid, signal.SIGCONT)


def _signalled(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def test_a_silent_server_is_given_up(
    network_server: NetworkServer, network_database: Database
) -> None:
    with _stopped(network_server):
        begun = time.monotonic()
        with pytest.raises(DatabaseUnreachableError, match=r"did not answer within 0\.5 s"):
            network_database.banks.active_key("tile")
        # What takes long is given up too, when nobody else is answered either.
        with pytest.raises(DatabaseUnreachableError, match="timeout expired"):
            network_database.banks.save("tile", make_bank())
        assert time.monotonic() - begun < 20
    begun = time.monotonic()
    assert network_database.banks.active_key("tile")[1] == 1
    # Generous: other tests may run beside.
    assert time.monotonic() - begun < 3


def test_what_takes_long_goes_on_while_the_server_answers_others(
    network_database: Database,
) -> None:
    begun = time.monotonic()
    with network_database.connection(long=True) as connection:
        connection.execute("select pg_sleep(1.2)")
    assert time.monotonic() - begun > 1.2
    with (
        pytest.raises(DatabaseUnreachableError, match="did not answer"),
        network_database.connection() as connection,
    ):
        connection.execute("select pg_sleep(60)")
    # Nor does the server go on with it.
    with network_database.connection() as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity "
            "where query like 'select pg_sleep%' and state = 'active'"
        ).fetchone()
    assert row == (0,)


def test_who_takes_connections_and_says_nothing_is_no_server(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"postgresql://anna:hunter2@127.0.0.1:{mute.getsockname()[1]}/parts"
        begun = time.monotonic()
        with pytest.raises(DatabaseUnreachableError, match="timeout") as raised:
            open_database(url, tmp_path, limits=LIMITS)
        assert time.monotonic() - begun < 4
        assert "hunter2" not in str(raised.value)


class _Relay:
    """Passes bytes between clients and a server, until it swallows them."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.swallows = False
        self._open = [self._listening]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._to))
            self._open += [client, server]
            for source, target in ((client, server), (server, client)):
                threading.Thread(target=self._pass_on, args=(source, target), daemon=True).start()

    def _pass_on(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                if not self.swallows:
                    target.sendall(data)
        except OSError:
            pass

    def close(self) -> None:
        for connection in self._open:
            connection.close()


def test_a_network_that_swallows_everything_is_given_up(
    network_server: NetworkServer, network_database: Database, tmp_path: Path
) -> None:
    relay = _Relay(network_server.port)
    url = network_server.url("silent").replace(f":{network_server.port}/", f":{relay.port}/")
    with closing(relay), open_database(url, tmp_path, limits=LIMITS) as database:
        assert database.banks.active_key("tile")[1] == 1
        relay.swallows = True
        begun = time.monotonic()
        with pytest.raises(DatabaseUnreachableError, match="did not answer"):
            database.banks.active_key("tile")
        assert time.monotonic() - begun < 4
        relay.swallows = False
        assert database.banks.active_key("tile")[1] == 1


def test_connections_that_were_all_cut_cost_no_time(
    network_server: NetworkServer, network_database: Database
) -> None:
    def use(count: int) -> None:
        barrier = threading.Barrier(count)

        def one() -> None:
            with network_database.connection():
                barrier.wait(timeout=10)

        threads = [threading.Thread(target=one) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    use(8)
    with psycopg.connect(network_server.url(), autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = 'silent'"
        )
    begun = time.monotonic()
    for _ in range(10):
        assert network_database.banks.active_version("tile") == 1
    assert time.monotonic() - begun < 3
