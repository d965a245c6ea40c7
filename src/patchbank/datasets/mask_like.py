"""Which pictures among images of parts are masks: by folder, by name, by content.

Some names say it by themselves (``ground_truth/``, ``000_mask.png``). Others are names of products
or views as well (``labels/``, ``front_label.png``): there the content decides, too. A picture with
any name is a mask if it has but the values 0 and 255, or 0 and 1, and an image has its name.
"""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchbank.datasets.layout import MASK_FOLDERS, plain_name
from patchbank.errors import ImageError
from patchbank.files import open_regular
from patchbank.spelling import composed
from patchbank.vision.images import decode

_FOLDERS = MASK_FOLDERS | {"annotation", "annotations"}
_FOLDER_IF_FLAT = re.compile(r"masks?|labels?|labelids|seg|segs|gts?|.*(mask|groundtruth|_gt).*")
_NAME = re.compile(r"(.*?)[-_. ]+(masks?|gt|ground[-_ ]?truth)[-_ ]?\d{0,3}", re.IGNORECASE)
_NAME_IF_FLAT = re.compile(
    r"(.*?)[-_. ]*(masks?|seg|segmentation|labels?|annotations?|gt)[-_ ]?\d{0,3}", re.IGNORECASE
)
_PREFIX_IF_FLAT = re.compile(r"(mask|gt|label|seg|ground_?truth)[-_ .]?(.*)", re.IGNORECASE)
# Distinct colours of a mask that has one for each kind.
_MOST_COLOURS = 64
# Beside the colour images of MVTec 3D-AD: positions and distances, no pictures of the part.
_COLOUR_FOLDER = "rgb"
_DEPTH_FOLDERS = frozenset({"xyz", "depth", "pcd", "z"})


def masks_among(files: Sequence[Path], base: Path | None) -> set[Path]:
    """Return those of some pictures that are masks.

    Parameters
    ----------
    base
        The folder they were found below; names of folders above it say nothing.
    """
    masks = {file for file in files if _named_as_mask(file, base)}
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file not in masks:
            by_stem[composed(file.stem)].append(file)
    for group in by_stem.values():
        if len(group) > 1:
            bilevel = {file for file in group if _may_be_bilevel(file) and _is_bilevel(file)}
            if len(bilevel) < len(group):
                masks |= bilevel
    return masks


def is_mask_name(file: Path) -> bool:
    """Whether a file is called as only masks are: ``000_mask.png``, ``000_GT.png``."""
    return _NAME.fullmatch(file.stem) is not None


def depth_data_among(files: Iterable[Path], base: Path | None) -> set[Path]:
    """Return the files in ``xyz`` or ``depth`` that have an ``rgb`` beside their folder."""
    folders = {file.parent for file in files}
    beside = {folder.parent for folder in folders if folder.name.lower() == _COLOUR_FOLDER}
    return {
        file
        for file in files
        if file.parent.name.lower() in _DEPTH_FOLDERS and file.parent.parent in beside
    }


def image_stem_of(mask: Path) -> str:
    """Return the stem of the image a mask is called after; its own where it has no mask's name."""
    for pattern, group in ((_NAME, 1), (_NAME_IF_FLAT, 1), (_PREFIX_IF_FLAT, 2)):
        found = pattern.fullmatch(mask.stem)
        if found is not None and found[group]:
            return found[group]
    return mask.stem


def marks_something(mask: Path) -> bool | None:
    """Whether a mask has a pixel that is not black; None where it cannot be read."""
    pixels = _pixels(mask)
    return None if pixels is None else bool(pixels.any())


def _named_as_mask(file: Path, base: Path | None) -> bool:
    if is_mask_name(file):
        return True
    inner = file.parent.relative_to(base).parts if base and base in file.parents else ()
    if any(plain_name(folder) in _FOLDERS for folder in inner):
        return True
    # The folder given itself may be called after a product.
    folders = inner if base is None else (*inner, base.absolute().name)
    hinted = (
        any(_FOLDER_IF_FLAT.fullmatch(name) for folder in folders for name in _spellings(folder))
        or _NAME_IF_FLAT.fullmatch(file.stem)
        or _PREFIX_IF_FLAT.fullmatch(file.stem)
    )
    return bool(hinted) and _is_flat(file)


def _spellings(folder: str) -> tuple[str, str]:
    """Return a folder's name with one sign between its words, and without any."""
    return folder.lower().replace("-", "_").replace(" ", "_"), plain_name(folder)


def _may_be_bilevel(file: Path) -> bool:
    """Whether a file may have two values only, told without decoding it.

    Two values take at most one bit of a pixel in a PNG; a photograph takes many.
    """
    try:
        with open_regular(file, sys.maxsize) as opened:
            head = opened.read(24)
            size = opened.seek(0, os.SEEK_END)
    except OSError:
        return False
    if head.startswith(b"\xff\xd8"):
        return False
    if head.startswith(b"\x89PNG") and len(head) == 24:
        width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
        return 8 * (size - 16_384) <= 1.25 * width * height
    return True


def _is_bilevel(file: Path) -> bool:
    pixels = _pixels(file)
    if pixels is None:
        return False
    return bool((pixels <= 1).all() or ((pixels == 0) | (pixels == 255)).all())


def _is_flat(file: Path) -> bool:
    """Whether a picture has as few colours as a mask has and no photograph."""
    pixels = _pixels(file)
    if pixels is None:
        return False
    wide = pixels.astype(np.uint32)
    return len(np.unique((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2])) <= (
        _MOST_COLOURS
    )


def _pixels(file: Path) -> npt.NDArray[np.uint8] | None:
    try:
        return decode(file).pixels
    except ImageError:
        return None  # reported where it is read as an image
