"""Collect the images of parts from paths, without masks and other files among them."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.good_only import refuse_dataset, refuse_together, remarks_on_bad_names
from patchbank.datasets.layouts.shared import some
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
    """Images, with one-line remarks on how they were found."""

    images: tuple[Path, ...]
    remarks: tuple[str, ...] = ()


def collect(
    paths: Sequence[str | Path], *, good_only: bool = False, exclude: Collection[str] = ()
) -> Collected:
    """Return the images of parts in folders, files and globs; see `find_each`.

    Masks, pictures written by patchbank and files without an image suffix are left out, with a
    remark. A file that is given by name is always used.

    Parameters
    ----------
    good_only
        Whether the images are to be learned from: a data set is refused, and images whose masks
        mark defects are left out.
    exclude
        Names of images that will not be learned from, so that they may be defective.

    Raises
    ------
    NoImagesError
        If no image is found, or none is left.
    """
    images: list[Path] = []
    remarks: list[str] = []
    unread: list[Path] = []
    unlabelled: list[str] = []
    each = find_each(paths)
    for path, found in zip(paths, each, strict=True):
        unread += found.unread
        if found.base is None:
            images += found.images
            remarks += remarks_on_named(found.images)
            continue
        chosen = _without_others(found, remarks)
        if good_only:
            learned = _without_excluded(chosen.parts, exclude)
            unlabelled += refuse_dataset(
                found.base, learned, named=not Path(path).expanduser().is_dir()
            )
            parts = _without_marked(found.base, chosen, remarks)
        else:
            parts = chosen.parts
        if found.images and not parts:
            raise NoImagesError(f"{path} holds no image of a part: {'; '.join(remarks)}")
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
    """Return the images of parts below a folder of a data set, possibly none.

    Files are left out as in `collect`, with a remark.
    """
    found = look_below(folder)
    parts = _without_others(found, remarks).parts
    if found.unread:
        remarks.append(f"{folder}: {remark_on_unread(found.unread)}")
    return parts


def required_images(folder: Path, remarks: list[str]) -> list[Path]:
    """Return the images below a folder, at least one; see `parts_below`.

    Raises
    ------
    DatasetError
        If there is no image.
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
    """Return remarks on images given by name that look like masks or patchbank's pictures."""
    paths = [Path(image) for image in images if isinstance(image, str | Path)]
    remarks = refuse_together(_without_excluded(paths, exclude)) if good_only else []
    masks = [path.name for path in paths if is_mask_name(path)]
    own = [path.name for path in paths if is_own_picture(path)]
    if masks:
        remarks.append(
            f"{counted(len(masks), 'image is', 'images are')} named like a mask but used, because "
            f"you gave {_it(masks)} by name: {some(masks)}"
        )
    if own:
        subject = counted(
            len(own), "picture written by patchbank is", "pictures written by patchbank are"
        )
        remarks.append(f"{subject} used, because you gave {_it(own)} by name: {some(own)}")
    if good_only:
        remarks += remarks_on_bad_names(_without_excluded(paths, exclude))
    return remarks


def remark_on_unread(files: Sequence[Path]) -> str:
    """Return a remark with the number of files that were not read, by suffix."""
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
    """Separate the images of parts from masks and other files; add remarks on the latter."""
    own = {file for file in found.images if is_own_picture(file)}
    rest = [file for file in found.images if file not in own]
    depth = depth_data_among(rest, found.base)
    rest = [file for file in rest if file not in depth]
    masks = masks_among(rest, found.base)
    for others, text in (
        (masks, "mask|masks"),
        (depth, "file with positions or depth|files with positions or depth"),
        (own, "picture written by patchbank|pictures written by patchbank"),
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
            f"{counted(len(doubtful), 'image')} in {found.base} named like the mask of another "
            f"image but used, because no mask looks like that: {some(doubtful)}"
        )
    return _Sorted(parts, masks)


def _without_excluded(images: Sequence[Path], exclude: Collection[str]) -> list[Path]:
    excluded = {composed(name) for name in exclude}
    return [image for image in images if excluded.isdisjoint(map(composed, _names(image)))]


def _names(image: Path) -> tuple[str, str]:
    return image.as_posix(), image.name


def _without_marked(base: Path, chosen: _Sorted, remarks: list[str]) -> list[Path]:
    """Return the images that no mask marks as defective.

    A black mask belongs to a good image: if there is one, the other masks mark defects. If there is
    none, masks may also outline the part, so that all images are kept, with a remark.
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
            f"{counted(len(names), 'image')} left out in {base} because of defects marked by "
            f"masks: {some(names)}"
        )
        return [image for image in chosen.parts if image not in marked]
    remarks.append(
        f"{counted(len(names), 'image')} in {base} with a mask that marks something; if it marks a "
        f"defect, leave the image out: {some(names)}"
    )
    return chosen.parts


def _it(things: Sized) -> str:
    return "it" if len(things) == 1 else "them"
