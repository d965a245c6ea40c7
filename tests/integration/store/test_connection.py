from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psycopg
import pytest
from psycopg.pq import TransactionStatus

from patchbank.errors import (
    DatabaseError,
    DatabaseTooNewError,
    DatabaseUnreachableError,
    ParameterError,
    PatchbankError,
    PgvectorMissingError,
)
from patchbank.store.database import Database, open_database
from patchbank.store.embedded.server import EmbeddedServer
from tests.fixtures.banks import make_bank
from tests.fixtures.database import NetworkServer


def _refused(url: str, home: Path, error: type[PatchbankError], *words: str) -> None:
    """Check that opening fails with one line that has all the words."""
    with pytest.raises(error) as raised:
        open_database(url, home).close()
    message = str(raised.value)
    assert type(raised.value) is error
    assert "\n" not in message
    for word in words:
        assert word in message, message


@pytest.fixture
def network_url(network_server: NetworkServer) -> Iterator[str]:
    """A fresh database of the server with a port."""
    with psycopg.connect(network_server.url(), autocommit=True) as connection:
        connection.execute("create database parts")
    yield network_server.url("parts")
    with psycopg.connect(network_server.url(), autocommit=True) as connection:
        connection.execute("drop database parts with (force)")


def _execute(url: str, *statements: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def test_a_server_of_ones_own_is_used(network_url: str, tmp_path: Path) -> None:
    bank = make_bank()
    with open_database(network_url, tmp_path) as database:
        assert database.banks.save("tile", bank) == 1
        np.testing.assert_array_equal(database.banks.active("tile").content.features, bank.features)
        status = database.status()
    assert not status.embedded
    assert status.pid is None
    assert status.server_version.startswith("18")
    assert status.pgvector_version.startswith("0.8")
    assert status.size_bytes > 1_000_000
    assert status.uptime_seconds > 0
    assert "owner@127.0.0.1" in status.url
    # No home is made where none is needed.
    assert list(tmp_path.iterdir()) == []


def test_the_embedded_server_has_a_status(embedded_server: EmbeddedServer) -> None:
    with open_database(None, embedded_server.home, idle_minutes=60) as database:
        status = database.status()
    assert status.embedded
    assert (status.url, status.pid) == ("embedded", embedded_server.status().pid)


def test_nobody_listens(tmp_path: Path) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        url = f"postgresql://anna:hunter2@127.0.0.1:{port}/parts"
        _refused(
            url, tmp_path, DatabaseUnreachableError,
            "'parts'", "127.0.0.1", str(port), "'anna'", "refused", "listen_addresses",
            "PATCHBANK_DATABASE_URL",
        )  # fmt: skip


def test_no_such_host(tmp_path: Path) -> None:
    url = "postgresql://anna:hunter2@no-such-host.invalid/parts"
    _refused(url, tmp_path, DatabaseUnreachableError, "no-such-host.invalid", "'anna'")


def test_wrong_password(network_server: NetworkServer, tmp_path: Path) -> None:
    url = network_server.url(password="hunter2")
    _refused(
        url, tmp_path, DatabaseUnreachableError,
        "'postgres' on 127.0.0.1", str(network_server.port), "as user 'owner'",
        "password authentication failed", "correct the user or the password in the URL",
    )  # fmt: skip
    with pytest.raises(DatabaseUnreachableError) as raised:
        open_database(url, tmp_path)
    chain: BaseException | None = raised.value
    while chain is not None:
        assert "hunter2" not in str(chain)
        chain = chain.__cause__


def test_no_such_database(network_server: NetworkServer, tmp_path: Path) -> None:
    _refused(
        network_server.url("none"),
        tmp_path,
        DatabaseUnreachableError,
        '"none" does not exist',
        "127.0.0.1",
        str(network_server.port),
        "'owner'",
        "createdb",
    )


@pytest.mark.parametrize(
    ("change", "reason", "remedy"),
    [
        ("alter role {role} nologin", "not permitted to log in", "`alter role ... login`"),
        (
            "alter role {role} connection limit 0",
            "too many connections for role",
            "`alter role ... connection limit`",
        ),
        (
            "alter database {role} connection limit 0",
            "too many connections for database",
            "`alter database ... connection limit`",
        ),
        (
            "alter database {role} allow_connections false",
            "not currently accepting",
            "`alter database ... allow_connections true`",
        ),
        ("drop database {role}", 'database "timeout" does not exist', "`createdb`"),
    ],
)
def test_the_remedy_is_that_of_the_reason(
    network_server: NetworkServer, tmp_path: Path, change: str, reason: str, remedy: str
) -> None:
    # A name may be a word that messages have too.
    role = "timeout"
    with psycopg.connect(network_server.url(), autocommit=True) as connection:
        connection.execute(f"create role {role} login password 'geheim'".encode())
        connection.execute(f"create database {role}".encode())
        try:
            connection.execute(change.format(role=role).encode())
            url = network_server.url(role, user=role, password="geheim")
            _refused(url, tmp_path, DatabaseUnreachableError, reason, remedy)
        finally:
            connection.execute(f"drop database if exists {role}".encode())
            connection.execute(f"drop role {role}".encode())


def test_no_password(network_server: NetworkServer, tmp_path: Path) -> None:
    url = f"postgresql://owner@127.0.0.1:{network_server.port}/postgres?passfile=/nowhere"
    _refused(url, tmp_path, DatabaseUnreachableError, "no password supplied", "~/.pgpass")


def test_no_such_user(network_server: NetworkServer, tmp_path: Path) -> None:
    # A server that trusts says so; one that asks for passwords does not tell who exists.
    url = network_server.url(user="nobody")
    _refused(url, tmp_path, DatabaseUnreachableError, "'nobody'", "correct the user")


def test_no_line_in_pg_hba(network_server: NetworkServer, tmp_path: Path) -> None:
    with psycopg.connect(network_server.url(), autocommit=True) as connection:
        before = network_server.access.read_text()
        network_server.access.write_text("host all owner 127.0.0.1/32 scram-sha-256\n")
        connection.execute("select pg_reload_conf()")
        try:
            _eventually_refused(
                network_server.url(user="stranger"), tmp_path,
                "no pg_hba.conf entry", "'stranger'", "'postgres'", "127.0.0.1", "add a line",
            )  # fmt: skip
        finally:
            network_server.access.write_text(before)
            connection.execute("select pg_reload_conf()")


def _eventually_refused(url: str, home: Path, *words: str) -> None:
    """Check the error once the server has read its files again."""
    deadline = time.monotonic() + 10
    while True:
        with pytest.raises(DatabaseUnreachableError) as raised:
            open_database(url, home).close()
        if words[0] in str(raised.value) or time.monotonic() > deadline:
            break
        time.sleep(0.02)
    for word in words:
        assert word in str(raised.value), raised.value


def test_a_user_who_may_not_connect(
    network_server: NetworkServer, network_url: str, tmp_path: Path
) -> None:
    _execute(
        network_url,
        f"create role guest login password '{network_server.password}'",
        "revoke connect on database parts from public",
    )
    try:
        _refused(
            network_server.url("parts", user="guest"), tmp_path, DatabaseUnreachableError,
            "permission denied for database", "'guest'", "grant connect on database",
        )  # fmt: skip
    finally:
        _execute(network_url, "drop role guest")


def test_no_url(tmp_path: Path) -> None:
    _refused("parts.sqlite", tmp_path, ParameterError, "PATCHBANK_DATABASE_URL")


def test_a_server_without_pgvector(network_url: str, tmp_path: Path) -> None:
    # PostgreSQL 18 looks for extensions where this says; elsewhere it sees none.
    _execute(network_url, "alter database parts set extension_control_path = '/nowhere'")
    _refused(network_url, tmp_path, PgvectorMissingError, "no pgvector", "install", "'parts'")


def test_a_user_who_may_not_create_pgvector(
    network_server: NetworkServer, network_url: str, tmp_path: Path
) -> None:
    _execute(
        network_url,
        "drop role if exists worker",
        f"create role worker login password '{network_server.password}'",
        "grant all on database parts to worker",
    )
    url = network_server.url("parts", user="worker")
    try:
        _refused(url, tmp_path, PgvectorMissingError, "superuser", "create extension vector")
        # Once it is there, an ordinary owner suffices.
        _execute(network_url, "create extension vector")
        with open_database(url, tmp_path) as database:
            assert database.banks.save("tile", make_bank()) == 1
    finally:
        _execute(network_url, "drop owned by worker cascade", "drop role worker")


def test_a_user_who_may_create_nothing(
    network_server: NetworkServer, network_url: str, tmp_path: Path
) -> None:
    _execute(
        network_url,
        "create extension vector",
        f"create role reader login password '{network_server.password}'",
    )
    url = network_server.url("parts", user="reader")
    try:
        _refused(url, tmp_path, DatabaseError, "permission denied", "role that may create")
    finally:
        _execute(network_url, "drop role reader")


def test_an_old_pgvector(empty_database_url: str, tmp_path: Path) -> None:
    _execute(
        empty_database_url,
        "create extension vector",
        "update pg_extension set extversion = '0.7.4' where extname = 'vector'",
    )
    _refused(empty_database_url, tmp_path, PgvectorMissingError, "0.7.4", "0.8 or newer")


def test_a_user_who_may_not_use_pgvectors_schema(
    network_server: NetworkServer, network_url: str, tmp_path: Path
) -> None:
    _execute(
        network_url,
        'create schema "My Tools"',
        'create extension vector schema "My Tools"',
        "drop role if exists worker",
        f"create role worker login password '{network_server.password}'",
        "grant all on database parts to worker",
    )
    url = network_server.url("parts", user="worker")
    try:
        _refused(url, tmp_path, DatabaseError, 'grant usage on schema "My Tools" to "worker"')
        _execute(network_url, 'grant usage on schema "My Tools" to worker')
        open_database(url, tmp_path).close()
    finally:
        _execute(network_url, "drop owned by worker cascade", "drop role worker")


def test_a_database_of_another_encoding(
    network_server: NetworkServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What the user's own programs speak is no concern of ours.
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN9")
    _execute(
        network_server.url(),
        "create database latin encoding latin1 locale 'C' template template0",
    )
    try:
        with open_database(network_server.url("latin"), tmp_path) as database:
            assert database.banks.save("tölö", make_bank()) == 1
            assert [category.name for category in database.categories.list()] == ["tölö"]
            with pytest.raises(ParameterError, match=r"LATIN1.*createdb --encoding=UTF8") as raised:
                database.banks.save("手", make_bank())
            assert "\n" not in str(raised.value)
            with pytest.raises(ParameterError, match="is not valid UTF-8"):
                database.categories.get("b\udcffd")
            with pytest.raises(ParameterError, match="NUL byte"):
                database.categories.get("b\0d")
    finally:
        _execute(network_server.url(), "drop database latin with (force)")


def test_pgvector_may_be_installed_anywhere(empty_database_url: str, tmp_path: Path) -> None:
    _execute(
        empty_database_url, 'create schema "My Tools"', 'create extension vector schema "My Tools"'
    )
    bank = make_bank()
    with open_database(empty_database_url, tmp_path) as database:
        database.banks.save("tile", bank)
        np.testing.assert_array_equal(
            database.banks.active("tile").content.embeddings, bank.embeddings
        )
        found = database.images.similar(
            database.banks.active_key("tile"), bank.embeddings[2], top=1
        )
    assert found[0].name == bank.images[2].name


def test_a_database_of_a_newer_program(database_url: str, tmp_path: Path) -> None:
    _execute(database_url, "insert into patchbank.migration (name) values ('2999-01-01-01-more')")
    _refused(database_url, tmp_path, DatabaseTooNewError, "2999-01-01-01-more", "upgrade")


def test_many_open_an_empty_database_at_once(empty_database_url: str, tmp_path: Path) -> None:
    def save(number: int) -> int:
        with open_database(empty_database_url, tmp_path, max_connections=2) as database:
            return database.banks.save(f"category {number}", make_bank())

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(save, range(6))) == [1] * 6


def test_a_lost_connection_is_replaced(database: Database, database_url: str) -> None:
    database.banks.save("tile", make_bank())
    _execute(
        database_url,
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity "
        "where datname = current_database() and pid <> pg_backend_pid()",
    )
    assert database.banks.active_version("tile") == 1


def test_a_connection_lost_in_the_middle_is_said(database: Database) -> None:
    with (
        pytest.raises(DatabaseUnreachableError, match="try again"),
        database.connection() as connection,
    ):
        connection.execute("select pg_terminate_backend(pg_backend_pid())")
    assert database.categories.list() == []


def test_a_closed_database_says_so(database: Database) -> None:
    database.close()
    with pytest.raises(DatabaseError, match="closed"):
        database.categories.list()


def test_no_more_connections_than_asked_for(database_url: str, tmp_path: Path) -> None:
    with open_database(database_url, tmp_path, max_connections=2) as database:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(lambda _: database.categories.list(), range(40)))
        with database.connection() as connection:
            row = connection.execute(
                "select count(*) from pg_stat_activity where datname = current_database()"
            ).fetchone()
    assert row is not None
    assert row[0] <= 2


