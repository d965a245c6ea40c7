"""What containers do to a server: little shared memory, users without an account."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from patchbank.store.embedded.accounts import account_for, let_reach
from patchbank.store.embedded.programs import find_programs
from patchbank.store.embedded.server import EmbeddedServer

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount and change its user")

# A number that no machine gives an account.
NOBODY_AT_ALL = 2_000_000_017

INDEX = """
import sys
from pathlib import Path
from patchbank.store.database import open_database
with open_database(None, Path(sys.argv[1]), idle_minutes=60) as database:
    with database.connection() as connection:
        for statement in (
            "create table vectors as select i, array_fill(random()::real, array[64])::vector(64)"
            " as v from generate_series(1, 3000) as i",
            "set maintenance_work_mem = '64MB'",
            "set min_parallel_table_scan_size = 0",
            "set client_min_messages = debug1",
        ):
            connection.execute(statement)
        notices = []
        connection.add_notice_handler(lambda notice: notices.append(notice.message_primary))
        connection.execute("create index on vectors using hnsw (v vector_l2_ops)")
    assert any("parallel workers" in notice for notice in notices), notices
"""

AS_USER = """
import os
import sys
import psutil
import patchbank.store.database
from pathlib import Path
from patchbank.errors import PatchbankError
os.setgroups([])
os.setgid(int(sys.argv[2]))
os.setuid(int(sys.argv[2]))
try:
    with patchbank.store.database.open_database(None, Path(sys.argv[1])) as database:
        print("open", database.status().pid)
except PatchbankError as error:
    print(error)
"""


def _mounts() -> bool:
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=16k", "none", "/dev/shm"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


if os.geteuid() == 0 and _mounts():

    @pytest.mark.parametrize("size", ["0", "16k"])
    def test_a_tiny_dev_shm_does_no_harm(tmp_path: Path, size: str) -> None:
        # One file of a page is all there is room for, and it is taken.
        mount = "mount -t tmpfs -o size=16k none /dev/shm"
        if size == "0":
            mount += " && head -c 16k /dev/zero >/dev/shm/taken"
        done = subprocess.run(
            ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh",
             sys.executable, "-c", INDEX, str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )  # fmt: skip
        EmbeddedServer(tmp_path).stop()
        assert (done.returncode, done.stderr) == (0, "")


@pytest.fixture
def strangers_home() -> Iterator[Path]:
    """A home of a user id without an account."""
    let_reach(account_for(Path()), [find_programs(None, Path()) / "postgres"])
    with tempfile.TemporaryDirectory(prefix="patchbank-stranger-") as folder:
        os.chown(folder, NOBODY_AT_ALL, NOBODY_AT_ALL)
        home = Path(folder) / "home"
        yield home
        EmbeddedServer(home).stop()


def _as_user(home: Path) -> str:
    done = subprocess.run(
        [sys.executable, "-P", "-c", AS_USER, str(home), str(NOBODY_AT_ALL)],
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


@only_root
def test_a_user_without_an_account_is_told_what_to_do(strangers_home: Path) -> None:
    message = _as_user(strangers_home)
    assert message.startswith(f"user id {NOBODY_AT_ALL} has no account")
    assert "/etc/passwd" in message
    assert "PATCHBANK_DATABASE_URL" in message
    assert message.count("\n") == 1
    assert not list((strangers_home / "postgres").glob("data*"))


@only_root
def test_a_user_without_an_account_uses_a_database_that_is_there(strangers_home: Path) -> None:
    server = EmbeddedServer(strangers_home)
    strangers_home.mkdir()
    server.connect(lambda address: psycopg.connect(address)).close()
    server.stop()
    for path in (strangers_home, *strangers_home.rglob("*")):
        os.chown(path, NOBODY_AT_ALL, NOBODY_AT_ALL, follow_symlinks=False)
    assert _as_user(strangers_home).startswith("open ")
