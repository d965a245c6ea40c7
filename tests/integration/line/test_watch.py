"""Watching a folder: each file is judged exactly once, whatever happens."""

from __future__ import annotations

import csv
import errno
import os
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BufferedReader
from pathlib import Path

import pytest
from PIL import Image

from patchbank.errors import ParameterError
from patchbank.files import open_regular
from patchbank.inspection.keeping.inspections import make_selection, recorded_inspections
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.line import folders, settling, watching
from patchbank.line.folders import MARKER
from patchbank.line.watching import Watcher, WatchOptions
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces, brushed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "in"
    made.mkdir()
    return made


class Line:
    """What a watcher said."""

    def __init__(self) -> None:
        self.results: list[Inspection | Refused] = []
        self.remarks: list[str] = []

    def watcher(self, workspace: Workspace, folder: Path, options: WatchOptions) -> Watcher:
        return Watcher(
            workspace,
            "brushed",
            folder,
            options,
            on_result=self.results.append,
            on_remark=self.remarks.append,
        )


def once(workspace: Workspace, folder: Path, **options: object) -> list[Inspection | Refused]:
    line = Line()
    line.watcher(workspace, folder, WatchOptions(settle=0.05, once=True, **options)).run()  # type: ignore[arg-type]
    assert not line.remarks
    return line.results


