from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from patchbank.store.embedded.room import (
    SEGMENT_BYTES,
    complains_of_disk,
    complains_of_memory,
    log_limit,
    room_of,
)
from patchbank.store.embedded.server import EmbeddedServer

GB = 10**9


@pytest.mark.parametrize(
    ("free", "written", "expected"),
    [
        (0, 0, 2 * SEGMENT_BYTES),
        (300_000_000, 0, 2 * SEGMENT_BYTES),
        (1024 * 2**20, 0, 128 * 2**20),
        # What the log has already is room that it may use again.
        (1024 * 2**20 - 5 * SEGMENT_BYTES, 5 * SEGMENT_BYTES, 128 * 2**20),
        (500 * GB, 0, 2 * 2**30),
    ],
)
def test_the_log_takes_its_part_of_the_disk(free: int, written: int, expected: int) -> None:
    assert log_limit(free, written) == expected


def test_the_room_of_a_home_that_is_not_there_yet(tmp_path: Path) -> None:
    home = tmp_path / "not" / "yet"
    room = EmbeddedServer(home).room()
    assert abs(room.free - shutil.disk_usage(tmp_path).free) < 1 * GB
    assert 2 * SEGMENT_BYTES < room.reserve <= 2 * 2**30 + SEGMENT_BYTES
    assert not home.exists()


def test_what_the_log_has_already_is_not_reserved_again(tmp_path: Path) -> None:
    log = tmp_path / "pg_wal"
    log.mkdir()
    before = room_of(tmp_path, log).reserve
    for number in range(3):
        (log / f"{number:024X}").touch()
    (log / "archive_status").mkdir()
    assert before - room_of(tmp_path, log).reserve == pytest.approx(3 * SEGMENT_BYTES, abs=2**25)


@pytest.mark.parametrize(
    ("line", "disk", "memory"),
    [
        ('FATAL:  could not write "postmaster.pid": No space left on device', True, False),
        ('ERROR:  could not extend file "base/5/16384": Disk quota exceeded', True, False),
        ('FATAL:  could not resize shared memory segment "/PostgreSQL.7" to 1048576 bytes: '
         "No space left on device", False, True),
        ("FATAL:  could not create shared memory segment: No space left on device", False, True),
        ("ERROR:  could not get shared memory segment: No space left on device", False, True),
        ("LOG:  database system is ready to accept connections", False, False),
    ],
)  # fmt: skip
def test_memory_that_ran_out_is_no_full_disk(line: str, disk: bool, memory: bool) -> None:
    assert (complains_of_disk(line), complains_of_memory(line)) == (disk, memory)
    assert complains_of_disk(f"{line}\nPANIC:  could not write: No space left on device")
