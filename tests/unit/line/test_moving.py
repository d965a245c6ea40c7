"""Moves of judged files, cut off at any moment and resumed."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Iterator
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


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system")
    target = memory / f"patchbank-{os.getpid()}"
    yield target
    shutil.rmtree(target)


def test_a_file_goes_to_another_disk(source: Path, other_disk: Path) -> None:
    mover = Mover(source.parent, {"fail": other_disk})
    os.utime(source, ns=(0, 1_700_000_000_123_456_789))
    file = handled(source)
    assert mover.move(file) == other_disk / "a.png"
    assert not source.exists()
    assert (other_disk / "a.png").read_bytes() == b"judged"
    assert [path.name for path in other_disk.iterdir()] == ["a.png"]
    # Killed before the database knew of it.
    assert mover.move(file) == other_disk / "a.png"


def test_what_comes_while_a_file_is_copied_is_left(
    source: Path, other_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mover = Mover(source.parent, {"fail": other_disk})
    file = handled(source)
    copy = shutil.copyfile

    def copy_slowly(*paths: Path) -> None:
        copy(*paths)
        source.write_bytes(b"not judged")

    monkeypatch.setattr(shutil, "copyfile", copy_slowly)
    assert mover.move(file) is None
    assert source.read_bytes() == b"not judged"
    assert not any(other_disk.iterdir())


def test_watchers_that_move_equal_names_at_once_lose_none(tmp_path: Path) -> None:
    target, cameras = tmp_path / "out", [tmp_path / f"camera-{number}" for number in range(4)]
    names = [f"{number}.png" for number in range(50)]
    for camera in cameras:
        camera.mkdir()
        for name in names:
            (camera / name).write_text(f"{camera.name} {name}")
            os.utime(camera / name, (1, 1))
    together = threading.Barrier(len(cameras), timeout=30)

    def move_all(camera: Path) -> None:
        mover = Mover(camera, {"fail": target})
        for name in names:
            together.wait()
            mover.move(handled(camera / name))

    threads = [threading.Thread(target=move_all, args=(camera,)) for camera in cameras]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    moved = sorted(path.read_text() for path in target.iterdir())
    assert moved == sorted(f"{camera.name} {name}" for camera in cameras for name in names)


@pytest.mark.parametrize("letter", ["n", "\u96fb"])
def test_the_longest_names_are_moved_with_their_reasons(
    source: Path, tmp_path: Path, letter: str
) -> None:
    out = tmp_path / "out"
    mover = Mover(source.parent, {"refused": out})
    stem = letter * (249 // len(letter.encode()))
    for end in ("1", "2"):
        name = f"{stem}{end}.png"
        for content in (b"first", b"of the same name"):
            (source.parent / name).write_bytes(content)
            os.utime(source.parent / name, (len(content), len(content)))
            file = handled(source.parent / name, None, f"{end} is damaged")
            moved = mover.move(file)
            assert moved is not None
            assert moved == mover.move(file)
            assert moved.read_bytes() == content
    images = [path for path in out.iterdir() if path.suffix == ".png"]
    reasons = [path for path in out.iterdir() if path.suffix == ".txt"]
    assert len(images) == len(reasons) == 4
    assert sorted(path.read_text() for path in reasons) == [
        "1 is damaged\n", "1 is damaged\n", "2 is damaged\n", "2 is damaged\n",
    ]  # fmt: skip


def test_nothing_is_moved_to_the_mount_point_of_a_drive_that_is_away(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drive = tmp_path / "drive"
    mounted = {drive}
    is_mount = Path.is_mount
    monkeypatch.setattr(Path, "is_mount", lambda path: path in mounted or is_mount(path))
    mover = Mover(source.parent, {"fail": drive / "out"})
    file = handled(source)
    mounted.clear()
    with pytest.raises(FileNotFoundError, match="drive is not mounted") as failure:
        mover.move(file)
    assert failure.value.errno == errno.ENOENT
    assert source.exists()
    mounted.add(drive)
    assert mover.move(file) == drive / "out" / "a.png"
    # A drive that is mounted since is the one that matters.
    source.write_bytes(b"judged later")
    mounted.add(drive / "out")
    assert mover.move(handled(source)) is not None
    source.write_bytes(b"judged last")
    mounted.remove(drive / "out")
    with pytest.raises(FileNotFoundError, match="out is not mounted"):
        mover.move(handled(source))
