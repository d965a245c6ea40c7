"""Links in a home: whoever laid them, nothing of root's is given away, removed or written."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from patchbank.errors import EmbeddedServerError, PatchbankError, UnsafePathError
from patchbank.store.embedded.server import EmbeddedServer

ROOT = os.geteuid() == 0
only_root = pytest.mark.skipif(not ROOT, reason="only root works in other accounts' folders")


@dataclass(frozen=True)
class Planted:
    """A home of another account (of ours unless we are root), and a folder of ours beside it."""

    home: Path
    treasure: Path
    uid: int
    gid: int

    @property
    def postgres(self) -> Path:
        return self.home / "postgres"

    def own(self, *paths: Path) -> None:
        """Give paths to the other account, links themselves."""
        for path in paths:
            os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def make(self, *folders: Path) -> None:
        for folder in folders:
            folder.mkdir(mode=0o700)
            self.own(folder)

    def link(self, path: Path, target: Path) -> None:
        path.symlink_to(target)
        self.own(path)

    def seen(self) -> list[tuple[str, int, int, int, bytes]]:
        """Return all that can be told of our folder."""
        found = []
        for path in [self.treasure, *sorted(self.treasure.rglob("*"))]:
            status = path.stat()
            content = path.read_bytes() if path.is_file() else b""
            found.append((path.name, status.st_uid, status.st_gid, status.st_mode, content))
        return found


@pytest.fixture
def planted() -> Iterator[Planted]:
    entry = pwd.getpwnam("nobody") if ROOT else pwd.getpwuid(os.geteuid())
    with tempfile.TemporaryDirectory(prefix="patchbank-planted-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        treasure = folder / "treasure"
        (treasure / "data").mkdir(parents=True)
        (treasure / "secret").write_text("secret\n")
        (treasure / "postmaster.pid").write_text("1\n")
        (treasure / "PG_VERSION").write_text("18\n")
        (treasure / "empty").write_text("")
        planted = Planted(folder / "home", treasure, entry.pw_uid, entry.pw_gid)
        planted.make(planted.home)
        yield planted
        for path in (planted.postgres, *planted.postgres.glob("*")):
            if path.is_symlink() or path.is_fifo() or path.is_socket():
                path.unlink()
        if planted.postgres.exists() and planted.postgres.stat().st_uid == planted.uid:
            EmbeddedServer(planted.home).stop()


def _refusal(work: Callable[[], object]) -> str:
    with pytest.raises(PatchbankError) as raised:
        work()
    assert "\n" not in str(raised.value)
    return str(raised.value)


def _lives(folder: Path) -> bool:
    """Say whether any process works in a folder."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(folder):
                return True
    return False


def _connect(home: Path) -> None:
    EmbeddedServer(home, idle_minutes=60).connect(lambda address: psycopg.connect(address)).close()


NAMES = ("data.new", "data", "socket", "start.lock", "server.lock", "keeper.lock", "server.log")


@pytest.mark.parametrize("name", ["", *NAMES])
@pytest.mark.parametrize("work", ["connect", "stop", "status"])
def test_a_link_is_refused_by_name(planted: Planted, name: str, work: str) -> None:
    before = planted.seen()
    link = planted.postgres / name
    if name:
        planted.make(planted.postgres)
    target = planted.treasure / "secret" if "." in name and name != "data.new" else planted.treasure
    planted.link(link, target)
    server = EmbeddedServer(planted.home, idle_minutes=60)
    works: dict[str, Callable[[], object]] = {
        "connect": lambda: _connect(planted.home),
        "stop": server.stop,
        "status": server.status,
    }
    if work == "connect":
        assert str(link) in _refusal(works[work])
    else:
        # They look at a part of the names only.
        with contextlib.suppress(UnsafePathError):
            works[work]()
    assert planted.seen() == before


@only_root
@pytest.mark.parametrize("name", NAMES[:3])
def test_a_folder_of_roots_that_was_moved_there_is_not_given_away(
    planted: Planted, name: str
) -> None:
    planted.make(planted.postgres)
    (planted.treasure).rename(planted.postgres / name)
    refusal = _refusal(lambda: _connect(planted.home))
    assert f"{planted.postgres / name} belongs to root" in refusal
    assert (planted.postgres / name).stat().st_uid == 0
    assert (planted.postgres / name / "secret").stat().st_uid == 0


@only_root
def test_a_whole_folder_of_roots_is_not_given_away(planted: Planted) -> None:
    planted.treasure.rename(planted.postgres)
    assert f"{planted.postgres} belongs to root" in _refusal(lambda: _connect(planted.home))
    assert {path.stat().st_uid for path in planted.postgres.rglob("*")} == {0}
    assert planted.postgres.stat().st_uid == 0


