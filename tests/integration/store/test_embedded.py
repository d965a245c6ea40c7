from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from patchbank.errors import EmbeddedServerError
from patchbank.store.database import open_database
from patchbank.store.embedded.accounts import Account, account_for, let_reach
from patchbank.store.embedded.programs import find_programs
from patchbank.store.embedded.server import EmbeddedServer
from tests.fixtures.banks import make_bank

ROOT = os.geteuid() == 0

OPEN = """
import sys
from pathlib import Path
from patchbank.store.database import open_database
with open_database(None, Path(sys.argv[1]), idle_minutes=60) as database:
    with database.connection() as connection:
        connection.execute(
            "insert into category (name) values (%s) on conflict do nothing", [sys.argv[2]]
        )
    print(database.status().pid, flush=True)
"""

STAY = """
import time
print("open", flush=True)
time.sleep(60)
"""

BECOME = """
import os
import psutil
import patchbank.store.database
os.setgroups([])
os.setgid({gid})
os.setuid({uid})
"""

EXPLAIN = """
import sys
from pathlib import Path
from patchbank.errors import PatchbankError
from patchbank.store.database import open_database
try:
    open_database(None, Path(sys.argv[1])).close()
except PatchbankError as error:
    print(type(error).__name__, error)
"""


def _connect(server: EmbeddedServer) -> psycopg.Connection:
    return server.connect(lambda conninfo: psycopg.connect(conninfo, autocommit=True))


def _wait(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


@pytest.fixture(scope="module")
def shared_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    home = tmp_path_factory.mktemp("embedded")
    yield home
    EmbeddedServer(home).stop()


@pytest.fixture
def server(shared_home: Path) -> EmbeddedServer:
    """A running server with one bank in it."""
    with open_database(None, shared_home, idle_minutes=60) as database:
        if not database.categories.list():
            database.banks.save("tile", make_bank())
    return EmbeddedServer(shared_home, idle_minutes=60)


def _pid(server: EmbeddedServer) -> int:
    pid = server.status().pid
    assert pid is not None
    return pid


def _assert_bank_there(server: EmbeddedServer) -> None:
    with open_database(None, server.home, idle_minutes=60) as database:
        assert database.banks.active("tile").content.features.shape == (60, 8)


def test_several_processes_open_a_fresh_home_at_once(tmp_path: Path) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, str(tmp_path), f"category {number}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(3)
    ]
    try:
        outputs = [process.communicate(timeout=60) for process in processes]
        assert [error for _, error in outputs] == ["", "", ""]
        # One server for all, and it outlives them.
        assert len({output for output, _ in outputs}) == 1
        with open_database(None, tmp_path) as database:
            assert len(database.categories.list()) == 3
            assert f"{database.status().pid}\n" == outputs[0][0]
    finally:
        EmbeddedServer(tmp_path).stop()


def test_a_home_with_a_long_and_odd_path(tmp_path: Path) -> None:
    home = tmp_path / ("long " * 20).strip() / 'it\'s, "odd" = 100 % ä' / ("x" * 60)
    assert len(os.fsencode(home)) > 150
    server = EmbeddedServer(home, idle_minutes=60)
    try:
        with open_database(None, home, idle_minutes=60) as database:
            database.banks.save("tile", make_bank())
        # The short way to the socket may be cleaned away, as temporary folders are.
        link = Path(str(psycopg.conninfo.conninfo_to_dict(server.conninfo())["host"]))
        assert link.is_symlink()
        link.unlink()
        pid = _pid(server)
        with open_database(None, home) as database:
            assert [c.name for c in database.categories.list()] == ["tile"]
        assert _pid(server) == pid
        # What another puts in its place is not followed.
        link.unlink()
        link.symlink_to(tmp_path)
        with pytest.raises(EmbeddedServerError, match="in the way"):
            open_database(None, home)
        link.unlink()
        with open_database(None, home) as database:
            assert [c.name for c in database.categories.list()] == ["tile"]
    finally:
        server.stop()
    assert not link.is_symlink()


