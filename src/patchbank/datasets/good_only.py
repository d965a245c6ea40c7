"""Refuse a labelled data set where a folder of good images is expected, and name the right folder.

A data set is recognised by words in the names of its folders, at any depth: ``train`` next to
``test``, a word for good images next to kinds of defect, or a word for defective images; by names
of files, some good and some bad, or a tested board's next to its template's; or by a manifest that
lists anomalous images. Folders by date, camera or batch are not a data set.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from patchbank.datasets.entries import Entry
from patchbank.datasets.layouts import deeppcb, manifest
from patchbank.datasets.layouts.shared import problem_of, shown, some, subfolders
from patchbank.datasets.mask_like import is_mask_folder, masks_among
from patchbank.datasets.words import is_good_name, is_test, is_train, quality_of, words
from patchbank.errors import DatasetError
from patchbank.printable import counted
from patchbank.vision.image_folders import natural_key, resolved_path

# Names of folders next to `good` that hold good images as well: dates, cameras, batches.
_NEUTRAL = re.compile(
    r"\w|(cam|camera|line|batch|lot|shift|day|week|kw|cw|month|station|side|view|position|part|run|series"
    r"|roll|machine|sensor)s?|left|right|top|bottom|front|back|rear|upper|lower|inner|outer|new|old"
    r"|more|extra|morning|night|(mon|tues|wednes|thurs|fri|satur|sun)day"
)
_YEAR = re.compile(r"\d{4}.*")
# Folders next to `good` or below it that are not kinds of defect; nor are folders of masks.
_NO_KIND = frozenset({"xyz", "rgb", "depth", "thumbnails"})
# Either may contain the good images.
_OPPOSITES = frozenset({"positive", "negative"})
_MANIFESTS = (".manifest", ".csv", ".jsonl", ".ndjson")
# In bytes; a longer file is not a list of images.
_LONGEST_MANIFEST = 64_000_000
# Number of folders that are checked, from an image's own upwards.
_LEVELS = 3
_GOOD = ("good", "perhaps good")


def refuse_dataset(base: Path, images: Sequence[Path], *, named: bool = False) -> list[str]:
    """Refuse images found below a folder if they belong to a data set; return remarks.

    Parameters
    ----------
    named
        Whether the images were given by name or by a glob, which may select the good images of a
        data set, such as ``data/*/good/*.png``.
    """
    if not (named and _are_chosen_as_good(base, images)):
        refuse_defects_below(base, images)
    _refuse_kind(base, images)
    _refuse_defects(images)
    _refuse_names(base, images)
    _refuse_tested(base, images)
    return _refuse_listed(base, images)


def refuse_together(images: Iterable[Path]) -> list[str]:
    """Refuse images from several paths if together they are a data set; return remarks."""
    # `Path.resolve` would follow links, whose names count.
    files = [Path(os.path.abspath(image.expanduser())) for image in images]  # noqa: PTH100
    if not files:
        return []
    base = Path(os.path.commonpath([file.parent for file in files]))
    masks = masks_among(files, base)
    return refuse_dataset(base, [file for file in files if file not in masks], named=True)


def refuse_defects_below(base: Path, images: Sequence[Path]) -> None:
    """Refuse images of a folder if names of folders below it show that some are not good.

    Raises
    ------
    DatasetError
        If some are not good; the message names the folders of good images.
    """
    tree = _Tree(base, images)
    good = tree.good_folders()
    if good is None:
        return
    remedy = "give a folder with good images only"
    if len(good) == 1:
        remedy = f"give its good images: {good[0]}"
    elif not good:
        # The good images may be next to the given folder.
        _refuse_kind(base, images)
        _refuse_defects(images)
    else:
        remedy = f"give the good images of one category: {some(good)}"
    raise DatasetError(
        f"{base} is a data set, not a folder of good images ({tree.reason}); {remedy}"
    )


class _Tree:
    """The folders with images below a base folder, as parts of their paths."""

    def __init__(self, base: Path, images: Iterable[Path]) -> None:
        self.base = base
        self.reason = ""
        self._below: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for parent in {image.parent for image in images}:
            if parent != base and base not in parent.parents:
                continue  # reached through a link
            parts = parent.relative_to(base).parts
            for depth in range(len(parts)):
                self._below[parts[:depth]].add(parts[depth])

    def good_folders(self) -> list[str] | None:
        """Return the folders to learn from, possibly none; None if this is not a data set."""
        sets = [
            node
            for node in sorted(self._below, key=lambda parts: natural_key(Path(*parts)))
            if self._is_dataset(node)
        ]
        if not sets:
            return None
        # Keep the topmost: a data set's test folder looks like a data set, too.
        roots = [
            node
            for node in sets
            if not any(node[: len(other)] == other for other in sets if other != node)
        ]
        found: list[str] = []
        for node in roots:
            found += self._good_below(node)
        return list(dict.fromkeys(found))

    def _good_below(self, node: tuple[str, ...]) -> list[str]:
        """Return the folders of good images in a data set, preferably those in its train."""
        train = [name for name in self._names(node) if is_train(name)]
        nodes = [(*node, name) for name in train] or [node]
        if is_test(node[-1] if node else resolved_path(self.base).name):
            sibling = _train_good_beside(self.base.joinpath(*node))
            if sibling is not None:
                return [str(sibling)]
        good: list[str] = []
        for split in nodes:
            inner = [(*split, name) for name in self._names(split) if is_good_name(name)]
            if not inner and train:
                inner = [split]
            good += [
                str(self.base.joinpath(*parts)) for parts in inner if not self._has_defects(parts)
            ]
        return good

    def _has_defects(self, node: tuple[str, ...]) -> bool:
        """Return whether a folder below is named like defective images."""
        return any(
            _is_bad_name(name) or self._has_defects((*node, name)) for name in self._names(node)
        )

    def _is_dataset(self, node: tuple[str, ...]) -> bool:
        names = self._names(node)
        splits = [name for name in names if is_train(name) or is_test(name)]
        if any(map(is_train, splits)) and any(is_test(name) for name in splits):
            return self._because(node, splits)
        opposites = [name for name in names if name.lower() in _OPPOSITES]
        if len(opposites) > 1:
            return self._because(node, opposites)
        good = [name for name in names if is_good_name(name)]
        bad = [name for name in names if quality_of(name) == "bad"]
        kinds = [name for name in names if quality_of(name) == "kind of defect"]
        if bad or (good and kinds):
            return self._because(node, [*good, *bad, *kinds])
        others = [
            name
            for name in names
            if quality_of(name) is None and not (_is_neutral(name) or _is_no_kind(name))
        ]
        if others and any(quality_of(name) == "good" for name in good):
            return self._because(node, [*good, *others])
        return False

    def _because(self, node: tuple[str, ...], names: Sequence[str]) -> bool:
        if not self.reason:
            self.reason = f"{self.base.joinpath(*node)} holds {some(list(names))}"
        return True

    def _names(self, node: tuple[str, ...]) -> list[str]:
        return sorted(self._below.get(node, ()), key=natural_key)


def _is_bad_name(name: str) -> bool:
    return quality_of(name) in ("bad", "kind of defect")


def _is_no_kind(name: str) -> bool:
    return name.lower() in _NO_KIND or is_mask_folder(name)


def _is_neutral(name: str) -> bool:
    return _YEAR.fullmatch(name) is not None or all(map(_NEUTRAL.fullmatch, words(name)))


def _are_chosen_as_good(base: Path, images: Iterable[Path]) -> bool:
    """Return whether all images are in folders named as good, and none in one named as bad."""
    for folder in {image.parent for image in images}:
        qualities = [quality_of(part) for part in folder.relative_to(base).parts]
        good = [level for level, quality in enumerate(qualities) if quality in _GOOD]
        if not good or "bad" in qualities or "kind of defect" in qualities[good[0] :]:
            return False
    return True


def _refuse_defects(images: Iterable[Path]) -> None:
    """Refuse images in a folder named as bad that is next to one named as good."""
    for parent in map(resolved_path, {image.parent for image in images}):
        for folder in (parent, *parent.parents)[:_LEVELS]:
            if is_good_name(folder.name):
                break
            if not _is_bad_name(folder.name):
                continue
            siblings = _subfolders(folder.parent)
            good = [sibling for sibling in siblings if is_good_name(sibling.name)]
            if good:
                pure = [str(sibling) for sibling in good if _is_pure(sibling)]
                remedy = f": {some(pure)}" if pure else ""
                raise DatasetError(
                    f"{shown(folder)} has a name for defective images and is next to "
                    f"{good[0].name}; give the good images{remedy}"
                )


def _is_pure(folder: Path) -> bool:
    """Return whether no subfolder is named like defective images."""
    return not any(_is_bad_name(inner.name) for inner in _subfolders(folder))


def _subfolders(folder: Path) -> list[Path]:
    try:
        return subfolders(folder)
    except OSError:  # a parent folder without read permission
        return []


def remarks_on_bad_names(images: Sequence[Path]) -> list[str]:
    """Return a remark if some, but not all, images have names of defective parts."""
    bad = [image.name for image in images if quality_of(image.stem) == "bad"]
    if not bad or len(bad) == len(images):
        return []
    return [
        f"{len(bad)} of {len(images)} images used despite names for defective parts; leave out any "
        f"that are not good: {some(bad)}"
    ]


def _refuse_names(base: Path, images: Sequence[Path]) -> None:
    """Refuse images of which some are named as good and some as bad: ``ok_1.png``, ``ng_1.png``."""
    good = [image.name for image in images if is_good_name(image.stem)]
    bad = [image.name for image in images if _is_bad_name(image.stem)]
    if good and bad:
        raise DatasetError(
            f"{base} holds images that are not good, judging by their names ({some(bad)}), as well "
            f"as good ones ({some(good)}); give the good ones only, for example with a glob"
        )


def _refuse_tested(base: Path, images: Iterable[Path]) -> None:
    """Refuse tested boards that have their template beside them, as in DeepPCB."""
    tested = [image.name for image in images if _has_template(image)]
    if tested:
        raise DatasetError(
            f"{base} is a data set, not a folder of good images: boards with defects are beside "
            f"their templates ({some(tested)}); give the templates only: "
            f"{base}/**/*{deeppcb.TEMPLATE}.*"
        )


