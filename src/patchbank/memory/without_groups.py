"""A memory bank without each of some groups of images that depend on one another, in turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.memory.groups import Groups
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent

# Patches searched between progress reports.
_AT_ONCE = 8192

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class WithoutGroups:
    """What patches find in a bank without all that a group depends on.

    Attributes
    ----------
    distances
        float32 (N,): of each patch to the nearest row that is not left out with its own group;
        infinite without one.
    nearest
        int64 (N,): this row; -1 without one.
    orphaned, lost
        int64 (o,): patches that no row covers without a group that their image does not depend on,
        and this group; by group, then by patch.
    uncovered
        float32 (o,): the distances of these patches to the nearest row that remains.
    """

    distances: Floats
    nearest: Integers
    orphaned: Integers
    lost: Integers
    uncovered: Floats


def search_without_groups(
    index: NeighbourIndex,
    radius: float,
    patches: Floats,
    images: Integers,
    groups: Groups,
    *,
    slack: Floats | None = None,
    stage: str = "calibrate",
    progress: Progress = silent,
) -> WithoutGroups:
    """Search a bank without each group in turn.

    One search finds the nearest rows of two classes (`_Classes`). A group leaves out all of a class
    or nothing of it, so that the first of the two that stays is the nearest without the group. Only
    where both go is another search needed: never where groups do not overlap.

    Parameters
    ----------
    index
        The whole bank, with the images of its rows as groups; negative where unknown.
    radius, slack
        A row covers a patch within the radius and the slack, float32 (N,), by which the patch's
        distances may be inexact.
    patches, images
        float32 (N, d) and int64 (N,).
    groups
        Of all images.
    stage, progress
        Called as patches are searched; may raise `KeyboardInterrupt`.
    """
    search = _Search(index, radius, patches, images, groups, slack)
    total = len(groups.number) + len(groups)
    for start in range(0, len(patches), _AT_ONCE):
        progress(stage, len(groups.number) * start // len(patches), total)
        search.all_groups(start, min(start + _AT_ONCE, len(patches)))
    search.sort_rest()
    for group in range(len(groups)):
        progress(stage, len(groups.number) + group, total)
        search.rest_of(group)
    progress(stage, total, total)
    return search.found()


class _Classes:
    """Classes of images, each of which is left out with the same groups.

    Attributes
    ----------
    number
        int64 (n + 1,): the class of each image, and last that of all unknown images, which always
        stay.
    away
        bool (groups, classes): whether a class is left out with a group.
    """

    def __init__(self, groups: Groups) -> None:
        away = np.zeros((len(groups), len(groups.number) + 1), np.bool_)
        for group, images in enumerate(groups.apart):
            away[group, images] = True
        self.away, number = np.unique(away, axis=1, return_inverse=True)
        self.number = number.reshape(-1).astype(np.int64)
        # The groups with which each class is left out, one class after another.
        left_out, self._groups = np.nonzero(self.away.T)
        self._starts = np.searchsorted(left_out, np.arange(self.away.shape[1] + 1))

    def groups_without(self, classes: Integers) -> tuple[Integers, Integers]:
        """Return pairs: places in `classes`, and each group that this class is left out with."""
        starts = self._starts[classes]
        counts = self._starts[classes + 1] - starts
        places = np.arange(len(classes)).repeat(counts)
        within = np.arange(len(places)) - (np.cumsum(counts) - counts).repeat(counts)
        return places, self._groups[starts.repeat(counts) + within]


class _Search:
    """The state of `search_without_groups`."""

    def __init__(
        self,
        index: NeighbourIndex,
        radius: float,
        patches: Floats,
        images: Integers,
        groups: Groups,
        slack: Floats | None,
    ) -> None:
        assert index.groups is not None
        self._classes = classes = _Classes(groups)
        self._row_class = classes.number[np.maximum(index.groups, -1)]
        self._index = index.with_groups(self._row_class)
        self._radius, self._slack = radius, slack
        self._patches, self._group = patches, groups.number[images]
        self._class = classes.number[images]
        self._distances = np.empty(len(patches), np.float32)
        self._nearest = np.empty(len(patches), np.int64)
        self._uncovered: list[tuple[Integers, Integers, Floats]] = []
        # Patches and groups that both rows go with; whether the group is the patch's own.
        self._rest: list[tuple[Integers, Integers, npt.NDArray[np.bool_]]] = []

    def all_groups(self, start: int, stop: int) -> None:
        """Search for some patches; note those with another search to do."""
        away = self._classes.away
        part = slice(start, stop)
        found = self._index.nearest_of_two_groups(self._patches[part])
        first, second = self._row_class[found.indices].T
        # Without a second row, all are of one class.
        second = np.where(found.indices[:, 1] < 0, first, second)
        own = self._group[part]
        goes = away[own, first]
        chosen = np.arange(len(own)), goes.astype(np.int64)
        self._distances[part] = found.distances[chosen]
        self._nearest[part] = found.indices[chosen]
        both = np.flatnonzero(goes & away[own, second])
        self._rest.append((start + both, own[both], np.ones(len(both), np.bool_)))

        patch, group = self._classes.groups_without(first)
        depends = away[group, self._class[start + patch]]
        patch, group = patch[~depends], group[~depends]
        goes = away[group, second[patch]]
        rest = start + patch[goes]
        self._rest.append((rest, group[goes], np.zeros(len(rest), np.bool_)))
        self._keep(start + patch[~goes], group[~goes], found.distances[patch[~goes], 1])

    def sort_rest(self) -> None:
        """Prepare `rest_of`."""
        patch, group, is_own = (np.concatenate(each) for each in zip(*self._rest, strict=True))
        order = np.argsort(group, kind="stable")
        self._again = patch[order], is_own[order]
        self._ends = np.searchsorted(group[order], np.arange(len(self._classes.away) + 1))

    def rest_of(self, group: int) -> None:
        """Search again for the patches whose two rows both go with a group."""
        part = slice(*self._ends[group : group + 2])
        patch, is_own = (each[part] for each in self._again)
        if not len(patch):
            return
        gone = self._classes.away[group, self._row_class]
        distances, rows = nearest_left(self._index, gone, self._patches[patch])
        self._distances[patch[is_own]] = distances[is_own]
        self._nearest[patch[is_own]] = rows[is_own]
        others = patch[~is_own]
        self._keep(others, np.full(len(others), group), distances[~is_own])

    def _keep(self, patch: Integers, group: Integers, distances: Floats) -> None:
        """Keep what is uncovered."""
        certain = distances if self._slack is None else distances - self._slack[patch]
        is_far = certain > self._radius
        self._uncovered.append((patch[is_far], group[is_far], distances[is_far]))

    def found(self) -> WithoutGroups:
        """Return what was found."""
        parts = zip(*self._uncovered, strict=True)
        patch, group, distances = (np.concatenate(each) for each in parts)
        order = np.lexsort((patch, group))
        return WithoutGroups(
            self._distances, self._nearest, patch[order], group[order], distances[order]
        )


def nearest_left(
    index: NeighbourIndex, gone: npt.NDArray[np.bool_], queries: Floats
) -> tuple[Floats, Integers]:
    """Return distances to the nearest of a bank's rows that are not gone, and these.

    Infinite and -1 if none is left.

    Parameters
    ----------
    gone
        bool (m,)
    """
    found = index.with_groups(gone.astype(np.int64)).nearest_of_two_groups(queries)
    chosen = np.arange(len(queries)), gone[found.indices[:, 0]].astype(np.int64)
    return found.distances[chosen], found.indices[chosen]
