"""VisA's layout (Zou et al., ECCV 2022): a CSV file lists the images and their split.

::

    ROOT/split_csv/1cls.csv                              object,split,label,image,mask
    ROOT/candle/Data/Images/Normal/0000.JPG
    ROOT/candle/Data/Images/Anomaly/000.JPG
    ROOT/candle/Data/Masks/Anomaly/000.png
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.layouts.shared import (
    found_in,
    is_folder,
    problem_of,
    require_category,
    require_folder,
    shown,
    some,
    subfolders,
)
from patchbank.datasets.samples import GOOD, CategorySamples, Mask, Sample
from patchbank.datasets.table import portable, read_table
from patchbank.errors import DatasetError
from patchbank.printable import counted
from patchbank.spelling import composed

SPLIT_FILE = Path("split_csv") / "1cls.csv"
LAYOUT = f"ROOT/{SPLIT_FILE.as_posix()} and the images it lists"
ANOMALY = "anomaly"
_COLUMNS = ("object", "split", "label", "image", "mask")
_NORMAL = "normal"


@dataclass(frozen=True, slots=True)
class _Row:
    where: str
    category: str
    split: str
    label: str
    image: str
    mask: str


def list_categories(root: str | Path) -> list[str]:
    """Return the objects in the split file, in its order."""
    root = Path(root)
    require_folder(root, LAYOUT)
    return list(dict.fromkeys(row.category for row in _rows(root)))


def load(root: str | Path, category: str) -> CategorySamples:
    """Return the images of one object.

    Raises
    ------
    DatasetError
        If the object has no images in a split, or an image is listed twice.
    """
    root = Path(root)
    require_folder(root, LAYOUT)
    rows = list(_rows(root))
    category = require_category(root, category, list(dict.fromkeys(row.category for row in rows)))
    samples = [_sample(root, row) for row in rows if row.category == category]
    train = tuple(sample for sample in samples if sample.split == "train")
    test = tuple(sample for sample in samples if sample.split == "test")
    for split, images in (("train", train), ("test", test)):
        if not images:
            raise DatasetError(f"{root / SPLIT_FILE} has no row of {category} with split {split}")
    repeated = len(samples) - len({sample.name for sample in samples})
    if repeated:
        raise DatasetError(
            f"{root / SPLIT_FILE} lists {counted(repeated, 'image')} of {category} twice"
        )
    return CategorySamples(category, train, test)


def _rows(root: Path) -> Iterator[_Row]:
    file = root / SPLIT_FILE
    if not file.exists():
        raise DatasetError(_explain_missing(root))
    header, rows = read_table(file, _COLUMNS)
    missing = [name for name in _COLUMNS if name not in header]
    if missing:
        raise DatasetError(
            f"{file} has no column {some(missing)}: expected {','.join(_COLUMNS)}, "
            f"found {some(header or ['nothing'])}"
        )
    if not rows:
        raise DatasetError(f"{file} lists no images: expected one row per image after the header")
    for where, fields in rows:
        values = dict(zip(header, fields, strict=True))
        for name in ("image", "mask"):
            values[name] = portable(root, values[name])
        values["object"] = composed(values["object"])
        yield _Row(where, *(values[name] for name in _COLUMNS))


def _sample(root: Path, row: _Row) -> Sample:
    if row.split not in ("train", "test"):
        raise DatasetError(f"{row.where}: split is {row.split!r}; expected train or test")
    if row.label not in (_NORMAL, ANOMALY):
        raise DatasetError(f"{row.where}: label is {row.label!r}; expected {_NORMAL} or {ANOMALY}")
    image = root / row.image
    if not row.image or problem_of(image) is not None:
        raise DatasetError(f"{row.where}: image {shown(image)} {_absence(image)}")
    name = Path(row.image).as_posix()
    split = "train" if row.split == "train" else "test"
    if row.label == _NORMAL:
        return Sample(image, name, "good", GOOD, "train" if split == "train" else "test")
    if split == "train":
        raise DatasetError(f"{row.where}: {row.image} is anomalous; only normal images are learned")
    mask = root / row.mask
    if row.mask and problem_of(mask) is not None:
        raise DatasetError(f"{row.where}: mask {shown(mask)} {_absence(mask)}")
    return Sample(image, name, "anomalous", ANOMALY, "test", Mask((mask,)) if row.mask else None)


def _explain_missing(root: Path) -> str:
    expected = f"expected {root / SPLIT_FILE}, which lists the images to learn from"
    if (root.resolve().parent / SPLIT_FILE).is_file():
        full = root.resolve()
        return f"{expected}; {root} is one object: give {full.parent} and --category {full.name}"
    for folder in subfolders(root):
        if (folder / SPLIT_FILE).is_file():
            return f"{expected}; {folder} has it: give that folder"
    return f"{expected}; {found_in(root)}"


def _absence(path: Path) -> str:
    """Return what is wrong with a path, and the content of the nearest folder that exists."""
    folder = next(parent for parent in path.parents if is_folder(parent))
    return f"{problem_of(path) or 'does not exist'}; {found_in(folder)}"
