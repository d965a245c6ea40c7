"""Callers that closed standard input, output or error: nothing of ours may take their numbers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import combinations
from pathlib import Path

import psutil
import pytest

from patchbank.inspection.measuring.kept_results import KeptResults
from patchbank.locks import FileLock
from patchbank.store.embedded.server import EmbeddedServer
from patchbank.vision.backbones import weights_folder

# With the first database open, looks where its own descriptors are.
OPEN = """
import json
import os
import sys
from pathlib import Path
from patchbank.store.database import open_database
home = Path(sys.argv[1])
with open_database(None, home, idle_minutes=60) as database:
    low = {
        number: os.readlink(f"/proc/self/fd/{number}")
        for number in range(3) if os.path.lexists(f"/proc/self/fd/{number}")
    } if sys.platform == "linux" else {}
    Path(sys.argv[2]).write_text(json.dumps({"pid": database.status().pid, "low": low}))
"""
# Closes its standard streams once the database is open, and loses its connection.
RECONNECT = """
import contextlib
import json
import os
import sys
from pathlib import Path
from patchbank.errors import DatabaseUnreachableError
from patchbank.store.database import open_database
with open_database(None, Path(sys.argv[1]), idle_minutes=60) as database:
    for stream in range(3):
        os.close(stream)
    with contextlib.suppress(DatabaseUnreachableError), database.connection() as connection:
        connection.close()
    database.categories.list()
    low = [os.readlink(f"/proc/self/fd/{stream}") for stream in range(3)]
    Path(sys.argv[2]).write_text(json.dumps(low))
"""
CLOSED = [streams for count in (1, 2, 3) for streams in combinations("012", count)]


def _run_closed(streams: tuple[str, ...], *command: object) -> subprocess.CompletedProcess[str]:
    closing = " ".join(f"{stream}>&-" for stream in streams)
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {closing}', "sh", *map(str, command)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("closed")
    server = EmbeddedServer(folder, idle_minutes=60)
    server.connect(lambda _: None)
    server.stop()
    yield folder
    server.stop()


def _descendants_of(folder: Path) -> list[psutil.Process]:
    """Return the server's processes, by where they work."""
    found = []
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()) == folder / "postgres" / "data":
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


@pytest.mark.parametrize("streams", CLOSED, ids="".join)
def test_the_server_keeps_its_lock(streams: tuple[str, ...], home: Path, tmp_path: Path) -> None:
    server = EmbeddedServer(home, idle_minutes=60)
    done = _run_closed(streams, sys.executable, "-c", OPEN, home, tmp_path / "seen")
    assert (done.returncode, done.stderr) == (0, "")
    seen = json.loads((tmp_path / "seen").read_text())
    # Neither a lock nor a connection is where a library would print.
    assert [name for name in seen["low"].values() if "socket:" in name or "lock" in name] == []
    try:
        status = server.status()
        assert (status.running, status.pid) == (True, seen["pid"])
        assert server.stop()
        assert _descendants_of(server.home) == []
    finally:
        for process in _descendants_of(server.home):
            process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are looked at in /proc")
def test_no_later_connection_is_a_standard_stream(home: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", RECONNECT, str(home), str(tmp_path / "seen")]
    subprocess.run(command, check=False, timeout=120)
    assert EmbeddedServer(home, idle_minutes=60).stop()
    assert json.loads((tmp_path / "seen").read_text()) == [os.devnull] * 3


@pytest.mark.parametrize(
    ("streams", "code"), [(("0",), 0), (("0", "2"), 0), (("1",), 2), (("0", "1", "2"), 2)]
)
def test_a_command_starts_the_server(
    streams: tuple[str, ...], code: int, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBANK_HOME", str(home))
    monkeypatch.delenv("PATCHBANK_DATABASE_URL", raising=False)
    server = EmbeddedServer(home, idle_minutes=60)
    done = _run_closed(streams, sys.executable, "-m", "patchbank", "database", "url")
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert server.is_running() == (code == 0)
    server.stop()
    assert _descendants_of(server.home) == []


@pytest.mark.parametrize("word", ["--help", "no-such-command"])
@pytest.mark.parametrize("streams", [("1",), ("0", "1", "2")], ids="".join)
def test_no_traceback_for_want_of_a_stream(word: str, streams: tuple[str, ...]) -> None:
    done = _run_closed(streams, sys.executable, "-m", "patchbank", word)
    assert done.returncode == (2 if word == "no-such-command" else 0)
    assert "Traceback" not in done.stderr


@contextmanager
def _standard_input_closed() -> Iterator[None]:
    kept = os.dup(0)
    os.close(0)
    try:
        yield
    finally:
        os.dup2(kept, 0)
        os.close(kept)


def _lock_of_the_database(folder: Path) -> AbstractContextManager[object]:
    return FileLock(folder / "lock")


def _lock_of_a_benchmark(folder: Path) -> AbstractContextManager[object]:
    return KeptResults(folder).locked()


def _lock_of_a_backbone(folder: Path) -> AbstractContextManager[object]:
    return weights_folder.locked("some-network")


@pytest.mark.parametrize("lock", [_lock_of_the_database, _lock_of_a_benchmark, _lock_of_a_backbone])
def test_a_lock_is_never_a_standard_stream(
    lock: Callable[[Path], AbstractContextManager[object]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATCHBANK_HOME", str(tmp_path))
    with (
        _standard_input_closed(),
        lock(tmp_path),
        pytest.raises(OSError, match="Bad file descriptor"),
    ):
        os.fstat(0)
