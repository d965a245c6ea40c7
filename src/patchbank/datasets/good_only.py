"""Refuse a data set where a folder of good images is wanted, and name the folder that is meant.

A data set is told by its folders: a ``train`` beside a ``test``, a ``good`` beside kinds of defect
or a folder with a name as ``bad``, at any depth; or by a manifest that lists anomalous images.
Folders by date, camera or batch are none.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from patchbank.datasets import manifest
from patchbank.datasets.entries import Entry
from patchbank.datasets.folders import natural_key, resolved_path
from patchbank.datasets.layout import BAD_NAMES, GOOD_NAMES, plain_name, shown, some, subfolders
from patchbank.errors import DatasetError

_TRAIN = frozenset({"train", "training"})
_TEST = frozenset(
    {"test", "testing", "tests", "testpublic", "testprivate", "testprivatemixed"}
    | {"val", "valid", "validation"}
)
# Good by its name only beside a folder of defects: "normal" may be one of several exposures.
_PERHAPS_GOOD = "normal"
# Folders beside `good` that hold good images as well: dates, numbers, cameras, batches.
_NEUTRAL = re.compile(
    r"[\d\W_]+|\d{4}.*|(cam|camera|line|batch|lot|shift|day|week|month|station|side|view|position|"
    r"part|run|series|roll|machine|sensor)[\W_]*"
    r"(\d+[a-z]?|[a-z]|left|right|top|bottom|front|back|rear|upper|lower|inner|outer)?"
)
# Beside `good` or below it, but no kinds of anything.
_NO_KIND = frozenset({"groundtruth", "masks", "mask", "gt", "xyz", "rgb", "depth", "thumbnails"})
_MANIFESTS = (".manifest", ".csv", ".jsonl", ".ndjson")
# Bytes: a longer list is no list of images of parts.
_LONGEST_MANIFEST = 64_000_000


def refuse_dataset(base: Path, images: Sequence[Path]) -> None:
    """Refuse images found below a folder if they are those of a data set.

    Raises
    ------
    DatasetError
        If they are; the message names the folders of good images.
    """
    tree = _Tree(base, images)
    good = tree.good_folders()
    if good is None:
        _refuse_kind(base, images)
        _refuse_listed(base, images)
        return
    remedy = "give a folder that holds good images only"
    if len(good) == 1:
        remedy = f"give its good images, {good[0]}"
    elif good:
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
        train = [name for name in self._names(node) if plain_name(name) in _TRAIN]
        nodes = [(*node, name) for name in train] or [node]
        if plain_name(node[-1] if node else resolved_path(self.base).name) in _TEST:
            beside = _train_good_beside(self.base.joinpath(*node))
            if beside is not None:
                return [str(beside)]
        good: list[str] = []
        for place in nodes:
            inner = [
                (*place, name) for name in self._names(place) if plain_name(name) in GOOD_NAMES
            ]
            if not inner and train:
                inner = [place]
            good += [str(self.base.joinpath(*parts)) for parts in inner]
        return good

    def _is_dataset(self, node: tuple[str, ...]) -> bool:
        names = {name: plain_name(name) for name in self._names(node)}
        plain = set(names.values())
        if plain & _TRAIN and plain & _TEST:
            self._because(node, [name for name in names if names[name] in _TRAIN | _TEST])
            return True
        bad = [name for name in names if names[name] in BAD_NAMES]
        good = [name for name in names if names[name] in GOOD_NAMES]
        kinds = [
            name
            for name in names
            if names[name] not in GOOD_NAMES | _NO_KIND and not _NEUTRAL.fullmatch(name.lower())
        ]
        surely = any(names[name] != _PERHAPS_GOOD for name in good)
        if bad or (surely and kinds):
            self._because(node, [*good, *(bad or kinds)])
            return True
        return False

    def _because(self, node: tuple[str, ...], names: Sequence[str]) -> None:
        if not self.reason:
            self.reason = f"{self.base.joinpath(*node)} holds {some(list(names))}"

    def _names(self, node: tuple[str, ...]) -> list[str]:
        return sorted(self._below.get(node, ()), key=natural_key)


def _refuse_kind(base: Path, images: Sequence[Path]) -> None:
    """Refuse kinds of defect inside a data set: its test/crack."""
    full = resolved_path(base)
    for split in (full, *full.parents):
        if plain_name(split.name) not in _TEST:
            continue
        good = _train_good_beside(split)
        if good is None:
            continue
        inside = [real for real in map(resolved_path, images) if split in real.parents]
        kinds = sorted({real.relative_to(split).parts[0] for real in inside})
        kinds = [kind for kind in kinds if plain_name(kind) not in GOOD_NAMES]
        if kinds:
            raise DatasetError(
                f"{base} holds images to judge of a data set ({some(kinds)}); give its good "
                f"images, {good}"
            )


def _train_good_beside(split: Path) -> Path | None:
    """Return the folder of good images in the train beside a test."""
    for folder in subfolders(split.parent):
        if plain_name(folder.name) in _TRAIN:
            for inner in subfolders(folder):
                if plain_name(inner.name) in GOOD_NAMES:
                    return inner
    return None


def _refuse_listed(base: Path, images: Sequence[Path]) -> None:
    """Refuse images that a manifest among them lists as anomalous."""
    given = {resolved_path(image) for image in images}
    for folder in (base, *subfolders(base)):
        for file in sorted(folder.iterdir()):
            if file.suffix.lower() not in _MANIFESTS or not file.is_file():
                continue
            entries = _entries(base, file)
            listed = [(entry, resolved_path(entry.path)) for entry in entries]
            bad = [entry for entry, real in listed if entry.label == "anomalous" and real in given]
            if not bad:
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
                f"{len(bad)} images there that are anomalous ({some([e.name for e in bad])}); "
                f"{remedy}"
            )


def _entries(base: Path, file: Path) -> list[Entry]:
    """Return what a manifest lists; nothing where a file is none."""
    if file.stat().st_size > _LONGEST_MANIFEST:
        return []
    try:
        return manifest.entries_of(file, base)
    except DatasetError:
        return []
