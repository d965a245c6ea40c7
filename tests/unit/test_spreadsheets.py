"""CSV that a spreadsheet program opens without running anything."""

from __future__ import annotations

import csv
import io

import pytest

from patchbank.spreadsheets import SafeWriter


@pytest.mark.parametrize(
    ("cell", "written"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1+cmd", "'+1+cmd"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("\n=1", "'\n=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("-2", "-2"),
        ("+4.5e-3", "+4.5e-3"),
        (-0.5, "-0.5"),
        ("SN-0412", "SN-0412"),
        ("", ""),
        (None, ""),
    ],
)
def test_only_formulas_get_an_apostrophe(cell: object, written: str) -> None:
    file = io.StringIO()
    SafeWriter(file).writerow([cell, "last"])
    SafeWriter(file).writerows([["first", cell]])
    assert list(csv.reader(io.StringIO(file.getvalue()))) == [[written, "last"], ["first", written]]
