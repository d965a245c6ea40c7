from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from patchbank.errors import UnsafePathError
from patchbank.locks import FileLock

HOLD = """
import subprocess, sys, time
from pathlib import Path
from patchbank.locks import FileLock
lock = FileLock(Path(sys.argv[1]))
lock.acquire()
if len(sys.argv) > 2:
    subprocess.Popen(["sleep", sys.argv[2]], pass_fds=[lock.descriptor], stdout=subprocess.DEVNULL)
print("held", flush=True)
time.sleep(60)
"""


def _hold(*arguments: object) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, *map(str, arguments)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def _kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_one_holds_it_at_a_time(tmp_path: Path) -> None:
    first, second = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert not first.is_held()
    with first:
        assert second.is_held()
        assert not second.try_acquire()
        with pytest.raises(TimeoutError):
            second.acquire(timeout=0.05)
    assert second.try_acquire()
    second.release()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    process = _hold(lock.path)
    assert lock.is_held()
    _kill(process)
    lock.acquire(timeout=5)
    lock.release()


def test_a_child_that_inherits_it_holds_it_on(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    process = _hold(lock.path, 1)
    _kill(process)
    assert lock.is_held()
    started = time.monotonic()
    lock.acquire(timeout=10)
    lock.release()
    assert time.monotonic() - started > 0.3


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError, match="lock is a link"):
        FileLock(tmp_path / "lock").acquire()
    assert not (tmp_path / "elsewhere").exists()
