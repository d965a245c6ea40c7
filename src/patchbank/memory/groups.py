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
                f"out needs at least two; give images of another group too, or other groups"
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

    @classmethod
    def of_links(cls, likeness: npt.NDArray[np.float32], least: float) -> Groups | None:
        """Return the groups of images that depend on one another where they are alike.

        As many images as can be found that do not depend on one another lead a group each, and
        every other image joins the leader it is most like. What members depend on is left out with
        the group, whether it is in the group or not: of overlapping views of a sheet, each overlaps
        with the next.

        Parameters
        ----------
        likeness
            float32 (n, n), symmetric.
        least
            Images are dependent if they are more alike than this.

        Returns
        -------
        Groups or None
            None if nothing remains when a group is left out.
        """
        count = len(likeness)
        linked = likeness > least
        np.fill_diagonal(linked, True)
        leaders: list[int] = []
        free = np.ones(count, np.bool_)
        degrees = linked.sum(axis=1)
        while free.any():
            # The fewest dependants first: a large independent set (Halldorsson, Radhakrishnan,
            # "Greed is Good", STOC 1994).
            leader = int(np.where(free, degrees, count + 1).argmin())
            leaders.append(leader)
            gone = free & linked[leader]
            free &= ~gone
            degrees -= linked[:, gone].sum(axis=1)
        number = np.where(linked[:, leaders], likeness[:, leaders], -np.inf).argmax(axis=1)
        number[leaders] = np.arange(len(leaders))
        apart = []
        for group in range(len(leaders)):
            away = linked[number == group].any(axis=0)
            if away.all():
                away = linked[leaders[group]] | (number == group)
            if away.all():
                return None
            apart.append(np.flatnonzero(away))
        return cls(number.astype(np.int64), tuple(apart))

    def count_of(self, images: npt.NDArray[np.int64]) -> int:
        """Return of how many groups some images are."""
        return len(np.unique(self.number[images]))

    def of_images(self, chosen: npt.NDArray[np.int64]) -> Groups:
        """Return the groups of some images, counted anew in their order.

        Raises
        ------
        ParameterError
            If all of them are of one group.
        """
        kept, number = np.unique(self.number[chosen], return_inverse=True)
        apart = [np.flatnonzero(np.isin(chosen, self.apart[group])) for group in kept]
        return Groups(number.astype(np.int64), tuple(apart))

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

    def rows_left_out_with(
        self, image: int, owners: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.bool_]:
        """Return which rows go with an image, bool (m,), by the images that they are of.

        Rows of unknown images, negative in `owners`, remain.
        """
        return self.left_out_with(image)[owners] & (owners >= 0)

    @property
    def shared(self) -> npt.NDArray[np.int64]:
        """Each image's group, int64 (n,); -1 if the image is alone in its group."""
        sizes = np.bincount(self.number, minlength=len(self))
        return np.where(sizes[self.number] > 1, self.number, -1)
