"""Lines of a CSV file are appended once each."""

from __future__ import annotations

import csv
import fcntl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from patchbank.errors import OutputError
from patchbank.line import appended_csv
from patchbank.line.appended_csv import AppendedCsv


@pytest.mark.parametrize("name", ["plain", "line\u2028separator", "form\x0cfeed", "next\x85line"])
def test_a_line_that_is_there_is_not_written_again(tmp_path: Path, name: str) -> None:
    path = tmp_path / "results.csv"
    file = AppendedCsv(path, ("name", "score"), lambda row: row[0], "give another file")
    file.add([(name, "1")])
    file.add([(name, "1"), ("other", "2")])
    with path.open(encoding="utf-8", newline="") as written:
        assert list(csv.reader(written)) == [["name", "score"], [name, "1"], ["other", "2"]]


def test_two_writers_of_one_file_write_each_line_once_and_whole(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    rows = [(f"{number}.png", "1") for number in range(300)]
    together = Barrier(2)

    def write() -> None:
        # Each opens the file by itself, as another process does.
        file = AppendedCsv(path, ("name", "score"), lambda row: row[0], "give another file")
        for row in rows:
            together.wait()
            file.add([row])

    with ThreadPoolExecutor(2) as threads:
        for writer in [threads.submit(write) for _ in range(2)]:
            writer.result()
    with path.open(encoding="utf-8", newline="") as written:
        assert [tuple(row) for row in csv.reader(written)] == [("name", "score"), *rows]


@pytest.mark.parametrize(
    "content", ["a,b,c\n1,2,3\n", "\ufeffname;score\n", "notes without an end"]
)
def test_a_file_with_another_heading_is_left_alone(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.csv"
    path.write_text(content)
    file = AppendedCsv(path, ("name", "score"), lambda row: row[0], "give another file")
    with pytest.raises(OutputError, match=r"results.csv has other columns .*move it away"):
        file.add([("a.png", "1")])
    assert path.read_text() == content
    path.rename(tmp_path / "away.csv")
    file.add([("a.png", "1")])
    assert path.read_text() == "name,score\na.png,1\n"


def test_half_a_heading_of_before_a_crash_is_completed(tmp_path: Path) -> None:
    path = tmp_path / "results.csv"
    path.write_text("name,sc")
    AppendedCsv(path, ("name", "score"), lambda row: row[0], "give another file").add([("a", "1")])
    assert path.read_text() == "name,score\na,1\n"


def test_a_file_that_another_program_has_locked_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(appended_csv, "_LOCK_SECONDS", 0.1)
    path = tmp_path / "results.csv"
    file = AppendedCsv(path, ("name", "score"), lambda row: row[0], "give another file")
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_SH)
        with pytest.raises(OutputError, match="another program has locked it; give another file"):
            file.add([("a", "1")])
    file.add([("a", "1")])
    assert path.read_text() == "name,score\na,1\n"


def test_no_file_begins_in_the_mount_point_of_a_drive_that_is_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = {tmp_path}
    is_mount = Path.is_mount
    monkeypatch.setattr(Path, "is_mount", lambda path: path in mounted or is_mount(path))
    path = tmp_path / "results.csv"
    file = AppendedCsv(path, ("name", "score"), lambda row: row[0], "give another file")
    mounted.clear()
    with pytest.raises(OutputError, match="is not mounted"):
        file.add([("a", "1")])
    assert not path.exists()
    mounted.add(tmp_path)
    file.add([("a", "1")])
    assert path.exists()
