"""Amazon Lookout for Vision's manifests, for those who bring their images from there.

Each line is a JSON object: `source-ref` is the image's place in S3, `anomaly-label-metadata` holds
the `class-name` normal or anomaly, and `anomaly-mask-ref`, where there is one, a picture with a
colour for each kind of anomaly on a background whose colour its metadata tell. Users may choose
other keys than `anomaly-label` and `anomaly-mask-ref`: the `type` in their metadata tells what they
are.

The images are looked for below the folder that was given, or that of the manifest: of
`s3://bucket/a/b/1.jpg`, that is `bucket/a/b/1.jpg`, else `a/b/1.jpg`, else `b/1.jpg`, else `1.jpg`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from patchbank.datasets.entries import Entry
from patchbank.datasets.layout import problem_of, shown, some, subfolders
from patchbank.datasets.samples import GOOD, Label, Mask, Split
from patchbank.errors import DatasetError
from patchbank.printable import counted
from patchbank.vision.image_folders import as_there

ANOMALY = "anomaly"
_LABELS: dict[str, Label] = {"normal": "good", "anomaly": "anomalous"}
# The type in a key's metadata, and the key where metadata have none.
_CLASSIFICATION = ("image-classification", "anomaly-label")
_SEGMENTATION = ("semantic-segmentation", "anomaly-mask-ref")
_NO_LABEL = "no label"
_WHITE = "#ffffff"
_HEX = re.compile(r"#[0-9a-fA-F]{6}")


def find_manifest(folder: Path, name: str) -> Path | None:
    """Return the manifest of a name in a folder or, as exports have it, in one of its folders."""
    places = [folder, *subfolders(folder)]
    return next((place / name for place in places if (place / name).is_file()), None)


def read(
    folder: Path,
    files: Mapping[Split | None, tuple[Path, list[tuple[str, dict[str, Any]]]]],
    *,
    category: str,
) -> tuple[list[Entry], list[str]]:
    """Return what manifests say of their images, and warnings.

    Parameters
    ----------
    folder
        The images are below it.
    files
        Each split's manifest with its lines; None where there is but one.
    category
        What the images are called together.

    Raises
    ------
    DatasetError
        If a line cannot be used, or an image is not found.
    """
    entries: list[Entry] = []
    warnings: list[str] = []
    for split, (file, lines) in files.items():
        if not lines:
            raise DatasetError(f"{file} names no image; expected a JSON object a line")
        read_ = [_entry(folder, where, values, category, split) for where, values in lines]
        warnings += _remarks_on_labels(file, [values for _, values in lines])
        moved = sum(e.split == "test" and e.label == "anomalous" for e in read_)
        if split == "train" and moved:
            warnings.append(
                f"{file}: {moved} of {counted(len(read_), 'image')} anomalous: judged, not learned"
            )
        entries += read_
    return entries, warnings


def _entry(
    folder: Path, where: str, values: dict[str, Any], category: str, split: Split | None
) -> Entry:
    source = values.get("source-ref")
    if not isinstance(source, str):
        raise DatasetError(f"{where}: no source-ref; expected a manifest of Lookout for Vision")
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
    """Return what a line says of its image; unknown where nothing, or no one thing."""
    labels = {_known(name) for name in _class_names(values)} - {None}
    return (labels.pop() if len(labels) == 1 else None) or "unknown"


def _known(name: Any) -> Label | None:
    """Return what a class name means; None for any that is not Lookout's own."""
    return _LABELS.get(name.strip().lower()) if isinstance(name, str) else None


def _class_names(values: dict[str, Any]) -> list[Any]:
    return [values[f"{key}-metadata"].get("class-name") for key in _keys(values, *_CLASSIFICATION)]


def _keys(values: dict[str, Any], wanted: str, default: str) -> list[str]:
    """Return the keys whose metadata have a type, the usual key first."""
    keys = []
    for name, metadata in values.items():
        key = name.removesuffix("-metadata")
        if key == name or not isinstance(metadata, dict):
            continue
        if wanted in str(metadata.get("type", wanted if key == default else "")):
            keys.append(key)
    return sorted(keys, key=lambda key: key != default)


def _remarks_on_labels(file: Path, lines: Sequence[dict[str, Any]]) -> list[str]:
    """Say which labels of a manifest are none of those expected."""
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
            f"{file}: beside normal and anomaly, other labels are ignored: {listed}; check that "
            "none means a defect"
        )
    unclear = Counter(_found_label(values) for values in lines if _label(values) == "unknown")
    # Some images may not have been labelled yet.
    if set(unclear) <= {_NO_LABEL} and unclear.total() < len(lines):
        return remarks
    listed = some([f"{name} ({count})" for name, count in unclear.most_common()])
    remarks.append(
        f"{file}: {unclear.total()} of {counted(len(lines), 'image')} unknown, and never learned: "
        f"expected one class name, normal or anomaly, found {listed}"
    )
    return remarks


def _found_label(values: dict[str, Any]) -> str:
    """Return in words what a line of an unknown image has for its label."""
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
    """Return an anomaly's kind, if its mask has just one, and the mask."""
    keys = _keys(values, *_SEGMENTATION) or [_SEGMENTATION[1]]
    source = values.get(keys[0])
    if source is None:
        return ANOMALY, None
    metadata = values.get(f"{keys[0]}-metadata")
    colours = metadata.get("internal-color-map") if isinstance(metadata, dict) else None
    if not isinstance(source, str) or not isinstance(colours, dict):
        raise DatasetError(f"{where}: {keys[0]} without the internal-color-map of its metadata")
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
    one = kinds[0] if len(kinds) == 1 else ""
    return (one if one not in ("", GOOD) else ANOMALY), mask


def _local(folder: Path, where: str, source: str) -> Path:
    """Return the local file of a place in S3."""
    if not source.startswith("s3://"):
        raise DatasetError(f"{where}: {source} is no place in S3; expected s3://BUCKET/KEY")
    parts = [part for part in source.removeprefix("s3://").split("/") if part not in ("", ".")]
    if ".." in parts:
        raise DatasetError(f"{where}: {source} leads out of its folder")
    for dropped in range(len(parts)):
        path = as_there(folder.joinpath(*parts[dropped:]))
        if problem_of(path) is None:
            return path
    raise DatasetError(
        f"{where}: {shown(source)} is not below {folder}; expected it there as "
        f"{shown('/'.join(parts))}, or with leading folders left out"
    )
