"""Moves of judged files, cut off at any moment and resumed."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from patchbank.line.folders import state_of
from patchbank.line.moving import Mover
from patchbank.store.watched_files import HandledFile


def handled(path: Path, verdict: str | None = "fail", refused: str = "") -> HandledFile:
    file = state_of("f" * 32, path.name, path.lstat())
    none = (None,) * 7
    return HandledFile(*file, 1, datetime.now(UTC), refused, path.name, verdict, 1.0, *none)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    path = tmp_path / "in" / "a.png"
    path.write_bytes(b"judged")
    return path


def test_a_move_is_done_once(source: Path, tmp_path: Path) -> None:
    mover = Mover(source.parent, {"fail": tmp_path / "out"})
    file = handled(source)
    assert mover.move(file) == tmp_path / "out" / "a.png"
    # Killed before the database knew of it.
    assert mover.move(file) == tmp_path / "out" / "a.png"
    assert not any(source.parent.iterdir())


def test_a_file_without_a_target_stays(source: Path, tmp_path: Path) -> None:
    mover = Mover(source.parent, {"pass": tmp_path / "out"})
    assert mover.move(handled(source)) == source
    assert not mover.moves(handled(source))


def test_a_taken_name_gets_the_time_and_is_found_again(source: Path, tmp_path: Path) -> None:
    mover = Mover(source.parent, {"fail": tmp_path / "out"})
    (tmp_path / "out" / "a.png").write_bytes(b"another of before")
    os.utime(source, ns=(0, 1_700_000_000_123_456_789))
    file = handled(source)
    moved = mover.move(file)
    assert moved == tmp_path / "out" / "a-20231114T221320123456789.png"
    assert mover.move(file) == moved
    assert (tmp_path / "out" / "a.png").read_bytes() == b"another of before"


def test_what_came_in_its_place_is_left(source: Path, tmp_path: Path) -> None:
    mover = Mover(source.parent, {"fail": tmp_path / "out"})
    file = handled(source)
    source.write_bytes(b"not judged")
    assert mover.move(file) is None
    assert source.read_bytes() == b"not judged"


def test_a_copy_that_was_finished_is_not_copied_again(source: Path, tmp_path: Path) -> None:
    mover = Mover(source.parent, {"fail": tmp_path / "out"})
    file = handled(source)
    shutil.copy2(source, tmp_path / "out" / "a.png")
    assert mover.move(file) == tmp_path / "out" / "a.png"
    assert not source.exists()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_a_file_goes_to_another_disk(source: Path) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == source.stat().st_dev:
        pytest.skip("there is no second file system")
    target = memory / f"patchbank-{os.getpid()}"
    try:
        mover = Mover(source.parent, {"fail": target})
        assert mover.move(handled(source)) == target / "a.png"
        assert not source.exists()
        assert (target / "a.png").read_bytes() == b"judged"
        assert [path.name for path in target.iterdir()] == ["a.png"]
    finally:
        shutil.rmtree(target)
