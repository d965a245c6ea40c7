"""CSV files as people and their programs write them: whatever separates fields, with blank rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from patchbank.datasets.layout import problem_of, read_list, shown, some
from patchbank.errors import DatasetError
from patchbank.vision.image_folders import as_there

_SEPARATORS = (",", ";", "\t", "|")
# With this line spreadsheets are told what separates the fields.
_SEPARATOR_LINE = "sep="


def read_table(
    file: Path, columns: Collection[str]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the header of a CSV file, and each row's place with its fields.

    Fields are separated by a comma, a semicolon, a tab or a bar, whichever finds most of the
    columns that may be there. Names of columns are made small, spaces around fields and rows
    without content left out, fields that a row leaves off at its end are empty.

    Raises
    ------
    DatasetError
        If it is no CSV file, a column is there twice, or a row has more fields than the header.
    """
    try:
        rows = list(_rows(read_list(file), columns))
    except (UnicodeDecodeError, csv.Error) as exc:
        raise DatasetError(
            f"{file} is not a CSV file in UTF-8: {exc}; save it as CSV in UTF-8"
        ) from exc
    if not rows:
        return [], []
    header = [name.lower() for name in rows[0][1]]
    while header and not header[-1]:
        header.pop()
    if not any(name in columns for name in header):
        raise DatasetError(
            f"{file}, line {rows[0][0]}: expected the header, with columns such as "
            f"{some(list(columns))}, found {shown(some(header))}; remove what stands before it"
        )
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise DatasetError(
            f"{file}: the header has the column {some(repeated)} more than once; name each once"
        )
    found = []
    for number, fields in rows[1:]:
        where = f"{file}, line {number}"
        fields += [""] * (len(header) - len(fields))
        if any(fields[len(header) :]):
            raise DatasetError(
                f"{where}: expected {len(header)} fields as in the header, found {len(fields)}; "
                "put fields that hold a comma or what else separates fields in quotes"
            )
        found.append((where, fields[: len(header)]))
    return header, found


def portable(folder: Path, path: str) -> str:
    r"""Return a path of a list as it is here, where another system wrote it.

    Backslashes become slashes, save those of a file whose name really holds them; names are
    composed (NFC) or decomposed (NFD) as they are in the folder.
    """
    if "\\" in path and problem_of(folder / path) is not None:
        path = path.replace("\\", "/")
    if path.isascii():
        return path
    there = as_there(folder / path)
    return str(there.relative_to(folder)) if there.is_relative_to(folder) else str(there)


def _rows(text: str, columns: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that have content, with the number of their last line."""
    lines = io.StringIO(text, newline="")
    first = next((line for line in lines if line.strip()), "")
    told = first.strip().lower().startswith(_SEPARATOR_LINE)
    if told:
        separator = first.strip()[len(_SEPARATOR_LINE) :][:1] or ("\t" if "\t" in first else ",")
    else:
        separator = max(_SEPARATORS, key=lambda separator: _known(first, separator, columns))
    lines.seek(0)
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    for row in reader:
        fields = [field.strip() for field in row]
        if not any(fields):
            continue
        if told:
            told = False  # this row
            continue
        yield reader.line_num, fields


def _known(header: str, separator: str, columns: Collection[str]) -> int:
    """Return how many columns of a header are known if this separates them."""
    names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
    return sum(name.strip().lower() in columns for name in names)
