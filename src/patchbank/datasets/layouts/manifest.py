"""Manifests: a CSV or JSON-lines file that lists images.

::

    path,label,kind,split,mask,category
    images/1.png,good,,train,,bracket
    images/7.png,anomalous,crack,test,masks/7.png,bracket

`path` and `label` (good, anomalous or unknown) are required; the default category is the file's
name. Paths are relative to the manifest. `group` is read by ``--group-by FILE:group`` alone. A
JSON-lines file has one object per line with the same keys; its `mask` may be a list. The manifests
of Amazon Lookout for Vision are JSON lines with other keys, see `lookout`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, cast, get_args

from patchbank.datasets.entries import Entry, samples_of
from patchbank.datasets.layouts import lookout
from patchbank.datasets.layouts.shared import found_in, listed_lines, require_category, some
from patchbank.datasets.samples import GOOD, CategorySamples, Label, Mask, Split
from patchbank.datasets.table import portable, read_table
from patchbank.errors import DatasetError
from patchbank.spelling import composed

LAYOUT = "a CSV or JSON-lines file with the path and label of each image"
SUFFIXES = (".csv", ".jsonl", ".ndjson", ".json", ".manifest")
_KEYS = ("path", "label", "kind", "split", "mask", "category", "group")
_REQUIRED = ("path", "label")

Line = tuple[str, dict[str, Any]]


def list_categories(root: str | Path) -> list[str]:
    """Return the categories in the manifest, in its order."""
    entries, _ = _read(Path(root))
    return list(dict.fromkeys(entry.category for entry in entries))


def load(root: str | Path, category: str) -> CategorySamples:
    """Return the images of one category.

    Parameters
    ----------
    root
        The manifest, or a folder with Lookout for Vision's `train.manifest` and `test.manifest`.
    """
    entries, warnings = _read(Path(root))
    categories = list(dict.fromkeys(entry.category for entry in entries))
    category = require_category(Path(root), category, categories)
    chosen = [entry for entry in entries if entry.category == category]
    return samples_of(category, chosen, warnings)


def entries_of(file: Path, folder: Path) -> list[Entry]:
    """Return the entries of a manifest; `folder` is where Lookout for Vision's images are."""
    return _read_file(file, folder)[0]


def _read(root: Path) -> tuple[list[Entry], list[str]]:
    if root.is_dir():
        return lookout.read(root, _lookout_files(root), category=root.resolve().name)
    if not root.exists():
        raise DatasetError(f"{root} does not exist; give {LAYOUT}")
    if root.suffix.lower() not in SUFFIXES:
        raise DatasetError(
            f"{root} is not named like a manifest: expected {', '.join(SUFFIXES)}; give {LAYOUT}"
        )
    return _read_file(root, root.parent)


def _read_file(file: Path, folder: Path) -> tuple[list[Entry], list[str]]:
    if file.suffix.lower() == ".csv":
        lines = list(_csv_lines(file))
    else:
        lines = list(json_lines(file))
        if lines and "source-ref" in lines[0][1]:
            return lookout.read(folder, {None: (file, lines)}, category=file.stem)
    if not lines:
        raise DatasetError(f"{file} lists no images; give {LAYOUT}")
    return [_entry(file, where, values) for where, values in lines], []


def _lookout_files(folder: Path) -> dict[Split | None, tuple[Path, list[Line]]]:
    train = lookout.find_manifest(folder, "train.manifest")
    test = lookout.find_manifest(folder, "test.manifest")
    if train is None:
        files = [file.name for file in sorted(folder.iterdir()) if file.suffix in SUFFIXES]
        meant = f"; it holds {some(files)}: give one of them" if files else f"; {found_in(folder)}"
        raise DatasetError(
            f"{folder} is a folder without a train.manifest; give the manifest{meant}"
        )
    if test is None:
        return {None: (train, list(json_lines(train)))}
    return {"train": (train, list(json_lines(train))), "test": (test, list(json_lines(test)))}


def _csv_lines(file: Path) -> Iterator[Line]:
    header, rows = read_table(file, _KEYS)
    _check_keys(str(file), header)
    for where, fields in rows:
        yield where, dict(zip(header, fields, strict=True))


def json_lines(file: Path) -> Iterator[Line]:
    """Yield the location and object of each line.

    Raises
    ------
    DatasetError
        If a line is not a JSON object.
    """
    for where, line in listed_lines(file):
        try:
            values = json.loads(line)
        except json.JSONDecodeError as exc:
            raise DatasetError(
                f"{where}: not JSON ({exc.msg}); expected one object per line"
            ) from exc
        except RecursionError as exc:
            raise DatasetError(f"{where}: nested too deeply; expected one object per line") from exc
        except ValueError as exc:
            # Python limits the number of digits.
            raise DatasetError(f"{where}: a number has too many digits; expected strings") from exc
        if not isinstance(values, dict):
            raise DatasetError(f"{where}: not a JSON object; expected one object per line")
        yield where, values


def _check_keys(where: str, keys: Collection[str]) -> None:
    unknown = [key for key in keys if key not in _KEYS]
    if unknown:
        raise DatasetError(f"{where}: unknown column {some(unknown)}; use {', '.join(_KEYS)}")
    missing = [key for key in _REQUIRED if key not in keys]
    if missing:
        raise DatasetError(
            f"{where}: no column {some(missing)}; {' and '.join(_REQUIRED)} are required"
        )


def _entry(file: Path, where: str, values: dict[str, Any]) -> Entry:
    _check_keys(where, values)
    texts = {key: value for key, value in values.items() if key != "mask" and value is not None}
    for key, value in texts.items():
        if not isinstance(value, str):
            raise DatasetError(f"{where}: {key} is {value!r}; expected a string")
    if not texts.get("path"):
        raise DatasetError(f"{where}: path is empty")
    label = texts.get("label", "").lower()
    if label not in get_args(Label):
        raise DatasetError(f"{where}: label is {label!r}; expected good, anomalous or unknown")
    kind = composed(texts.get("kind") or label)
    if (kind == GOOD) != (label == GOOD):
        raise DatasetError(f"{where}: kind {kind!r} does not fit label {label!r}")
    split = texts.get("split", "").lower() or None
    if split not in (None, *get_args(Split)):
        raise DatasetError(f"{where}: split is {split!r}; expected train or test")
    path = portable(file.parent, texts["path"])
    return Entry(
        where=where,
        path=file.parent / path,
        name=Path(path).as_posix(),
        category=composed(texts.get("category") or file.stem),
        label=cast(Label, label),
        kind=kind,
        split=cast("Split | None", split),
        mask=_mask(file, where, values.get("mask")),
    )


def _mask(file: Path, where: str, value: object) -> Mask | None:
    if value is None or value == "" or value == []:
        return None
    values = value if isinstance(value, list) else [value]
    names = [name for name in values if isinstance(name, str) and name]
    if len(names) < len(values):
        raise DatasetError(f"{where}: mask is {value!r}; expected a path")
    return Mask(tuple(file.parent / portable(file.parent, name) for name in names))