def _has_template(image: Path) -> bool:
    stem = image.stem.removesuffix(deeppcb.TESTED)
    template = image.with_name(stem + deeppcb.TEMPLATE + image.suffix)
    return stem != image.stem and problem_of(template) is None


def _refuse_kind(base: Path, images: Sequence[Path]) -> None:
    """Refuse kinds of defect inside a data set, such as test/crack."""
    full = resolved_path(base)
    for split in (full, *full.parents):
        if not is_test(split.name):
            continue
        good = _train_good_beside(split)
        if good is None:
            continue
        inside = [real for real in map(resolved_path, images) if split in real.parents]
        kinds = sorted({real.relative_to(split).parts[0] for real in inside})
        kinds = [kind for kind in kinds if not (is_good_name(kind) or _is_neutral(kind))]
        if kinds:
            raise DatasetError(
                f"{base} holds test images of a data set ({some(kinds)}); give its good images: "
                f"{good}"
            )


def _train_good_beside(split: Path) -> Path | None:
    """Return the folder of good images in the train folder next to a test folder."""
    for folder in _subfolders(split.parent):
        if is_train(folder.name):
            for inner in _subfolders(folder):
                if is_good_name(inner.name) and _is_pure(inner):
                    return inner
    return None


def _refuse_listed(base: Path, images: Sequence[Path]) -> list[str]:
    """Refuse images that a manifest in their folder, or a few levels up, lists as anomalous.

    Return remarks on images whose label is unknown in a manifest.
    """
    remarks: list[str] = []
    resolved = {resolved_path(image) for image in images}
    parents = {real.parent for real in resolved}
    above = [folder for parent in parents for folder in (parent, *parent.parents)[:_LEVELS]]
    for folder in dict.fromkeys((base, *_subfolders(base), *sorted(above, reverse=True))):
        for file in _manifests(folder):
            entries = _entries(base if base in (folder, folder.parent) else folder, file)
            listed = [(entry, resolved_path(entry.path)) for entry in entries]
            listed = [(entry, real) for entry, real in listed if real in resolved]
            bad = [entry.name for entry, _ in listed if entry.label == "anomalous"]
            if not bad:
                unknown = [entry.name for entry, _ in listed if entry.label == "unknown"]
                if unknown:
                    remarks.append(
                        f"{file} does not say whether "
                        f"{counted(len(unknown), 'image is', 'images are')} good; leave out any "
                        f"that {'is' if len(unknown) == 1 else 'are'} not: {some(unknown)}"
                    )
                continue
            not_good = {str(entry.path.parent) for entry in entries if entry.label != "good"}
            good = {str(entry.path.parent) for entry in entries if entry.label == "good"}
            pure = sorted(good - not_good, key=natural_key)
            remedy = (
                f"give its good images: {some(pure)}"
                if pure
                else "copy its good images to a separate folder"
            )
            raise DatasetError(
                f"{base} is a data set, not a folder of good images: {shown(file)} lists "
                f"{counted(len(bad), 'anomalous image')} in it ({some(bad)}); {remedy}"
            )
    return remarks


def _manifests(folder: Path) -> list[Path]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _MANIFESTS)
    except OSError:
        return []
    return [file for file in files if problem_of(file) is None]


def _entries(base: Path, file: Path) -> list[Entry]:
    """Return the entries of a manifest; none if the file is not a manifest."""
    if file.stat().st_size > _LONGEST_MANIFEST:
        return []
    try:
        return manifest.entries_of(file, base)
    except DatasetError:
        return []