@only_root
@pytest.mark.parametrize("name", ["start.lock", "server.lock", "keeper.lock"])
@pytest.mark.parametrize("file", ["secret", "empty"])
def test_a_second_name_of_roots_file_is_no_lock(planted: Planted, name: str, file: str) -> None:
    before = planted.seen()
    planted.make(planted.postgres)
    (planted.postgres / name).hardlink_to(planted.treasure / file)
    assert str(planted.postgres / name) in _refusal(lambda: _connect(planted.home))
    EmbeddedServer(planted.home).status() if name == "start.lock" else None
    (planted.postgres / name).unlink()
    assert planted.seen() == before


FILES = ("start.lock", "server.lock", "keeper.lock", "server.log", "reserve", "data.new")


def _make_pipe(path: Path) -> None:
    os.mkfifo(path)


def _make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        *((name, _make_pipe) for name in FILES),
        ("start.lock", _make_socket),
        ("server.log", _make_socket),
    ],
)
def test_a_pipe_keeps_nobody_waiting(
    planted: Planted, name: str, make: Callable[[Path], None]
) -> None:
    planted.make(planted.postgres)
    pipe = planted.postgres / name
    make(pipe)
    planted.own(pipe)
    assert _refusal(lambda: _connect(planted.home)) == f"{pipe} is not a regular file; remove it"
    server = EmbeddedServer(planted.home)
    for look in (server.status, server.stop):
        # They look at a part of the names only.
        with contextlib.suppress(UnsafePathError):
            look()
    assert not (planted.postgres / "data").exists() or not _lives(planted.postgres / "data")


@pytest.mark.parametrize(
    "name", ["PG_VERSION", "postmaster.pid", "postgresql.conf", "global/pg_control"]
)
def test_a_pipe_among_the_data_keeps_nobody_waiting(planted: Planted, name: str) -> None:
    data = planted.postgres / "data"
    planted.make(planted.postgres, data, data / "global")
    (data / "PG_VERSION").write_text("18\n")
    planted.own(data / "PG_VERSION")
    (data / name).unlink(missing_ok=True)
    os.mkfifo(data / name)
    planted.own(data / name)
    assert (
        _refusal(lambda: _connect(planted.home))
        == f"{data / name} is not a regular file; remove it"
    )
    assert not _lives(data)


@only_root
def test_a_second_name_of_roots_file_is_no_log(planted: Planted) -> None:
    before = planted.seen()
    planted.make(planted.postgres)
    (planted.postgres / "server.log").hardlink_to(planted.treasure / "secret")
    assert "server.log belongs to root" in _refusal(lambda: _connect(planted.home))
    (planted.postgres / "server.log").unlink()
    assert planted.seen() == before


def test_a_server_that_lives_on_keeps_no_stream_of_ours(planted: Planted) -> None:
    # A shell's `$(...)` and a service manager wait for the end of what is written there.
    program = (
        "import sys\nfrom pathlib import Path\n"
        "from patchbank.store.embedded.server import EmbeddedServer\n"
        "EmbeddedServer(Path(sys.argv[1]), idle_minutes=60).connect(lambda _: None)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(planted.home)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "ready to accept connections" in (planted.postgres / "server.log").read_text()
    assert (planted.postgres / "server.log").stat().st_uid == planted.uid


def test_the_home_itself_may_be_a_link(planted: Planted) -> None:
    link = planted.home.parent / "link"
    planted.link(link, planted.home)
    try:
        _connect(link)
        assert EmbeddedServer(planted.home).is_running()
        assert (planted.postgres / "data").stat().st_uid == planted.uid
        assert EmbeddedServer(link).stop()
        # One of root's leads anywhere.
        link.unlink()
        link.symlink_to(planted.home)
        assert not EmbeddedServer(link).is_running()
    finally:
        EmbeddedServer(planted.home).stop()


@only_root
@pytest.mark.parametrize("inside", ["", "inside"])
def test_no_account_leads_root_to_what_is_not_theirs(planted: Planted, inside: str) -> None:
    before = planted.seen()
    shutil.rmtree(planted.home)
    planted.link(planted.home, planted.treasure)
    refusal = _refusal(lambda: _connect(planted.home / inside))
    assert f"{planted.home} is a link owned by nobody" in refusal
    assert planted.seen() == before
    planted.home.unlink()
    planted.make(planted.home)


@only_root
def test_a_folder_that_becomes_a_link_meanwhile_is_not_followed(planted: Planted) -> None:
    before = planted.seen()
    server = EmbeddedServer(planted.home, idle_minutes=60)
    planted.home.rename(planted.home.parent / "away")
    planted.link(planted.home, planted.treasure)
    with pytest.raises((UnsafePathError, EmbeddedServerError), match=f"{planted.home} is a link"):
        server.connect(lambda address: psycopg.connect(address))
    assert planted.seen() == before
    planted.home.unlink()
    planted.make(planted.home)


@only_root
def test_an_empty_folder_of_roots_is_as_good_as_new(planted: Planted) -> None:
    # As a volume is that a container mounts there.
    planted.postgres.mkdir()
    server = EmbeddedServer(planted.home, idle_minutes=60)
    assert not server.status().running
    assert not server.stop()
    _connect(planted.home)
    assert planted.postgres.stat().st_uid == planted.uid
