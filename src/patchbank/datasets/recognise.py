"""Recognise which data set a folder holds, to explain a wrong `--dataset`."""

from __future__ import annotations

from pathlib import Path

from patchbank.datasets.layouts import deeppcb, manifest, visa
from patchbank.datasets.layouts.lookout import find_manifest
from patchbank.datasets.layouts.shared import subfolders
from patchbank.datasets.samples import GOOD
from patchbank.vision.image_folders import is_image_name

_SPLITS = frozenset({"train", "test", "validation", "ground_truth", "test_public"})
_LOCO_KINDS = ("logical_anomalies", "structural_anomalies")


def recognise(root: Path) -> str | None:
    """Return the name of the data set that a root looks like, or None if that is unclear."""
    if not root.is_dir():
        is_manifest = root.exists() and root.suffix.lower() in manifest.SUFFIXES
        return "manifest" if is_manifest else None
    if (root / visa.SPLIT_FILE).is_file():
        return "visa"
    if _has_kolektor_masks(root / "train"):
        return "kolektorsdd2"
    pairs = deeppcb.data_folder(root)
    if pairs is not None and any(pairs.glob(f"*/*/*{deeppcb.TEMPLATE}.*")):
        return "deeppcb"
    if find_manifest(root, "train.manifest") is not None:
        return "manifest"
    categories = [folder for folder in subfolders(root) if folder.name not in _SPLITS]
    if any((category / "test_public").is_dir() for category in categories):
        return "mvtec-ad2"
    if any((category / "test" / kind).is_dir() for category in categories for kind in _LOCO_KINDS):
        return "mvtec-loco"
    if any((category / "train" / GOOD).is_dir() for category in categories):
        return "mvtec"
    if any((category / "train" / "ok").is_dir() for category in categories):
        return "btad"
    if (root / GOOD).is_dir() or any((category / GOOD).is_dir() for category in categories):
        return "folder" if root.name not in _SPLITS else None
    return None


def _has_kolektor_masks(folder: Path) -> bool:
    return folder.is_dir() and any(
        is_image_name(entry) and entry.stem.endswith("_GT") for entry in folder.iterdir()
    )
