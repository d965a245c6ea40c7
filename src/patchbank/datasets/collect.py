"""The images that paths stand for, without what lies among them and is no image of a part."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.good_only import refuse_dataset, refuse_together, remarks_on_bad_names
from patchbank.datasets.layout import some
from patchbank.datasets.mask_like import (
    depth_data_among,
    image_stem_of,
    is_mask_name,
    marks_something,
    masks_among,
    photographs_called_masks,
)
from patchbank.errors import DatasetError, NoImagesError
from patchbank.printable import counted
from patchbank.spelling import composed
from patchbank.vision.heif import remedy_for
from patchbank.vision.image_folders import Found, describe_content, find_each, look_below
from patchbank.vision.own_pictures import is_own_picture

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Collected:
    """Images, and what a person should know of how they were found, a line each."""

    images: tuple[Path, ...]
    remarks: tuple[str, ...] = ()


def collect(
    paths: Sequence[str | Path], *, good_only: bool = False, exclude: Collection[str] = ()
) -> Collected:
    """Return the images of parts that folders, files and globs stand for; see `find_each`.

    Left out, with a remark, are masks, pictures that patchbank wrote, and files that are no image
    by their names. A file that is named itself is taken whatever it is.

    Parameters
    ----------
    good_only
        Whether the images are to be learned from: a data set is refused, and images that their
        masks mark as defective are left out.
    exclude
        Names of images that will not be learned, so that they may be defective.

    Raises
    ------
    DatasetError
        If the images are those of a data set, of which the good ones only are wanted.
    NoImagesError
        If nothing is there, or nothing is left.
    """
    images: list[Path] = []
    remarks: list[str] = []
    unread: list[Path] = []
    unlabelled: list[str] = []
    each = find_each(paths)
    for given, found in zip(paths, each, strict=True):
        unread += found.unread
        if found.base is None:
            images += found.images
            remarks += remarks_on_named(found.images)
            continue
        chosen = _without_others(found, remarks)
        if good_only:
            learned = _without_excluded(chosen.parts, exclude)
            unlabelled += refuse_dataset(
                found.base, learned, named=not Path(given).expanduser().is_dir()
            )
            parts = _without_marked(found.base, chosen, remarks)
        else:
            parts = chosen.parts
        if found.images and not parts:
            raise NoImagesError(f"{given} holds no image of a part: {'; '.join(remarks)}")
        images += parts
    if good_only and (len(each) > 1 or each[0].base is None):
        unlabelled = refuse_together(_without_excluded(images, exclude))
    remarks += unlabelled
    if good_only:
        remarks += remarks_on_bad_names(_without_excluded(images, exclude))
    if unread:
        remarks.append(remark_on_unread(unread))
    _log.debug("found %d images", len(images))
    return Collected(tuple(images), tuple(remarks))


def parts_below(folder: Path, remarks: list[str]) -> list[Path]:
    """Return the images of parts below a folder of a data set, none where there are none.

    What is left out, as `collect` does, is added to the remarks.

    Raises
    ------
    NoImagesError
        If the folder cannot be read.
    """
    found = look_below(folder)
    parts = _without_others(found, remarks).parts
    if found.unread:
        remarks.append(f"{folder}: {remark_on_unread(found.unread)}")
    return parts


def required_images(folder: Path, remarks: list[str]) -> list[Path]:
    """Return the images below a folder that must have some; see `parts_below`.

    Raises
    ------
    DatasetError
        If it holds none.
    """
    before = len(remarks)
    images = parts_below(folder, remarks)
    if not images:
        reason = "; ".join([f"it holds {describe_content(folder)}", *remarks[before:]])
        raise DatasetError(f"{folder} holds no image; {reason}")
    return images


def remarks_on_named(
    images: Iterable[object], *, good_only: bool = False, exclude: Collection[str] = ()
) -> list[str]:
    """Return a remark on images that were named one by one, and are called like masks.

    Raises
    ------
    DatasetError
        As `collect`, of those that are paths.
    """
    paths = [Path(image) for image in images if isinstance(image, str | Path)]
    remarks = refuse_together(_without_excluded(paths, exclude)) if good_only else []
    masks = [path.name for path in paths if is_mask_name(path)]
    own = [path.name for path in paths if is_own_picture(path)]
    if masks:
        remarks.append(
            f"{counted(len(masks), 'image is', 'images are')} called like a mask and taken, since "
            f"you named {_it(masks)}: {some(masks)}"
        )
    if own:
        remarks.append(
            f"{counted(len(own), 'picture')} that patchbank wrote itself taken, since you "
            f"named {_it(own)}: {some(own)}"
        )
    if good_only:
        remarks += remarks_on_bad_names(_without_excluded(paths, exclude))
    return remarks


def remark_on_unread(files: Sequence[Path]) -> str:
    """Say how many files were not read, by suffix."""
    suffixes = Counter(file.suffix.lower() or "without suffix" for file in files)
    listed = ", ".join(
        suffix if len(suffixes) == 1 else f"{count} {suffix}"
        for suffix, count in suffixes.most_common()
    )
    remedy = remedy_for(suffixes)
    return f"{counted(len(files), 'file')} not read: {listed}" + (f"; `{remedy}`" if remedy else "")


@dataclass(frozen=True, slots=True)
class _Sorted:
    parts: list[Path]
    masks: set[Path]


def _without_others(found: Found, remarks: list[str]) -> _Sorted:
    """Return the images of parts among what was found, and the masks; record what is left out."""
    own = {file for file in found.images if is_own_picture(file)}
    rest = [file for file in found.images if file not in own]
    depth = depth_data_among(rest, found.base)
    rest = [file for file in rest if file not in depth]
    masks = masks_among(rest, found.base)
    for others, text in (
        (masks, "mask|masks"),
        (depth, "file of positions or depth|files of positions or depth"),
        (own, "picture that patchbank wrote|pictures that patchbank wrote"),
    ):
        if others:
            names = [file.name for file in found.images if file in others]
            remarks.append(
                f"{counted(len(names), *text.split('|'))} left out in {found.base}: {some(names)}"
            )
    parts = [file for file in rest if file not in masks]
    doubtful = [file.name for file in photographs_called_masks(parts, found.base)]
    if doubtful:
        remarks.append(
            f"{counted(len(doubtful), 'image is', 'images are')} called like the mask of another "
            f"in {found.base} and taken, since no mask looks like that: {some(doubtful)}"
        )
    return _Sorted(parts, masks)


def _without_excluded(images: Sequence[Path], exclude: Collection[str]) -> list[Path]:
    excluded = {composed(name) for name in exclude}
    return [image for image in images if excluded.isdisjoint(map(composed, _names(image)))]


def _names(image: Path) -> tuple[str, str]:
    return image.as_posix(), image.name


def _without_marked(base: Path, chosen: _Sorted, remarks: list[str]) -> list[Path]:
    """Return the images that no mask marks as defective, as far as masks mean that.

    A black mask is that of a good image, so that where there is one the others mark defects. Where
    there is none, they may just as well say where the part is.
    """
    by_stem: dict[str, list[Path]] = defaultdict(list)
    for image in chosen.parts:
        by_stem[composed(image.stem)].append(image)
    marked: set[Path] = set()
    mean_defects = False
    for mask in chosen.masks:
        same = by_stem.get(composed(image_stem_of(mask)), [])
        same = [image for image in same if image.parent == mask.parent] or same
        if len(same) != 1:
            continue
        marks = marks_something(mask)
        mean_defects |= marks is False
        if marks:
            marked.add(same[0])
    if not marked:
        return chosen.parts
    names = [image.name for image in chosen.parts if image in marked]
    if mean_defects:
        remarks.append(
            f"{counted(len(names), 'image')} left out in {base} for defects that masks mark: "
            f"{some(names)}"
        )
        return [image for image in chosen.parts if image not in marked]
    remarks.append(
        f"{counted(len(names), 'image')} in {base} with a mask that marks something: where "
        f"that is a defect, the image is not good, leave it out: {some(names)}"
    )
    return chosen.parts


def _it(things: Sized) -> str:
    return "it" if len(things) == 1 else "them"
