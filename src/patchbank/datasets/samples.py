"""The samples of a data set: its images, with their labels, splits and masks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Label = Literal["good", "anomalous", "unknown"]
Split = Literal["train", "test"]

GOOD = "good"


@dataclass(frozen=True, slots=True)
class Mask:
    """The mask of an image: the pixels that any of its files marks as anomalous.

    Attributes
    ----------
    paths
        One or more mask images or lists of boxes (``.txt``); their union counts.
    background
        RGB of the pixels that are not anomalous; every other colour marks an anomaly.
    """

    paths: tuple[Path, ...]
    background: tuple[int, int, int] = (0, 0, 0)

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("a mask needs at least one file")


@dataclass(frozen=True, slots=True)
class Sample:
    """An image of a data set.

    Attributes
    ----------
    path
        The image file.
    name
        Unique in its category; for a data set, the POSIX path from the data set's root
        (``leather/train/good/012.png``).
    label
        Whether the part is good or anomalous, or unknown.
    kind
        The kind of defect (``crack``), or ``good`` for a good image.
    split
        Learned from (``train``) or judged (``test``).
    mask
        The anomalous pixels, if the data set has a mask.
    """

    path: Path
    name: str
    label: Label
    kind: str
    split: Split
    mask: Mask | None = None

    def __post_init__(self) -> None:
        if (self.kind == GOOD) != (self.label == GOOD):
            raise ValueError(f"{self.name}: label {self.label!r} does not fit kind {self.kind!r}")
        if self.mask is not None and self.label == GOOD:
            raise ValueError(f"{self.name}: a good image has no mask")


@dataclass(frozen=True, slots=True)
class CategorySamples:
    """The images of one category of a data set.

    Attributes
    ----------
    category
        The category's name.
    train, test
        The images to learn from, all good, and the images to judge.
    warnings
        Irregularities in the data set, one line each.
    """

    category: str
    train: tuple[Sample, ...]
    test: tuple[Sample, ...]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = Counter(sample.name for sample in (*self.train, *self.test))
        repeated = [name for name, count in names.items() if count > 1]
        if repeated:
            raise ValueError(f"category {self.category}: name {repeated[0]!r} occurs twice")
        if any(sample.label != GOOD for sample in self.train):
            raise ValueError(f"category {self.category}: only good images may be learned from")

    @property
    def has_masks(self) -> bool:
        """Whether any test image has a mask."""
        return any(sample.mask is not None for sample in self.test)

    @property
    def kinds(self) -> dict[str, int]:
        """Number of test images of each kind, with good images first."""
        counts = Counter(sample.kind for sample in self.test)
        order = sorted(counts, key=lambda kind: (kind != GOOD, kind))
        return {kind: counts[kind] for kind in order}
