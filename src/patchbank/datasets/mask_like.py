"""Find masks among images of parts, by name and content, or by content alone.

Typical names of masks (``000_mask.png``) and their folders (``gt/``) are also names of products,
views and kinds of defect, so that the content decides, too: a mask has few colours, or it is grey,
mostly of one value, and there is an image of the same name. Whatever its name, a picture with only
the values 0 and 255, or 0 and 1, is a mask if there is an image of the same name. The frame of a
dead camera has a single value, so that its content alone never makes it a mask.
"""

from __future__ import annotations

import os
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchbank.datasets.words import words
from patchbank.errors import ImageError
from patchbank.files import open_regular
from patchbank.spelling import composed
from patchbank.vision.images import decode

# Words in the names of folders of masks.
_FOLDER_WORDS = frozenset(
    {"anno", "annot", "annotation", "annotations", "gt", "gts", "label", "labels", "seg", "segs"}
    | {"segmentation", "segmentations", "truth"}
)
_IN_FOLDER = re.compile("mask|groundtruth")
_NAME = re.compile(r"(.*?)[-_. ]+(masks?|gt|ground[-_ ]?truth)[-_ ]?\d*", re.IGNORECASE)
_NAME_IF_FLAT = re.compile(
    r"(.*?)[-_. ]*(masks?|seg|segmentation|labels?|annotations?|gt)([-_ ].*|\d*)", re.IGNORECASE
)
_PREFIX_IF_FLAT = re.compile(r"(mask|gt|label|seg|ground_?truth)[-_ .]?(.*)", re.IGNORECASE)
# Maximum number of colours in a mask, which may have one for each kind.
_MOST_COLOURS = 64
# Minimum share of pixels with nearly the same value; JPEG and soft edges spread it a little.
_BACKGROUND_SHARE = 0.5
_SPREAD = 5
# MVTec 3D-AD has files with positions and distances next to its colour images.
_COLOUR_FOLDER = "rgb"
_DEPTH_FOLDERS = frozenset({"xyz", "depth", "pcd", "z"})


def masks_among(files: Sequence[Path], base: Path | None) -> set[Path]:
    """Return the masks among pictures.

    Parameters
    ----------
    base
        The folder they were found in; names of folders above it do not count.
    """
    looks = _Looks()
    named = {file for file in files if _named_like_mask(file, base)}
    images = {composed(file.stem) for file in files if file not in named}
    # Where photographs are named like masks, such names mean little in the whole folder.
    photographed = {file.parent for file in named if looks[file].is_photograph}
    masks = {
        file
        for file in named
        if looks[file].is_mask(
            has_image=_has_image(file, images), beside_photographs=file.parent in photographed
        )
    }
    rest = [file for file in files if file not in named]
    if base is not None and is_mask_folder(base.absolute().name):
        # The given folder may be named after a product.
        photographed = {file.parent for file in rest if looks[file].is_photograph}
        masks |= {
            file for file in rest if looks[file].has_few_colours and file.parent not in photographed
        }
    return masks | _masks_by_content([file for file in rest if file not in masks], looks)


def photographs_called_masks(files: Sequence[Path], base: Path | None) -> list[Path]:
    """Return the images (masks are not among `files`) that are named like another image's mask."""
    named = [file for file in files if _named_like_mask(file, base)]
    images = {composed(file.stem) for file in set(files).difference(named)}
    return [file for file in named if _has_image(file, images)]


def _masks_by_content(files: Sequence[Path], looks: _Looks) -> set[Path]:
    """Return two-valued pictures named like an image, in its folder or in a folder of masks."""
    by_stem: dict[str, list[Path]] = defaultdict(list)
    by_folder: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        by_stem[composed(file.stem)].append(file)
        by_folder[file.parent].append(file)

    @cache
    def holds_masks_only(folder: Path) -> bool:
        # A camera's folder has photographs as well.
        return all(_may_be_bilevel(file) and looks[file].colours <= 2 for file in by_folder[folder])

    masks: set[Path] = set()
    for group in by_stem.values():
        if len(group) < 2:
            continue
        bilevel = {file for file in group if _may_be_bilevel(file) and looks[file].is_bilevel}
        images = {file.parent for file in group if file not in bilevel}
        if images:
            masks |= {
                file for file in bilevel if file.parent in images or holds_masks_only(file.parent)
            }
    return masks


def is_mask_name(file: Path) -> bool:
    """Return whether only a mask has such a name: ``000_mask.png``, ``000_GT.png``."""
    return _NAME.fullmatch(file.stem) is not None


