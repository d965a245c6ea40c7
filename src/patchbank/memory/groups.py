"""Reference images that depend on one another, and are left out of the bank together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError


@dataclass(frozen=True, eq=False)
class Groups:
    """A partition of images into groups, each of which counts as one in a calibration.

    Attributes
    ----------
    number
        int64 (n,): each image's group, counted from 0.
    apart
        For each group the images that the bank must not contain when images of the group are
        scored, int64, ascending: its own, and others that depend on these.
    """

    number: npt.NDArray[np.int64]
    apart: tuple[npt.NDArray[np.int64], ...]

    def __post_init__(self) -> None:
        if len(self.apart) < 2:
            raise ParameterError(
                f"groups: all {len(self.number)} images are of one group, and leaving one group "
                f"out needs at least two"
            )

    def __len__(self) -> int:
        return len(self.apart)

    @classmethod
    def of_labels(cls, labels: Sequence[object]) -> Groups:
        """Return the groups of images with equal labels; None for a group of its own.

        Raises
        ------
        ParameterError
            If all have the same label.
        """
        numbers: dict[object, int] = {}
        keys = [object() if label is None else label for label in labels]
        number = np.array([numbers.setdefault(key, len(numbers)) for key in keys], np.int64)
        return cls(number, tuple(np.flatnonzero(number == group) for group in range(len(numbers))))

    @classmethod
    def of_numbers(cls, numbers: npt.NDArray[np.int64]) -> Groups | None:
        """Return the groups of images by number, -1 for a group of its own; None without any two.

        Where all images are of one group, there are none either: something must remain when it is
        left out.
        """
        if (numbers < 0).all() or (numbers.min() == numbers.max()):
            return None
        return cls.of_labels([None if number < 0 else number for number in numbers.tolist()])

    @property
    def are_single(self) -> bool:
        """Whether every image is a group of its own."""
        return len(self) == len(self.number)

    def members(self, group: int) -> npt.NDArray[np.int64]:
        """Return the images of a group, ascending."""
        return np.flatnonzero(self.number == group)

    def left_out_with(self, image: int) -> npt.NDArray[np.bool_]:
        """Return which images the bank must not contain when an image is scored, bool (n,)."""
        found = np.zeros(len(self.number), np.bool_)
        found[self.apart[self.number[image]]] = True
        return found

    @property
    def shared(self) -> npt.NDArray[np.int64]:
        """Each image's group, int64 (n,); -1 if the image is alone in its group."""
        sizes = np.bincount(self.number, minlength=len(self))
        return np.where(sizes[self.number] > 1, self.number, -1)
