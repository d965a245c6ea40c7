"""Refuse a data set where a folder of good images is wanted, and name the folder that is meant.

A data set is told by the words in the names of its folders: a ``train`` beside a ``test``, a word
of good images beside kinds of defect, or a word of defective ones, at any depth; by names of files,
some good and some bad; or by a manifest that lists anomalous images. Folders by date, camera or
batch are none.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from patchbank.datasets.entries import Entry
from patchbank.datasets.layout import problem_of, shown, some, subfolders
from patchbank.datasets.layouts import manifest
from patchbank.datasets.mask_like import is_mask_folder, masks_among
from patchbank.datasets.words import is_good_name, is_test, is_train, quality_of, words
from patchbank.errors import DatasetError
from patchbank.printable import counted
from patchbank.vision.image_folders import natural_key, resolved_path

# In names of folders beside `good` that hold good images as well: dates, cameras, batches.
_NEUTRAL = re.compile(
    r"\w|(cam|camera|line|batch|lot|shift|day|week|kw|cw|month|station|side|view|position|part|run|series"
    r"|roll|machine|sensor)s?|left|right|top|bottom|front|back|rear|upper|lower|inner|outer|new|old"
    r"|more|extra|morning|night|(mon|tues|wednes|thurs|fri|satur|sun)day"
)
_YEAR = re.compile(r"\d{4}.*")
# Beside `good` or below it, but no kinds of anything; masks neither.
_NO_KIND = frozenset({"xyz", "rgb", "depth", "thumbnails"})
# Either may be that of the good images.
_OPPOSITES = frozenset({"positive", "negative"})
_MANIFESTS = (".manifest", ".csv", ".jsonl", ".ndjson")
# Bytes: a longer list is no list of images of parts.
_LONGEST_MANIFEST = 64_000_000
# How many folders above that of an image are looked at.
_LEVELS = 3


def refuse_dataset(base: Path, images: Sequence[Path], *, named: bool = False) -> list[str]:
    """Refuse images found below a folder if they are those of a data set; return remarks.

    Parameters
    ----------
    named
        Whether the images were asked for by their own names or a glob, which may choose the good
        ones of a data set, as ``data/*/good/*.png`` does.

    Raises
    ------
    DatasetError
        If they are; the message names the folders of good images.
    """
    if not (named and _are_chosen_as_good(base, images)):
        refuse_defects_below(base, images)
    _refuse_kind(base, images)
    _refuse_defects(images)
    _refuse_names(base, images)
    return _refuse_listed(base, images)


def refuse_together(images: Iterable[Path]) -> list[str]:
    """Refuse images that were given by several paths if together they are those of a data set.

    Return remarks.

    Raises
    ------
    DatasetError
        As `refuse_dataset`.
    """
    files = [Path(os.path.abspath(image.expanduser())) for image in images]  # noqa: PTH100
    if not files:
        return []
    base = Path(os.path.commonpath([file.parent for file in files]))
    masks = masks_among(files, base)
    return refuse_dataset(base, [file for file in files if file not in masks], named=True)


def refuse_defects_below(base: Path, images: Sequence[Path]) -> None:
    """Refuse images of a folder if folders below it say that some are not good.

    Raises
    ------
    DatasetError
        If they do; the message names the folders of good images.
    """
    tree = _Tree(base, images)
    good = tree.good_folders()
    if good is None:
        return
    remedy = "give a folder that holds good images only"
    if len(good) == 1:
        remedy = f"give its good images, {good[0]}"
    elif not good:
        # They may lie beside what was given.
        _refuse_kind(base, images)
        _refuse_defects(images)
    else:
        remedy = f"give the good images of one category: {some(good)}"
    raise DatasetError(
        f"{base} is a data set, not a folder of good images ({tree.reason}); {remedy}"
    )


class _Tree:
    """The folders that hold images below a base, as parts of their paths."""

    def __init__(self, base: Path, images: Iterable[Path]) -> None:
        self.base = base
        self.reason = ""
        self._below: dict[tuple[str, ...], set[str]] = defaultdict(set)
        for parent in {image.parent for image in images}:
            if parent != base and base not in parent.parents:
                continue  # a link that led elsewhere
            parts = parent.relative_to(base).parts
            for depth in range(len(parts)):
                self._below[parts[:depth]].add(parts[depth])

    def good_folders(self) -> list[str] | None:
        """Return the folders to learn from, none where there is no such; None: no data set."""
        sets = [
            node
            for node in sorted(self._below, key=lambda parts: natural_key(Path(*parts)))
            if self._is_dataset(node)
        ]
        if not sets:
            return None
        # Those above hold what those below them are made of: kinds in the test of a data set.
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
        """Return the folders of good images in a data set: those of its train, where it has one."""
        train = [name for name in self._names(node) if is_train(name)]
        nodes = [(*node, name) for name in train] or [node]
        if is_test(node[-1] if node else resolved_path(self.base).name):
            beside = _train_good_beside(self.base.joinpath(*node))
            if beside is not None:
                return [str(beside)]
        good: list[str] = []
        for split in nodes:
            inner = [(*split, name) for name in self._names(split) if is_good_name(name)]
            if not inner and train:
                inner = [split]
            good += [
                str(self.base.joinpath(*parts)) for parts in inner if not self._is_spoilt(parts)
            ]
        return good

    def _is_spoilt(self, node: tuple[str, ...]) -> bool:
        """Whether a folder below one is called like defective images."""
        return any(
            _is_bad_name(name) or self._is_spoilt((*node, name)) for name in self._names(node)
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
    """Whether each image lies in a folder called good, and none in one called bad."""
    for folder in {image.parent for image in images}:
        said = [quality_of(part) for part in folder.relative_to(base).parts]
        good = [level for level, quality in enumerate(said) if quality in ("good", "perhaps good")]
        if not good or "bad" in said or "kind of defect" in said[good[0] :]:
            return False
    return True


def _refuse_defects(images: Iterable[Path]) -> None:
    """Refuse images in a folder that is called bad and has one called good beside it."""
    for parent in map(resolved_path, {image.parent for image in images}):
        for folder in (parent, *parent.parents)[:_LEVELS]:
            if is_good_name(folder.name):
                break
            if not _is_bad_name(folder.name):
                continue
            good = [one for one in _subfolders(folder.parent) if is_good_name(one.name)]
            if good:
                pure = [one for one in good if _is_pure(one)]
                remedy = f", {some([str(one) for one in pure])}" if pure else ""
                raise DatasetError(
                    f"{shown(folder)} is called like defective images, and {good[0].name} is "
                    f"beside it; give the good images{remedy}"
                )


def _is_pure(folder: Path) -> bool:
    """Whether no folder in one is called like defective images."""
    return not any(_is_bad_name(one.name) for one in _subfolders(folder))


def _subfolders(folder: Path) -> list[Path]:
    try:
        return subfolders(folder)
    except OSError:  # a folder above that may not be looked into
        return []


def remarks_on_bad_names(images: Sequence[Path]) -> list[str]:
    """Return a remark on images that are called like defective ones where others are not."""
    bad = [image.name for image in images if quality_of(image.stem) == "bad"]
    if not bad or len(bad) == len(images):
        return []
    return [
        f"{len(bad)} of {len(images)} images called like defective ones and taken; leave out what "
        f"is not good: {some(bad)}"
    ]


def _refuse_names(base: Path, images: Sequence[Path]) -> None:
    """Refuse images of which some are called good and some bad: ``ok_1.png``, ``ng_1.png``."""
    good = [image.name for image in images if is_good_name(image.stem)]
    bad = [image.name for image in images if _is_bad_name(image.stem)]
    if good and bad:
        raise DatasetError(
            f"{base} holds images that are not good by their names ({some(bad)}) beside good ones "
            f"({some(good)}); give the good ones only, by a glob for example"
        )


def _refuse_kind(base: Path, images: Sequence[Path]) -> None:
    """Refuse kinds of defect inside a data set: its test/crack."""
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
                f"{base} holds images to judge of a data set ({some(kinds)}); give its good "
                f"images, {good}"
            )


def _train_good_beside(split: Path) -> Path | None:
    """Return the folder of good images in the train beside a test."""
    for folder in _subfolders(split.parent):
        if is_train(folder.name):
            for inner in _subfolders(folder):
                if is_good_name(inner.name) and _is_pure(inner):
                    return inner
    return None


def _refuse_listed(base: Path, images: Sequence[Path]) -> list[str]:
    """Refuse images that a manifest among them, or a little above, lists as anomalous.

    Return remarks on those that one leaves unknown.
    """
    remarks: list[str] = []
    given = {resolved_path(image) for image in images}
    parents = {real.parent for real in given}
    above = [folder for parent in parents for folder in (parent, *parent.parents)[:_LEVELS]]
    for folder in dict.fromkeys((base, *_subfolders(base), *sorted(above, reverse=True))):
        for file in _manifests(folder):
            entries = _entries(base if base in (folder, folder.parent) else folder, file)
            listed = [(entry, resolved_path(entry.path)) for entry in entries]
            bad = [entry for entry, real in listed if entry.label == "anomalous" and real in given]
            if not bad:
                unknown = [e.name for e, real in listed if e.label == "unknown" and real in given]
                if unknown:
                    remarks.append(
                        f"{file} does not say of {counted(len(unknown), 'image')} whether "
                        f"{'it is' if len(unknown) == 1 else 'they are'} good; leave out what is "
                        f"not: {some(unknown)}"
                    )
                continue
            spoilt = {entry.path.parent for entry in entries if entry.label != "good"}
            good = {str(entry.path.parent) for entry in entries if entry.label == "good"}
            pure = sorted(good - {str(folder) for folder in spoilt}, key=natural_key)
            remedy = (
                f"give its good images, {some(pure)}"
                if pure
                else "copy its good images to a folder of their own"
            )
            raise DatasetError(
                f"{base} is a data set, not a folder of good images: {shown(file)} lists "
                f"{counted(len(bad), 'anomalous image')} there ({some([e.name for e in bad])}); "
                f"{remedy}"
            )
    return remarks


def _manifests(folder: Path) -> list[Path]:
    try:
        files = sorted(file for file in folder.iterdir() if file.suffix.lower() in _MANIFESTS)
    except OSError:
        return []
    return [file for file in files if problem_of(file) is None]


def _entries(base: Path, file: Path) -> list[Entry]:
    """Return what a manifest lists; nothing where a file is none."""
    if file.stat().st_size > _LONGEST_MANIFEST:
        return []
    try:
        return manifest.entries_of(file, base)
    except DatasetError:
        return []
