"""Which images belong together, such as pictures of one part: by name, folder or table."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath

from patchbank.datasets.layouts.manifest import json_lines
from patchbank.datasets.layouts.shared import some
from patchbank.datasets.table import portable, read_table
from patchbank.errors import ParameterError
from patchbank.printable import counted

_FOLDER = re.compile(r"folder(?::(\d+))?")
_TABLE = re.compile(r"(.+\.(?:csv|jsonl|ndjson)):([^:]+)", re.IGNORECASE | re.DOTALL)
_PATH = "path"
# Each image is a group of its own.
_IMAGE = "image"
_FORMS = (
    "a pattern with one group in parentheses, such as 'part(\\d+)', 'folder', 'folder:2' for the "
    "folder above that, a column of a table, such as parts.csv:part, or 'image' where each image "
    "shows another part"
)


def groups_by(rule: str, names: Sequence[str]) -> tuple[Mapping[str, object], tuple[str, ...]]:
    """Return the group of each image that has one by a rule, and remarks on the others.

    Parameters
    ----------
    rule
        ``folder`` or ``folder:N``: the N-th folder above the image. ``FILE.csv:COLUMN``, or JSON
        lines: that column of a table whose column `path` names the images, relative to the table.
        ``image``: each image is a group of its own. Otherwise a regular expression with one group,
        searched in the name.
    names
        Names of the images: paths where they have one.

    Raises
    ------
    ParameterError
        If this is no such rule, or it gives no image a group.
    DatasetError
        If the table cannot be read.
    """
    if rule == _IMAGE:
        return {}, ()
    if found := _FOLDER.fullmatch(rule):
        level = int(found[1] or 1)
        labels: dict[str, object] = {
            name: PurePath(name).parts[:-level]
            for name in names
            if level >= 1 and len(PurePath(name).parts) > level
        }
    elif found := _TABLE.fullmatch(rule):
        labels = _by_table(Path(found[1]), found[2].strip().lower(), names)
    else:
        labels = _by_pattern(rule, names)
    alone = [name for name in names if name not in labels]
    if len(alone) == len(names):
        raise ParameterError(
            f"--group-by {rule!r} gives none of the {counted(len(names), 'image')} a group, such "
            f"as {names[0]}; give {_FORMS}"
        )
    if not alone:
        return labels, ()
    has, count = ("image has", "counts") if len(alone) == 1 else ("images have", "count")
    return labels, (
        f"{len(alone):,} {has} no group by --group-by {rule!r} and {count} as independent: "
        f"{some(alone)}",
    )


def applies_to_more(rule: str) -> bool:
    """Return whether a rule groups images that come later too: a table lists those there are."""
    return rule != _IMAGE and not _TABLE.fullmatch(rule)


def _by_pattern(rule: str, names: Sequence[str]) -> dict[str, object]:
    try:
        pattern = re.compile(rule)
    except re.error as error:
        raise ParameterError(f"--group-by {rule!r}: {error}; give {_FORMS}") from error
    if pattern.groups != 1:
        raise ParameterError(f"--group-by {rule!r}: give {_FORMS}")
    found = {name: pattern.search(name) for name in names}
    return {name: match[1] for name, match in found.items() if match and match[1] is not None}


def _by_table(file: Path, column: str, names: Sequence[str]) -> dict[str, object]:
    rows = _rows(file, column)
    by_path = {os.path.realpath(file.parent / portable(file.parent, path)): label
               for path, label in rows}  # fmt: skip
    by_name = dict(rows)
    labels: dict[str, object] = {}
    for name in names:
        label = by_path.get(os.path.realpath(name)) or by_name.get(name)
        if label:
            labels[name] = label
    return labels


def _rows(file: Path, column: str) -> list[tuple[str, str]]:
    """Return the path and the label of each line of a table."""
    if file.suffix.lower() == ".csv":
        header, lines = read_table(file, (_PATH, column))
        values = [dict(zip(header, fields, strict=True)) for _, fields in lines]
    else:
        values = [found for _, found in json_lines(file)]
        header = sorted({str(key) for found in values for key in found})
    missing = [name for name in (_PATH, column) if name not in header]
    if missing:
        raise ParameterError(
            f"--group-by {file}:{column}: {file} has no column {some(missing)}; it has "
            f"{some(header) or 'none'}"
        )
    return [(str(found.get(_PATH) or ""), str(found.get(column) or "")) for found in values]