def test_a_single_statement_is_a_transaction_of_its_own(database: Database) -> None:
    with database.statement() as connection:
        connection.execute("create table patchbank.kept (number integer)")
        with pytest.raises(psycopg.errors.DivisionByZero):
            connection.execute(
                "insert into patchbank.kept select 1 / (2 - n) from generate_series(1, 2) n"
            )
        connection.execute("insert into patchbank.kept values (7)")
    with database.connection() as connection:
        # It is in a transaction again: what is not committed is not kept.
        assert connection.info.transaction_status == TransactionStatus.INTRANS
        assert connection.execute("select number from kept").fetchall() == [(7,)]
        connection.execute("drop table kept")


def test_a_connection_that_was_cut_is_replaced(database: Database, database_url: str) -> None:
    with database.connection() as connection:
        first = connection.info.backend_pid
    with database.connection() as connection:
        assert connection.info.backend_pid == first
        others = [first]
    with psycopg.connect(database_url, autocommit=True) as outside:
        for pid in others:
            outside.execute("select pg_terminate_backend(%s, 5000)", [pid])
    with database.statement() as connection:
        assert connection.info.backend_pid != first
        assert connection.execute("select 1").fetchone() == (1,)


def test_an_interrupted_statement_passes_on_and_leaves_ordinary_connections(
    database: Database,
) -> None:
    def interrupted() -> None:
        with database.statement() as connection:
            # As when a signal comes while the server is at work.
            connection.pgconn.send_query(b"select pg_sleep(0.2)")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    for _ in range(3):
        with database.connection() as connection:
            assert connection.execute("select 1").fetchone() == (1,)
