"""DeepPCB's layout (Tang et al., 2019): lists of pairs of a template and a tested board.

::

    ROOT/PCBData/trainval.txt     group20085/20085/20085000.jpg group20085/20085_not/20085000.txt
    ROOT/PCBData/test.txt
    ROOT/PCBData/group20085/20085/20085000_temp.jpg
    ROOT/PCBData/group20085/20085/20085000_test.jpg
    ROOT/PCBData/group20085/20085_not/20085000.txt                            x1 y1 x2 y2 type

The image in a list stands for both of its pair. Templates are good; the tested boards of
`trainval.txt` are left out, because only good images are learned from.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from patchbank.datasets.entries import Entry, samples_of
from patchbank.datasets.layouts.shared import (
    found_in,
    listed_lines,
    require_category,
    require_file,
    require_folder,
    shown,
    subfolders,
)
from patchbank.datasets.masks import read_boxes
from patchbank.datasets.samples import GOOD, CategorySamples, Mask, Split
from patchbank.datasets.table import portable
from patchbank.errors import DatasetError

CATEGORY = "deeppcb"
LAYOUT = "ROOT/PCBData with trainval.txt, test.txt and the images they list"
TEMPLATE = "_temp"
TESTED = "_test"
KINDS = ("open", "short", "mousebite", "spur", "copper", "pin-hole")
# The kind of a board with defects of several types, as nearly all are.
ANOMALY = "anomaly"
_LISTS: dict[Split, str] = {"train": "trainval.txt", "test": "test.txt"}
_PAIR = re.compile(r"\s*(\S+)(\.\w+)\s+(\S+\.txt)\s*")


def list_categories(root: str | Path) -> list[str]:
    """Return the only category.

    Raises
    ------
    DatasetError
        If this is not the data set's root.
    """
    _required_folder(Path(root))
    return [CATEGORY]


def load(root: str | Path, category: str = CATEGORY) -> CategorySamples:
    """Return the templates of both lists and the tested boards of `test.txt`.

    Names are paths below `PCBData`. A board's kind is the type of its defects, or `anomaly` if it
    has several.

    Raises
    ------
    DatasetError
        If a list is empty, or a line of a list or of boxes has a mistake.
    """
    folder = _required_folder(Path(root))
    require_category(Path(root), category, [CATEGORY])
    entries: list[Entry] = []
    for split in _LISTS:
        listed = list(_entries(folder, split))
        if not listed:
            raise DatasetError(
                f"{folder / _LISTS[split]} is empty: expected a line GROUP/NNNNN.jpg "
                "GROUP_not/NNNNN.txt for each pair"
            )
        entries += listed
    return samples_of(CATEGORY, entries)


def data_folder(root: Path) -> Path | None:
    """Return the folder with both lists, the root or its `PCBData`; None if neither has them."""
    for folder in (root, root / "PCBData"):
        if all((folder / name).is_file() for name in _LISTS.values()):
            return folder
    return None


def _required_folder(root: Path) -> Path:
    require_folder(root, LAYOUT)
    folder = data_folder(root)
    if folder is not None:
        return folder
    for other in (*root.resolve().parents[:2], *subfolders(root)):
        if data_folder(other) is not None:
            raise DatasetError(f"{root} holds no trainval.txt and test.txt; give {other}")
    raise DatasetError(f"expected {LAYOUT}; {found_in(root)}")


def _entries(folder: Path, split: Split) -> Iterator[Entry]:
    for where, line in listed_lines(folder / _LISTS[split]):
        pair = _PAIR.fullmatch(line)
        if pair is None:
            raise DatasetError(
                f"{where}: expected GROUP/NNNNN.jpg GROUP_not/NNNNN.txt, "
                f"found {shown(line.strip())!r}"
            )
        stem, suffix, boxes = pair.groups()
        name = Path(portable(folder, stem + TEMPLATE + suffix)).as_posix()
        yield Entry(where, folder / name, name, CATEGORY, "good", GOOD, split)
        if split == "test":
            name = Path(portable(folder, stem + TESTED + suffix)).as_posix()
            file = folder / portable(folder, boxes)
            require_file(where, "list of boxes", file)
            kind = _kind(file)
            yield Entry(
                where, folder / name, name, CATEGORY, "anomalous", kind, split, Mask((file,))
            )


def _kind(file: Path) -> str:
    kinds = set()
    for box in read_boxes(file):
        if not 1 <= box.kind <= len(KINDS):
            raise DatasetError(f"{box.where}: type is {box.kind}; expected 1 to {len(KINDS)}")
        kinds.add(KINDS[box.kind - 1])
    return kinds.pop() if len(kinds) == 1 else ANOMALY