def test_opening_opens_no_folder_to_others(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    server = EmbeddedServer(tmp_path / "home", idle_minutes=60)
    try:
        _connect(server).close()
        assert tmp_path.stat().st_mode & 0o777 == 0o700
        for folder in (server.folder, server.data, server.folder / "socket"):
            assert folder.stat().st_mode & 0o077 == 0
        # A crash makes the server look its folders up again.
        with _connect(server) as connection:
            row = connection.execute(
                "select pid from pg_stat_activity where backend_type = 'checkpointer'"
            ).fetchone()
            assert row is not None
            os.kill(row[0], signal.SIGKILL)
        _wait(lambda: "all server processes terminated" in server.log.read_text())
        with _connect(server) as connection:
            assert connection.execute("show listen_addresses").fetchone() == ("",)
            assert connection.execute("show fsync").fetchone() == ("on",)
    finally:
        server.stop()


def test_stop_and_status(server: EmbeddedServer) -> None:
    status = server.status()
    assert status.running
    assert status.pid is not None
    assert status.size_bytes > 10_000_000
    _wait(lambda: server.status().keeper_pid is not None)
    assert server.stop()
    status = server.status()
    assert (status.running, status.pid, status.keeper_pid) == (False, None, None)
    assert not server.stop()
    _assert_bank_there(server)


def test_a_home_never_used_has_a_status(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path / "nothing")
    assert not server.status().running
    assert not server.stop()
    assert not (tmp_path / "nothing").exists()


def test_a_killed_server_recovers(server: EmbeddedServer) -> None:
    pid = _pid(server)
    os.kill(pid, signal.SIGKILL)
    _assert_bank_there(server)
    assert _pid(server) != pid


def test_a_server_killed_with_all_its_processes_recovers(server: EmbeddedServer) -> None:
    with _connect(server) as connection:
        rows = connection.execute("select pid from pg_stat_activity").fetchall()
    pids = {_pid(server)} | {pid for (pid,) in rows}
    for pid in pids:
        os.kill(pid, signal.SIGKILL) if _alive(pid) else None
    _assert_bank_there(server)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_number_that_is_now_another_process_is_no_server(server: EmbeddedServer) -> None:
    server.stop()
    pid_file = server.data / "postmaster.pid"
    pid_file.write_text(f"{os.getpid()}\n{server.data}\n1\n5432\n../socket\n\n0 0\nready   \n")
    assert not server.is_running()
    _assert_bank_there(server)


def test_a_lost_socket_is_made_again(server: EmbeddedServer) -> None:
    (server.folder / "socket" / ".s.PGSQL.5432").unlink()
    _assert_bank_there(server)


def test_a_half_made_database_is_made_again(tmp_path: Path) -> None:
    server = EmbeddedServer(tmp_path, idle_minutes=60)
    (server.folder / "data.new").mkdir(parents=True)
    (server.folder / "data.new" / "PG_VERSION").write_text("18\n")
    if ROOT:
        account = account_for(tmp_path)
        for folder in (server.folder, server.folder / "data.new"):
            os.chown(folder, account.uid, account.gid)
    try:
        _connect(server).close()
        assert not (server.folder / "data.new").exists()
    finally:
        server.stop()


def test_an_open_database_gets_over_a_stop(shared_home: Path, server: EmbeddedServer) -> None:
    with open_database(None, shared_home, idle_minutes=60) as database:
        assert server.stop()
        assert database.banks.active_version("tile") == 1
        os.kill(_pid(server), signal.SIGKILL)
        _wait(lambda: not server.is_running())
        assert database.banks.active_version("tile") == 1


@pytest.mark.serial
def test_an_idle_server_stops_but_not_under_a_client(server: EmbeddedServer) -> None:
    server.stop()
    with open_database(None, server.home, idle_minutes=0.5 / 60) as database:
        pid = _pid(server)
        time.sleep(1.5)
        assert database.banks.active_version("tile") == 1
        assert _pid(server) == pid
    _wait(lambda: not server.is_running(), seconds=10)
    _wait(lambda: server.status().keeper_pid is None, seconds=10)
    _assert_bank_there(server)


@pytest.mark.serial
def test_clients_that_come_while_it_stops_are_served(server: EmbeddedServer) -> None:
    server.stop()
    for _ in range(8):
        with open_database(None, server.home, idle_minutes=0.1 / 60) as database:
            assert database.banks.active_version("tile") == 1
        time.sleep(0.12)
    server.stop()


def test_a_killed_keeper_is_replaced(server: EmbeddedServer) -> None:
    _wait(lambda: server.status().keeper_pid is not None)
    keeper = server.status().keeper_pid
    assert keeper is not None
    os.kill(keeper, signal.SIGKILL)
    _wait(lambda: server.status().keeper_pid is None)
    assert server.is_running()
    _assert_bank_there(server)
    _wait(lambda: server.status().keeper_pid not in (None, keeper))


def test_ctrl_c_reaches_neither_server_nor_keeper(server: EmbeddedServer) -> None:
    server.stop()
    process = subprocess.Popen(
        [sys.executable, "-c", OPEN + STAY, str(server.home), "tile"],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    assert process.stdout.readline() == "open\n"
    _wait(lambda: server.status().keeper_pid is not None)
    keeper = server.status().keeper_pid
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=20)
    assert (server.status().pid, server.status().keeper_pid) == (pid, keeper)
    assert {os.getsid(pid), os.getsid(keeper or 0)}.isdisjoint({process.pid, os.getsid(0)})
    _assert_bank_there(server)


def test_a_server_that_cannot_start_says_why(server: EmbeddedServer) -> None:
    server.stop()
    configuration = server.data / "postgresql.conf"
    kept = configuration.read_text()
    configuration.write_text(kept + "\nno_such_setting = on\n")
    try:
        with pytest.raises(EmbeddedServerError, match="configuration file") as raised:
            open_database(None, server.home)
        assert "\n" not in str(raised.value)
    finally:
        configuration.write_text(kept)
    _assert_bank_there(server)


def test_a_database_of_another_postgresql_is_refused(server: EmbeddedServer) -> None:
    server.stop()
    version = server.data / "PG_VERSION"
    kept = version.read_text()
    version.write_text("9\n")
    try:
        with pytest.raises(EmbeddedServerError, match=r"created by PostgreSQL 9.*pg_upgrade"):
            open_database(None, server.home)
    finally:
        version.write_text(kept)


@pytest.fixture
def ordinary(tmp_path: Path) -> Iterator[tuple[Account, Path]]:
    """An ordinary user (this one, unless it is root) and a folder of theirs."""
    if not ROOT:
        yield Account(os.geteuid(), os.getegid(), switch=False), tmp_path
        return
    account = account_for(tmp_path)
    let_reach(account, [find_programs(None, tmp_path) / "postgres"])
    with tempfile.TemporaryDirectory(prefix="patchbank-ordinary-") as folder:
        os.chown(folder, account.uid, account.gid)
        yield account, Path(folder)


def _run(account: Account, script: str, *arguments: object) -> str:
    if account.switch:
        # Python itself may be where only root can reach it: it is loaded first.
        script = BECOME.format(uid=account.uid, gid=account.gid) + script
    done = subprocess.run(
        [sys.executable, "-P", "-c", script, *map(str, arguments)],
        cwd="/",
        text=True,
        capture_output=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def test_an_ordinary_user_has_a_server_too(ordinary: tuple[Account, Path]) -> None:
    account, folder = ordinary
    try:
        first = _run(account, OPEN, folder / "home", "tile")
        assert _run(account, OPEN, folder / "home", "tile") == first
        assert (folder / "home/postgres/data").stat().st_uid == account.uid
        # Root may look in, and leaves nothing the user could not use.
        with open_database(None, folder / "home") as database:
            assert [c.name for c in database.categories.list()] == ["tile"]
        assert EmbeddedServer(folder / "home").stop()
        assert _run(account, OPEN, folder / "home", "tile") != first
    finally:
        EmbeddedServer(folder / "home").stop()


@pytest.mark.skipif(not ROOT, reason="nobody else can own a folder here")
def test_a_server_of_another_user_is_refused(ordinary: tuple[Account, Path]) -> None:
    account, folder = ordinary
    (folder / "postgres").mkdir()
    output = _run(account, EXPLAIN, folder)
    assert output.startswith("EmbeddedServerError the embedded database in")
    assert "belongs to root" in output
    assert "PATCHBANK_HOME" in output
    assert output.count("\n") == 1


@pytest.mark.parametrize("place", ["/usr/no-right-to-write", "/etc/passwd", "/etc/passwd/below"])
def test_a_home_that_cannot_be_is_refused(ordinary: tuple[Account, Path], place: str) -> None:
    output = _run(ordinary[0], EXPLAIN, place)
    assert output.startswith(f"EmbeddedServerError the embedded database in {place}")
    assert "PATCHBANK_HOME" in output
    assert output.count("\n") == 1


def test_the_log_is_kept_small(server: EmbeddedServer) -> None:
    server.stop()
    with server.log.open("ab") as log:
        log.write(b"x" * 6_000_000)
    _assert_bank_there(server)
    assert server.log.stat().st_size < 1_000_000
