"""Pair masks with images by name.

Full names come first: ``000.png`` and ``000.png.tif`` are masks of ``000.png``, not of ``000.jpg``
next to it. The rest is paired by names without suffix, where these are unambiguous. Only pictures
can be masks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.collect import remark_on_unread
from patchbank.datasets.layouts.shared import some, subfolders
from patchbank.datasets.samples import Mask
from patchbank.errors import DatasetError
from patchbank.printable import counted
from patchbank.spelling import composed
from patchbank.vision.image_folders import images_below, is_image_name, look_below, natural_key


@dataclass(frozen=True, slots=True)
class NamedMask:
    """A mask with the names of images that it may belong to.

    Attributes
    ----------
    names
        Full names of images, as paths below their folder, the most likely first.
    stem
        The image's name without suffix, `composed`; None if it is not named like a mask.
    folder
        The mask's folder, such as ``000/``, if that is named after the image.
    """

    mask: Mask
    names: tuple[str, ...] = ()
    stem: str | None = None
    folder: str = ""

    @property
    def shown(self) -> str:
        """Its name in messages: the file or folder to rename."""
        return self.folder or self.mask.paths[0].name


# Takes a folder of masks, and a list to which it adds remarks.
MaskFinder = Callable[[Path, list[str]], list[NamedMask]]


def named_mask(file: Path, folder: Path, suffixes: Sequence[str] = ("",)) -> NamedMask:
    """Return a mask with the names of images it may belong to; see `masks_by_name`."""
    relative = file.relative_to(folder).as_posix()
    stem = relative.removesuffix(file.suffix)
    for suffix in suffixes:
        if stem.endswith(suffix):
            image = stem.removesuffix(suffix)
            full = (image,) if is_image_name(image) else ()
            return NamedMask(Mask((file,)), (*full, image + file.suffix), composed(image))
    # The image's full name needs no suffix after it.
    return NamedMask(Mask((file,)), (stem,) if is_image_name(stem) else ())


def masks_by_name(
    truth: Path, remarks: list[str], *, suffixes: Sequence[str] = ("",)
) -> list[NamedMask]:
    """Return the masks below a folder.

    `suffixes` are the possible endings of a mask's stem, after the stem of its image.
    """
    if not truth.is_dir():
        return []
    found = look_below(truth)
    if found.unread:
        remarks.append(f"{truth}: {remark_on_unread(found.unread)}")
    return [named_mask(file, truth, suffixes) for file in found.images]


def masks_by_folder(truth: Path, remarks: list[str]) -> list[NamedMask]:
    """Return the masks below a folder, where each image's masks are in a folder of its name."""
    if not truth.is_dir():
        return []
    masks = [
        NamedMask(Mask(tuple(inside)), (folder.name,), composed(folder.name), f"{folder.name}/")
        for folder in subfolders(truth)
        if (inside := images_below(folder))
    ]
    # Files next to the folders, as in other layouts, belong to no image.
    files = [file for file in truth.iterdir() if not file.is_dir() and is_image_name(file)]
    return masks + [NamedMask(Mask((file,))) for file in sorted(files, key=natural_key)]


def paired(images: Sequence[str], masks: Sequence[NamedMask]) -> dict[int, NamedMask]:
    """Return the masks by index of their image; `images` are paths below the images' folder."""
    found: dict[int, NamedMask] = {}
    composed_names = [composed(image) for image in images]
    _pair_up(images, [(mask, mask.names) for mask in masks], found)
    _pair_up(composed_names, [(mask, list(map(composed, mask.names))) for mask in masks], found)
    stems = [(mask, [] if mask.stem is None else [mask.stem]) for mask in masks]
    _pair_up([_stem(name) for name in composed_names], stems, found)
    return found


def _pair_up(
    images: Sequence[str],
    masks: Sequence[tuple[NamedMask, Sequence[str]]],
    found: dict[int, NamedMask],
) -> None:
    """Pair each mask with the image that has its first name, if exactly one has that name."""
    free: dict[str, list[int]] = defaultdict(list)
    for number, name in enumerate(images):
        if number not in found:
            free[name].append(number)
    used = set(found.values())
    for mask, names in masks:
        known = [name for name in names if len(free.get(name, ())) == 1]
        if known and mask not in used:
            found[free.pop(known[0])[0]] = mask


def pair_masks(
    images: Sequence[Path],
    kind: Path,
    truth: Path,
    masks: Sequence[NamedMask],
    expected: str,
    warnings: list[str],
) -> list[Mask | None]:
    """Return the mask of each image below a kind's folder; add warnings on unpaired ones.

    Raises
    ------
    DatasetError
        If there are masks but none could be paired, so that they must be misnamed.
    """
    found = paired([image.relative_to(kind).as_posix() for image in images], masks)
    used = {mask.mask.paths for mask in found.values()}
    left = [mask for mask in masks if mask.mask.paths not in used]
    like: dict[str | None, str] = {
        composed(_stem(image.relative_to(kind).as_posix())): image.name for image in images
    }
    unclear = [mask for mask in left if mask.stem in like]
    unused = [mask.shown for mask in left if mask.stem not in like]
    without = [image.name for number, image in enumerate(images) if number not in found]
    if left and not found:
        raise DatasetError(
            f"no mask for {counted(len(images), 'image')} in {kind}: expected {truth}/{expected}, "
            f"found {some([*unused, *(mask.shown for mask in unclear)])}"
        )
    if without:
        warnings.append(
            f"{kind}: no mask {truth}/{expected} for {len(without)} of "
            f"{counted(len(images), 'image')}: {some(without)}"
        )
    if unused:
        warnings.append(f"{truth}: no image for {counted(len(unused), 'mask')}: {some(unused)}")
    if unclear:
        first = unclear[0]
        ending = "/" if first.folder else first.mask.paths[0].suffix
        warnings.append(
            f"{truth}: {some([mask.shown for mask in unclear])} may be the mask of several images; "
            f"name a mask after the full name of its image, such as {like[first.stem]}{ending}"
        )
    return [found[number].mask if number in found else None for number in range(len(images))]


def _stem(name: str) -> str:
    return name.removesuffix(Path(name).suffix)
