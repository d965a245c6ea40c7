"""Manifests of Amazon Lookout for Vision, for moving from there.

Each line is a JSON object: `source-ref` is the image's S3 address, `anomaly-label-metadata` has the
`class-name` normal or anomaly, and the optional `anomaly-mask-ref` is a picture with one colour for
each kind of anomaly, on a background whose colour is in the metadata. Users can choose keys other
than `anomaly-label` and `anomaly-mask-ref`; the `type` in the metadata identifies them.

Images are searched for below the given folder, or the manifest's. For `s3://bucket/a/b/1.jpg` these
are, in order, `bucket/a/b/1.jpg`, `a/b/1.jpg`, `b/1.jpg` and `1.jpg`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchbank.datasets.entries import Entry
from patchbank.datasets.layouts.shared import problem_of, shown, some, subfolders
from patchbank.datasets.samples import GOOD, Label, Mask, Split
from patchbank.errors import DatasetError
from patchbank.printable import counted
from patchbank.vision.image_folders import as_there

ANOMALY = "anomaly"
_LABELS: dict[str, Label] = {"normal": "good", "anomaly": "anomalous"}
# The type in a key's metadata, and the key that needs no type.
_CLASSIFICATION = ("image-classification", "anomaly-label")
_SEGMENTATION = ("semantic-segmentation", "anomaly-mask-ref")
_NO_LABEL = "no label"
_WHITE = "#ffffff"
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def find_manifest(folder: Path, name: str) -> Path | None:
    """Return the manifest with a name in a folder or, as in exports, in one of its subfolders."""
    files = [parent / name for parent in (folder, *subfolders(folder))]
    return next((file for file in files if file.is_file()), None)


def read(
    folder: Path,
    files: Mapping[Split | None, tuple[Path, list[tuple[str, dict[str, Any]]]]],
    *,
    category: str,
) -> tuple[list[Entry], list[str]]:
    """Return the entries of manifests, and warnings.

    Parameters
    ----------
    folder
        The folder that the images are below.
    files
        The manifest of each split, with its lines; the key None stands for a single manifest.
    category
        The category of all images.

    Raises
    ------
    DatasetError
        If a manifest is empty.
    """
    entries: list[Entry] = []
    warnings: list[str] = []
    for split, (file, lines) in files.items():
        if not lines:
            raise DatasetError(f"{file} lists no images; expected one JSON object per line")
        listed = [_entry(folder, where, values, category, split) for where, values in lines]
        warnings += _remarks_on_labels(file, [values for _, values in lines])
        moved = sum(entry.split == "test" and entry.label == "anomalous" for entry in listed)
        if split == "train" and moved:
            warnings.append(
                f"{file}: {moved} of {counted(len(listed), 'image')} anomalous: judged, not "
                "learned from"
            )
        entries += listed
    return entries, warnings


def _entry(
    folder: Path, where: str, values: dict[str, Any], category: str, split: Split | None
) -> Entry:
    source = values.get("source-ref")
    if not isinstance(source, str):
        raise DatasetError(f"{where}: no source-ref; expected a Lookout for Vision manifest")
    path = _local(folder, where, source)
    label = _label(values)
    kind, mask = GOOD, None
    if label == "anomalous":
        kind, mask = _anomaly(folder, where, values)
    elif label == "unknown":
        kind = "unlabelled"
    if split == "train" and label != "good":
        split = "test"
    name = path.relative_to(folder).as_posix()
    return Entry(where, path, name, category, label, kind, split, mask)


def _label(values: dict[str, Any]) -> Label:
    """Return the label in a line; unknown without a label, or with several that differ."""
    labels = {_known(name) for name in _class_names(values)} - {None}
    return (labels.pop() if len(labels) == 1 else None) or "unknown"


def _known(name: Any) -> Label | None:
    """Return the label for a class name; None if it is not one of Lookout's."""
    return _LABELS.get(name.strip().lower()) if isinstance(name, str) else None


def _class_names(values: dict[str, Any]) -> list[Any]:
    return [values[f"{key}-metadata"].get("class-name") for key in _keys(values, *_CLASSIFICATION)]


