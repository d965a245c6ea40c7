"""Read CSV files from people and spreadsheets: with any separator and with blank rows."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path

from patchbank.datasets.layouts.shared import problem_of, read_list, shown, some
from patchbank.errors import DatasetError
from patchbank.vision.image_folders import as_there

_SEPARATORS = (",", ";", "\t", "|")
# A first line like this tells spreadsheets the separator.
_SEPARATOR_LINE = "sep="


def read_table(
    file: Path, columns: Collection[str]
) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Return the header of a CSV file, and the location and fields of each row.

    The separator is a comma, semicolon, tab or bar: the one that finds most of `columns`. Names of
    columns become lower case. Spaces around fields and empty rows are ignored, and fields missing
    at the end of a row are empty.

    Raises
    ------
    DatasetError
        If this is not a CSV file, a column occurs twice, or a row has more fields than the header.
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
            f"{some(list(columns))}, found {shown(some(header))}; remove the lines above the header"
        )
    repeated = [name for name, count in Counter(header).items() if count > 1]
    if repeated:
        raise DatasetError(
            f"{file}: the header has the column {some(repeated)} more than once; keep one"
        )
    found = []
    for number, fields in rows[1:]:
        where = f"{file}, line {number}"
        fields += [""] * (len(header) - len(fields))
        if any(fields[len(header) :]):
            raise DatasetError(
                f"{where}: expected {len(header)} fields as in the header, found {len(fields)}; "
                "quote fields that contain the separator"
            )
        found.append((where, fields[: len(header)]))
    return header, found


def portable(folder: Path, path: str) -> str:
    r"""Return the local form of a path that another system may have written.

    Backslashes become slashes, unless a file's name really contains them; names become composed
    (NFC) or decomposed (NFD), as they are in the folder.
    """
    if "\\" in path and problem_of(folder / path) is not None:
        path = path.replace("\\", "/")
    if path.isascii():
        return path
    actual = as_there(folder / path)
    return str(actual.relative_to(folder)) if actual.is_relative_to(folder) else str(actual)


def _rows(text: str, columns: Collection[str]) -> Iterator[tuple[int, list[str]]]:
    """Yield the rows that are not empty, with the number of their last line."""
    lines = io.StringIO(text, newline="")
    first = next((line for line in lines if line.strip()), "")
    has_separator_line = first.strip().lower().startswith(_SEPARATOR_LINE)
    if has_separator_line:
        separator = first.strip()[len(_SEPARATOR_LINE) :][:1] or ("\t" if "\t" in first else ",")
    else:
        separator = max(_SEPARATORS, key=lambda separator: _known(first, separator, columns))
    lines.seek(0)
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=separator != "\t")
    for row in reader:
        fields = [field.strip() for field in row]
        if not any(fields):
            continue
        if has_separator_line:
            has_separator_line = False  # skip it
            continue
        yield reader.line_num, fields


def _known(header: str, separator: str, columns: Collection[str]) -> int:
    """Return the number of known columns in a header with a separator."""
    names = next(csv.reader([header], delimiter=separator, skipinitialspace=True), [])
    return sum(name.strip().lower() in columns for name in names)
