"""Lines of a CSV file are appended once each."""

from __future__ import annotations

import csv
from pathlib import Path

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