def depth_data_among(files: Iterable[Path], base: Path | None) -> set[Path]:
    """Return the files in folders such as ``xyz`` or ``depth`` that are next to an ``rgb``."""
    folders = {file.parent for file in files}
    beside = {folder.parent for folder in folders if folder.name.lower() == _COLOUR_FOLDER}
    return {
        file
        for file in files
        if file.parent.name.lower() in _DEPTH_FOLDERS and file.parent.parent in beside
    }


def image_stem_of(mask: Path) -> str:
    """Return the stem of the image that a mask is named after, by default its own."""
    for pattern, group in ((_NAME, 1), (_NAME_IF_FLAT, 1), (_PREFIX_IF_FLAT, 2)):
        found = pattern.fullmatch(mask.stem)
        if found is not None and found[group]:
            return found[group]
    return mask.stem


def marks_something(mask: Path) -> bool | None:
    """Return whether a mask has a pixel that is not black; None if it cannot be read."""
    pixels = _pixels(mask)
    return None if pixels is None else bool(pixels.any())


def _named_like_mask(file: Path, base: Path | None) -> bool:
    inner = file.parent.relative_to(base).parts if base and base in file.parents else ()
    return (
        any(map(is_mask_folder, inner))
        or _NAME.fullmatch(file.stem) is not None
        or _NAME_IF_FLAT.fullmatch(file.stem) is not None
        or _PREFIX_IF_FLAT.fullmatch(file.stem) is not None
    )


def is_mask_folder(name: str) -> bool:
    """Return whether a folder is named like a folder of masks: ``gt``, ``defect_masks``."""
    in_name = words(name)
    return not _FOLDER_WORDS.isdisjoint(in_name) or _IN_FOLDER.search("".join(in_name)) is not None


def _has_image(mask: Path, stems: set[str]) -> bool:
    return composed(mask.stem) in stems or composed(image_stem_of(mask)) in stems


def _may_be_bilevel(file: Path) -> bool:
    """Return whether a file may have only two values, without decoding it.

    In a PNG, two values take at most one bit per pixel; a photograph takes many.
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


@dataclass(frozen=True, slots=True)
class _Look:
    """Properties of a picture that distinguish masks from photographs.

    Attributes
    ----------
    colours
        The number of distinct colours; 0 if it cannot be read.
    is_bilevel
        Whether it has exactly two values, 0 and 255 or 0 and 1.
    is_plain
        Whether it is grey and mostly of one value.
    """

    colours: int = 0
    is_bilevel: bool = False
    is_plain: bool = True

    @property
    def has_few_colours(self) -> bool:
        """Whether it has as few colours as a mask, and more than one."""
        return 1 < self.colours <= _MOST_COLOURS

    @property
    def is_photograph(self) -> bool:
        return self.colours > _MOST_COLOURS and not self.is_plain

    def is_mask(self, *, has_image: bool, beside_photographs: bool) -> bool:
        """Return whether a picture that is named like a mask is a mask."""
        if beside_photographs:
            return has_image and self.has_few_colours
        return self.has_few_colours or (has_image and self.is_plain)


class _Looks(dict[Path, _Look]):
    """Looks of files, each decoded once."""

    def __missing__(self, file: Path) -> _Look:
        self[file] = look = _look(file)
        return look


def _look(file: Path) -> _Look:
    pixels = _pixels(file)
    if pixels is None:
        return _Look()
    values = np.bincount(pixels[..., 0].ravel(), minlength=256)
    is_grey = not np.ptp(pixels, axis=2).any()
    colours = int(np.count_nonzero(values)) if is_grey else _count_colours(pixels)
    background = np.convolve(values, np.ones(_SPREAD)).max() / values.sum()
    return _Look(
        colours,
        colours == 2 and bool((pixels <= 1).all() or ((pixels == 0) | (pixels == 255)).all()),
        is_grey and bool(background >= _BACKGROUND_SHARE),
    )


def _count_colours(pixels: npt.NDArray[np.uint8]) -> int:
    """Return the number of colours; for a photograph, a lower limit."""
    few = _count_colours(pixels[::8, ::8]) if max(pixels.shape) > 256 else 0
    if few > _MOST_COLOURS:
        return few
    wide = pixels.astype(np.uint32)
    return len(np.unique((wide[..., 0] << 16) | (wide[..., 1] << 8) | wide[..., 2]))


def _pixels(file: Path) -> npt.NDArray[np.uint8] | None:
    try:
        return decode(file).pixels
    except ImageError:
        return None  # reported when it is read as an image
