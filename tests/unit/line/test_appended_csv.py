"""Lines of a CSV file are appended once each."""

from __future__ import annotations

import csv
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

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
