"""Convert the entries of a list of images to the samples of a category."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from patchbank.datasets.layouts.shared import held_out, require_file
from patchbank.datasets.samples import GOOD, CategorySamples, Label, Mask, Sample, Split
from patchbank.errors import DatasetError


@dataclass(frozen=True, slots=True)
class Entry:
    """An image in a list.

    Attributes
    ----------
    where
        File and line, for messages.
    name
        The image's name in the list, where it is unique.
    split
        None if the list does not say.
    """

    where: str
    path: Path
    name: str
    category: str
    label: Label
    kind: str
    split: Split | None = None
    mask: Mask | None = None


def samples_of(
    category: str, entries: Sequence[Entry], warnings: Sequence[str] = ()
) -> CategorySamples:
    """Return the samples of one category.

    If no entry has a split, a fifth of the good images is judged (`held_out`).

    Raises
    ------
    DatasetError
        If an image is listed twice or missing, only some entries have a split, an anomalous image
        is in train, or there is no image to learn from or to judge.
    """
    for name, count in Counter(entry.name for entry in entries).items():
        if count > 1:
            where = next(entry.where for entry in reversed(entries) if entry.name == name)
            raise DatasetError(f"{where}: {name} is listed {count} times; list each image once")
    for entry in entries:
        _require_files(entry)
    _refuse_same_files(entries)
    unsplit = [entry for entry in entries if entry.split is None]
    if unsplit and len(unsplit) < len(entries):
        raise DatasetError(
            f"{unsplit[0].where}: no split, but other images of {category} have one; "
            "give all of them a split, or none"
        )
    good = [entry for entry in entries if entry.label == GOOD]
    judged = {entry.name for entry in good if entry.split == "test"}
    if unsplit and len(good) > 1:
        judged = held_out([entry.name for entry in good])
    train: list[Sample] = []
    test: list[Sample] = []
    for entry in entries:
        if entry.label == GOOD and entry.name not in judged:
            train.append(Sample(entry.path, entry.name, "good", GOOD, "train"))
            continue
        if entry.split == "train":
            raise DatasetError(
                f"{entry.where}: {entry.name} is {entry.label} but in train; only good images are "
                "learned from: set its split to test"
            )
        test.append(Sample(entry.path, entry.name, entry.label, entry.kind, "test", entry.mask))
    file = entries[0].where.rpartition(", line")[0]
    if not train:
        # The first warning is enough; the message already names the file.
        because = ": " + warnings[0].removeprefix(f"{file}: ") if warnings else ""
        raise DatasetError(f"{file} has no good image of {category} to learn from{because}")
    if not test:
        raise DatasetError(
            f"{file} has no image of {category} to judge; set the split of some to test"
        )
    return CategorySamples(category, tuple(train), tuple(test), tuple(warnings))


def _refuse_same_files(entries: Sequence[Entry]) -> None:
    """Refuse two spellings of the same path: an image could be learned from and judged."""
    seen: dict[Path, Entry] = {}
    for entry in entries:
        first = seen.setdefault(entry.path.resolve(), entry)
        if first is not entry:
            raise DatasetError(
                f"{entry.where}: {entry.name} is the same file as {first.name} in line "
                f"{first.where.rpartition(', line ')[2]}; list each image once"
            )


def _require_files(entry: Entry) -> None:
    require_file(entry.where, "image", entry.path)
    for path in entry.mask.paths if entry.mask else ():
        require_file(entry.where, "mask", path)
    if entry.mask and entry.label == GOOD:
        raise DatasetError(f"{entry.where}: {entry.name} is good but has a mask; remove the mask")