def _keys(values: dict[str, Any], wanted: str, default: str) -> list[str]:
    """Return the keys whose metadata has a type, starting with the default key."""
    keys = []
    for name, metadata in values.items():
        key = name.removesuffix("-metadata")
        if key == name or not isinstance(metadata, dict):
            continue
        if wanted in str(metadata.get("type", wanted if key == default else "")):
            keys.append(key)
    return sorted(keys, key=lambda key: key != default)


def _remarks_on_labels(file: Path, lines: Sequence[dict[str, Any]]) -> list[str]:
    """Return remarks on unexpected labels in a manifest."""
    remarks = []
    ignored = Counter(
        str(name)
        for values in lines
        if _label(values) != "unknown"
        for name in _class_names(values)
        if _known(name) is None
    )
    if ignored:
        listed = some([f"{name!r} ({count})" for name, count in ignored.most_common()])
        remarks.append(
            f"{file}: labels other than normal and anomaly are ignored: {listed}; check that none "
            "means a defect"
        )
    unclear = Counter(_found_label(values) for values in lines if _label(values) == "unknown")
    # Some images may not have been labelled yet.
    if set(unclear) <= {_NO_LABEL} and unclear.total() < len(lines):
        return remarks
    listed = some([f"{name} ({count})" for name, count in unclear.most_common()])
    remarks.append(
        f"{file}: label unknown for {unclear.total()} of {counted(len(lines), 'image')}, not "
        f"learned from: expected one class name, normal or anomaly, found {listed}"
    )
    return remarks


def _found_label(values: dict[str, Any]) -> str:
    """Return a description of the label in a line where it is unknown."""
    names = _class_names(values)
    if names:
        return " and ".join("no class name" if name is None else repr(name) for name in names)
    types = [
        metadata["type"]
        for name, metadata in values.items()
        if name.endswith("-metadata") and isinstance(metadata, dict) and "type" in metadata
    ]
    return " and ".join(map(str, types)) or _NO_LABEL


def _anomaly(folder: Path, where: str, values: dict[str, Any]) -> tuple[str, Mask | None]:
    """Return the kind of an anomaly, if its mask has exactly one, and the mask."""
    keys = _keys(values, *_SEGMENTATION) or [_SEGMENTATION[1]]
    source = values.get(keys[0])
    if source is None:
        return ANOMALY, None
    metadata = values.get(f"{keys[0]}-metadata")
    colours = metadata.get("internal-color-map") if isinstance(metadata, dict) else None
    if not isinstance(source, str) or not isinstance(colours, dict):
        raise DatasetError(f"{where}: {keys[0]} has no internal-color-map in its metadata")
    background, kinds = _WHITE, []
    for colour in colours.values():
        name = str(colour.get("class-name")) if isinstance(colour, dict) else ""
        if name.upper() == "BACKGROUND":
            background = str(colour.get("hex-color"))
        else:
            kinds.append(name)
    if not _HEX.fullmatch(background):
        raise DatasetError(f"{where}: hex-color of BACKGROUND is {background!r}; expected #ffffff")
    red, green, blue = bytes.fromhex(background[1:])
    mask = Mask((_local(folder, where, source),), background=(red, green, blue))
    kind = kinds[0] if len(kinds) == 1 else ""
    return (kind if kind not in ("", GOOD) else ANOMALY), mask


def _local(folder: Path, where: str, source: str) -> Path:
    """Return the local file for an S3 address."""
    if not source.startswith("s3://"):
        raise DatasetError(f"{where}: {source} is not an S3 address; expected s3://BUCKET/KEY")
    parts = [part for part in source.removeprefix("s3://").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DatasetError(f"{where}: {source} points outside its folder")
    for omitted in range(len(parts)):
        path = as_there(folder.joinpath(*parts[omitted:]))
        if problem_of(path) is None:
            return path
    raise DatasetError(
        f"{where}: {shown(source)} is not below {folder}; expected {shown('/'.join(parts))} there, "
        "with or without its leading folders"
    )