def counts(workspace: Workspace) -> Counter[str]:
    """How often each file was judged, by its name."""
    found = recorded_inspections(workspace, "brushed", make_selection())
    return Counter(Path(inspection.image).name for inspection in found)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def eventually(holds: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_files_go_where_their_verdicts_say(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, folder: Path, tmp_path: Path
) -> None:
    good, scratched = sorted(surfaces.good.iterdir()), sorted(surfaces.scratched.iterdir())
    for number in range(3):
        shutil.copy(good[number], folder / f"SN{number}_good.png")
        shutil.copy(scratched[number], folder / f"SN{number}_scratched.png")
    (folder / "notes.txt").write_text("left alone")
    (folder / "torn.png").write_bytes(good[0].read_bytes()[:500])
    os.utime(folder / "torn.png", (1, 1))
    results = tmp_path / "results.csv"
    arguments = ["watch", "brushed", folder, "--once", "--settle", "0", "--results", results]
    arguments += ["--station", "line-2", "--part-from", r"(SN\d)", "--json"]
    for verdict in ("pass", "fail", "review", "refused"):
        arguments += [f"--{verdict}", tmp_path / verdict]
    outcome = patchbank(*arguments)
    assert outcome.code == 2
    assert "torn.png" in outcome.complaint
    judged = [document for document in outcome.documents if "verdict" in document]
    assert {document["station"] for document in judged} == {"line-2"}
    assert len(judged) == 6
    assert sorted(path.name for path in folder.iterdir()) == [MARKER, "notes.txt"]
    for document in judged:
        name = Path(document["image"]).name
        assert (tmp_path / document["verdict"] / name).is_file()
        assert document["part"] == name[:3]
    assert {path.name for path in (tmp_path / "fail").iterdir()} >= {"SN0_scratched.png"}
    assert "torn.png" in (tmp_path / "refused" / "torn.png.txt").read_text()
    lines = rows(results)
    assert len(lines) == 7
    assert all(Path(line["file"]).is_file() for line in lines)
    numbers = {document["inspection_id"]: document for document in judged}
    for line in lines:
        if line["verdict"] == "refused":
            assert "torn.png" in line["refused"]
            assert line["image"] == str(folder / "torn.png")
            continue
        document = numbers[int(line["inspection_id"])]
        assert float(line["score"]) == document["score"]
        assert line["sha256"] == document["sha256"]
        assert (line["part"], line["station"]) == (document["part"], "line-2")
    # Nothing is left to do, and no line is written again.
    again = patchbank(*arguments)
    assert (again.code, again.out) == (0, "")
    assert rows(results) == lines


def test_a_file_that_stays_is_judged_again_only_when_it_changes(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path
) -> None:
    shutil.copy(sorted(surfaces.good.iterdir())[0], folder / "a.png")
    assert len(once(workspace, folder)) == 1
    assert once(workspace, folder) == []
    # The same folder under another path.
    moved = folder.rename(folder.with_name("mounted"))
    assert once(workspace, moved) == []
    shutil.copy(sorted(surfaces.scratched.iterdir())[0], moved / "a.png")
    (result,) = once(workspace, moved)
    assert isinstance(result, Inspection)
    assert not result.passed
    assert counts(workspace) == {"a.png": 2}
    # What is gone is forgotten: the table has what is in the folder.
    (moved / "a.png").unlink()
    assert once(workspace, moved) == []
    marker = (moved / MARKER).read_text().strip()
    assert workspace.database.watched_files.known("brushed", marker) == set()


def test_names_that_are_taken_are_kept(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path, tmp_path: Path
) -> None:
    good = sorted(surfaces.good.iterdir())
    targets = {"pass": tmp_path / "out", "review": tmp_path / "out", "fail": tmp_path / "out"}
    for image in good[:3]:
        shutil.copy(image, folder / "image.png")
        assert len(once(workspace, folder, targets=targets)) == 1
    contents = {path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert contents == {image.read_bytes() for image in good[:3]}


def test_a_file_is_judged_when_it_is_complete(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path
) -> None:
    line = Line()
    watcher = line.watcher(workspace, folder, WatchOptions(settle=0.1))
    running = threading.Thread(target=watcher.run)
    running.start()
    content = sorted(surfaces.good.iterdir())[0].read_bytes()
    with (folder / "slow.png").open("wb") as file:
        for begin in range(0, len(content), len(content) // 5):
            file.write(content[begin : begin + len(content) // 5])
            file.flush()
            # Longer than it is waited for: what cannot be decoded is not refused so soon.
            time.sleep(0.3)
    (folder / "part.png.tmp").write_bytes(content)
    (folder / "part.png.tmp").rename(folder / "renamed.png")
    eventually(lambda: len(line.results) == 2)
    watcher.stop()
    running.join(30)
    assert all(isinstance(result, Inspection) for result in line.results)
    assert counts(workspace) == {"slow.png": 1, "renamed.png": 1}
    assert not line.remarks


@pytest.fixture
def burst(folder: Path) -> Iterator[int]:
    """Images that come into the folder while a test runs."""
    count = 60

    def come() -> None:
        for number in range(count):
            draft = folder / f".{number:03}.png"
            Image.fromarray(brushed(1000 + number, scratched=number % 3 == 0)).save(draft)
            draft.rename(folder / f"{number:03}.png")
            time.sleep(0.02)

    coming = threading.Thread(target=come)
    coming.start()
    yield count
    coming.join()


def test_a_file_that_cannot_be_read_is_said_and_judged_when_it_can_be(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(watching, "_PATIENCE", 0.2)
    denied = {"locked.png"}

    def open_unless_denied(path: Path, limit: int) -> AbstractContextManager[BufferedReader]:
        # Root, as whom tests may run, is never denied.
        if path.name in denied:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return open_regular(path, limit)

    monkeypatch.setattr(watching, "open_regular", open_unless_denied)
    good = sorted(surfaces.good.iterdir())
    shutil.copy(good[0], folder / "locked.png")
    shutil.copy(good[1], folder / "a.png")
    results = once(workspace, folder, targets={"refused": tmp_path / "refused"})
    (said,) = (each for each in results if isinstance(each, Refused))
    assert said.error.endswith("locked.png: permission denied; tried again until it can be read")
    assert len(results) == 2
    line = Line()
    watcher = line.watcher(workspace, folder, WatchOptions(settle=0.05))
    running = threading.Thread(target=watcher.run)
    running.start()
    eventually(lambda: len(line.results) == 1)
    # Once is enough.
    time.sleep(0.5)
    denied.clear()
    eventually(lambda: len(line.results) == 2)
    watcher.stop()
    running.join(30)
    assert [type(each) for each in line.results] == [Refused, Inspection]
    assert counts(workspace) == {"a.png": 1, "locked.png": 1}
    assert not any((tmp_path / "refused").iterdir())


def test_a_file_after_many_others_is_judged_soon(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path
) -> None:
    good = sorted(surfaces.good.iterdir())[0]
    line = Line()

    def take_time(result: Inspection | Refused) -> None:
        line.results.append(result)
        time.sleep(0.1)

    for number in range(20):
        shutil.copy(good, folder / f"{number}.png")
    options = WatchOptions(settle=0.05)
    watcher = Watcher(
        workspace, "brushed", folder, options, on_result=take_time, on_remark=line.remarks.append
    )
    running = threading.Thread(target=watcher.run)
    running.start()
    eventually(lambda: len(line.results) == 20)
    begun = time.monotonic()
    shutil.copy(good, folder / "last.png")
    eventually(lambda: len(line.results) == 21)
    taken = time.monotonic() - begun
    watcher.stop()
    running.join(30)
    # Not a pause in proportion to what the others took.
    assert taken < 5


def test_two_watchers_of_one_folder_judge_each_file_once(
    learned: Outcome, workspace: Workspace, database_url: str, burst: int, folder: Path,
    tmp_path: Path,
) -> None:  # fmt: skip
    # From another machine, with a home of its own.
    with Workspace(home=tmp_path / "home", database_url=database_url) as other:
        lines = [Line(), Line()]
        watchers = [
            line.watcher(space, folder, WatchOptions(settle=0.05, results=tmp_path / "results.csv"))
            for line, space in zip(lines, (workspace, other), strict=True)
        ]
        threads = [threading.Thread(target=watcher.run) for watcher in watchers]
        for thread in threads:
            thread.start()
        eventually(lambda: sum(counts(workspace).values()) >= burst, 90)
        time.sleep(0.5)
        for watcher, thread in zip(watchers, threads, strict=True):
            watcher.stop()
            thread.join(30)
    assert counts(workspace) == {f"{number:03}.png": 1 for number in range(burst)}
    written = Counter(Path(row["file"]).name for row in rows(tmp_path / "results.csv"))
    assert written == counts(workspace)


def test_one_process_at_a_time_watches_a_folder_and_another_takes_over(
    learned: Outcome, workspace: Workspace, patchbank: Run, burst: int, folder: Path, tmp_path: Path
) -> None:
    targets = {verdict: tmp_path / verdict for verdict in ("pass", "review", "fail")}
    options = WatchOptions(settle=0.05, targets=targets, results=tmp_path / "results.csv")
    lines = [Line(), Line()]
    first, second = (line.watcher(workspace, folder, options) for line in lines)
    threads = [threading.Thread(target=watcher.run) for watcher in (first, second)]
    threads[0].start()
    eventually(lambda: bool(lines[0].results), 90)
    threads[1].start()
    eventually(lambda: bool(lines[1].remarks))
    assert "another process watches" in lines[1].remarks[0]
    outcome = patchbank("watch", "brushed", folder, "--once")
    assert outcome.code == 2
    assert "another process watches" in outcome.complaint
    first.stop()
    threads[0].join(30)
    eventually(lambda: len(rows(tmp_path / "results.csv")) == burst, 90)
    second.stop()
    threads[1].join(30)
    assert counts(workspace) == {f"{number:03}.png": 1 for number in range(burst)}


def test_a_folder_that_is_away_is_waited_for(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path
) -> None:
    line = Line()
    shutil.copy(sorted(surfaces.good.iterdir())[0], folder / "a.png")
    watcher = line.watcher(workspace, folder, WatchOptions(settle=0.05))
    running = threading.Thread(target=watcher.run)
    running.start()
    eventually(lambda: len(line.results) == 1)
    for _ in range(200):
        away = folder.rename(folder.with_name("away"))
        away.rename(folder)
    # A drive that is not mounted leaves an empty folder.
    away = folder.rename(folder.with_name("away"))
    folder.mkdir()
    eventually(lambda: any(MARKER in remark for remark in line.remarks))
    folder.rmdir()
    away.rename(folder)
    shutil.copy(sorted(surfaces.good.iterdir())[1], folder / "b.png")
    eventually(lambda: len(line.results) == 2)
    watcher.stop()
    running.join(30)
    assert counts(workspace) == {"a.png": 1, "b.png": 1}


def test_a_folder_that_goes_away_before_its_files_are_moved(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path, tmp_path: Path
) -> None:
    away = folder.with_name("away")
    shutil.copy(sorted(surfaces.good.iterdir())[0], folder / "a.png")
    targets = {"pass": tmp_path / "out", "review": tmp_path / "out", "fail": tmp_path / "out"}

    def go_away(result: Inspection | Refused) -> None:
        folder.rename(away)

    watcher = Watcher(
        workspace,
        "brushed",
        folder,
        WatchOptions(targets, settle=0, once=True),
        on_result=go_away,
        on_remark=print,
    )
    with pytest.raises(FileNotFoundError):
        watcher.run()
    away.rename(folder)
    assert once(workspace, folder, targets=targets) == []
    assert counts(workspace) == {"a.png": 1}
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.png"]


def test_a_drive_that_is_mounted_after_the_start_is_watched_as_itself(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path
) -> None:
    good = sorted(surfaces.good.iterdir())
    shutil.copy(good[0], folder / "a.png")
    assert len(once(workspace, folder)) == 1
    # At the next start the drive is away, and its mount point can be written to.
    drive = folder.rename(folder.with_name("drive"))
    folder.mkdir()
    line = Line()
    watcher = line.watcher(workspace, folder, WatchOptions(settle=0.05))
    running = threading.Thread(target=watcher.run)
    running.start()
    eventually(lambda: (folder / MARKER).exists())
    point = folder.with_name("point")
    for number in range(3):
        folder.rename(point)
        drive.rename(folder)
        shutil.copy(good[1 + number], folder / f"{number}.png")
        eventually(lambda number=number: len(line.results) == 1 + number)  # type: ignore[misc]
        # Away again: the mount point has a mark of its own now.
        folder.rename(drive)
        point.rename(folder)
        time.sleep(0.3)
    watcher.stop()
    running.join(30)
    assert any("is another folder than before" in remark for remark in line.remarks)
    folder.rename(point)
    drive.rename(folder)
    assert once(workspace, folder) == []
    assert counts(workspace) == {"a.png": 1, "0.png": 1, "1.png": 1, "2.png": 1}


def test_an_empty_folder_without_a_mark_may_be_a_drive_that_is_away(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    def refuse(marker: Path) -> str:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(marker))

    monkeypatch.setattr(folders, "_marked", refuse)
    good = sorted(surfaces.good.iterdir())
    shutil.copy(good[0], folder / "a.png")
    assert len(once(workspace, folder)) == 1
    drive = folder.rename(folder.with_name("drive"))
    folder.mkdir()
    assert once(workspace, folder) == []
    folder.rmdir()
    drive.rename(folder)
    assert once(workspace, folder) == []
    # What is really gone is forgotten.
    (folder / "a.png").rename(folder / "b.png")
    assert len(once(workspace, folder)) == 1
    (folder / "b.png").rename(folder / "a.png")
    assert len(once(workspace, folder)) == 1


def test_files_that_cannot_be_moved_keep_no_others_back(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(settling, "_MOST", 2)
    for number, path in enumerate(sorted(surfaces.scratched.iterdir())[:5]):
        shutil.copy(path, folder / f"{number}.png")
        os.utime(folder / f"{number}.png", (number, number))
    shutil.copy(sorted(surfaces.good.iterdir())[0], folder / "good.png")
    targets = {verdict: tmp_path / verdict for verdict in ("pass", "review", "fail")}
    line = Line()
    options = WatchOptions(targets, tmp_path / "results.csv", settle=0.05)
    watcher = line.watcher(workspace, folder, options)
    # Somebody put a file where the folder was.
    targets["fail"].rmdir()
    targets["fail"].touch()
    running = threading.Thread(target=watcher.run)
    running.start()
    moved = {path.name: path for path in (targets["pass"], targets["review"])}
    eventually(lambda: any((path / "good.png").exists() for path in moved.values()))
    eventually(lambda: any("cannot be moved" in remark for remark in line.remarks))
    assert sum("cannot be moved" in remark for remark in line.remarks) == 1
    targets["fail"].unlink()
    eventually(lambda: len(rows(tmp_path / "results.csv")) == 6)
    watcher.stop()
    running.join(30)
    assert "moved and written down again" in line.remarks[-1]
    assert len(list(targets["fail"].glob("*.png"))) == 5
    assert counts(workspace) == {f"{number}.png": 1 for number in range(5)} | {"good.png": 1}


def test_a_drive_whose_clock_is_wrong_does_not_cost_a_file_that_is_still_written(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path, tmp_path: Path
) -> None:
    content = sorted(surfaces.good.iterdir())[0].read_bytes()
    line = Line()
    options = WatchOptions({"refused": tmp_path / "refused"}, settle=0.05)
    watcher = line.watcher(workspace, folder, options)
    running = threading.Thread(target=watcher.run)
    running.start()
    with (folder / "a.png").open("wb") as file:
        for part in (content[:700], content[700:]):
            file.write(part)
            file.flush()
            # An hour behind.
            os.utime(folder / "a.png", (time.time() - 3600 + file.tell(), time.time() - 3600))
            time.sleep(1)
    eventually(lambda: len(line.results) == 1)
    watcher.stop()
    running.join(30)
    assert isinstance(line.results[0], Inspection)


def test_a_folder_or_option_that_cannot_be_used(
    learned: Outcome, workspace: Workspace, patchbank: Run, folder: Path, tmp_path: Path
) -> None:
    outcome = patchbank("watch", "brushed", tmp_path / "none")
    assert outcome.code == 2
    assert outcome.complaint == f"{tmp_path / 'none'} is not a folder; give one that exists"
    outcome = patchbank("watch", "brushed", folder, "--pass", folder)
    assert "is the watched folder" in outcome.complaint
    outcome = patchbank("watch", "brushed", folder, "--part-from", "(")
    assert "is not a regular expression" in outcome.complaint
    outcome = patchbank("watch", "brushed", folder, "--results", tmp_path)
    assert "results cannot be written to" in outcome.complaint
    outcome = patchbank("watch", "brush", folder)
    assert "did you mean 'brushed'?" in outcome.complaint
    (folder / MARKER).write_text("?")
    with pytest.raises(ParameterError, match="is damaged; remove it"):
        Line().watcher(workspace, folder, WatchOptions())


def test_names_that_are_not_text_are_judged_moved_and_written_once(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, folder: Path, tmp_path: Path
) -> None:
    good = min(surfaces.good.iterdir())
    names = [os.fsdecode(b"latin-\xff.png"), "line\u2028separator.png", "plain.png"]
    for name in names:
        shutil.copy(good, folder / name)
    targets = {verdict: tmp_path / verdict for verdict in ("pass", "review", "fail")}
    results = tmp_path / "results.csv"
    assert len(once(workspace, folder, targets=targets, results=results)) == len(names)
    assert sorted(
        path.name for path in tmp_path.glob("*/*.png") if path.parent != folder
    ) == sorted(names)
    written = rows(results)
    assert sorted(Path(row["file"]).name for row in written) == sorted(
        [r"latin-\xff.png", *names[1:]]
    )
