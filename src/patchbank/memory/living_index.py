"""Exact nearest neighbours in a memory bank whose rows come and go."""

from __future__ import annotations

import copy
import threading

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory._bank_layout import laid_out, with_rows, without_rows
from patchbank.memory._matrices import FloatMatrix, checked_features
from patchbank.memory.neighbours import Neighbours, checked_queries, search

Integers = npt.NDArray[np.int64]

# Rows that came or went since the index was built, as a share of those it was built of, above which
# it is built anew. Measured with 15,680 rows of 152 and of 1,536 dimensions: up to here a search
# takes at most a sixth longer than in a new index, and building one takes as long as 10 to 60
# searches, so that a small change should not have to wait for it often.
_REBUILD_SHARE = 0.2


class _Rows:
    """Rows in memory that has room for more after them. May be used by several threads at once.

    Parameters
    ----------
    rows
        float32 matrices of one width. They are copied.
    """

    def __init__(self, *rows: FloatMatrix) -> None:
        count = sum(map(len, rows))
        self._memory = np.empty((count + int(_REBUILD_SHARE * count), rows[0].shape[1]), np.float32)
        np.concatenate(rows, out=self._memory[:count])
        self._used = count
        self._lock = threading.Lock()

    def first(self, count: int) -> FloatMatrix:
        """Return so many rows, which nothing changes any more."""
        return self._memory[:count]

    def append(self, rows: FloatMatrix, count: int) -> bool:
        """Write rows after the first `count`, if there is room that nobody else has taken."""
        with self._lock:
            if self._used != count or count + len(rows) > len(self._memory):
                return False
            self._memory[count : count + len(rows)] = rows
            self._used += len(rows)
            return True


class LivingIndex:
    """A memory bank prepared for exact nearest-neighbour search, whose rows come and go.

    Each row has a slot, a number that it keeps; neighbours are given by their slots. An index never
    changes: `with_changes` returns another one, which shares most of its memory. So it may be used
    by several threads at once, and whoever searches while the bank changes sees it as it was. It
    finds what a `NeighbourIndex` of the rows that are present finds.

    Parameters
    ----------
    bank
        float32 (m, d), finite.
    slots
        int64 (m,), increasing, not negative: the rows' slots; 0 to m - 1 where not given.
    room
        Whether to copy the bank to where there is room for more rows. Otherwise that is done when
        the first ones come, who then take as much longer.

    Raises
    ------
    ParameterError
        For a bank that is not a finite float32 matrix, or slots that do not fit it.
    """

    #: The image each row comes from is not known here, so none can be excluded.
    groups = None

    def __init__(
        self,
        bank: npt.NDArray[np.float32],
        slots: Integers | None = None,
        *,
        room: bool = False,
    ) -> None:
        bank = checked_features(bank, "memory bank")
        self._rows = _Rows(bank) if room else None
        if self._rows is not None:
            bank = self._rows.first(len(bank))
        self._slots = _checked_slots(slots, len(bank), 0)
        self._next_slot = int(self._slots[-1]) + 1
        self._is_present = np.ones(len(bank), np.bool_)
        self._count = self._built = len(bank)
        self._projection, self._packed = laid_out(bank, None)

    def __len__(self) -> int:
        return self._count

    @property
    def slots(self) -> Integers:
        """The slots of the rows that are present, increasing, int64 (rows,)."""
        return self._slots[self._is_present]

    @property
    def next_slot(self) -> int:
        """The slot that the next row gets, greater than any there ever was."""
        return self._next_slot

    @property
    def changed_share(self) -> float:
        """How many rows came and went since it was built, as a share of those it was built of."""
        came, gone = len(self._slots) - self._built, len(self._slots) - len(self)
        return (came + gone) / self._built

    def rows(self, indices: Integers) -> npt.NDArray[np.float32]:
        """Return the rows of slots, float32 (n, d).

        Raises
        ------
        ParameterError
            If there is no row in a slot.
        """
        return self._packed.features[self._numbers(indices)]

    def nearest(
        self,
        queries: npt.NDArray[np.float32],
        k: int = 1,
        *,
        exclude_group: int | Integers | None = None,
    ) -> Neighbours:
        """Return the `k` nearest rows of every query, their `indices` being slots.

        Parameters
        ----------
        queries
            float32 (q, d), finite.
        k
            Neighbours wanted of each query.
        exclude_group
            Nothing: the rows of this bank have no groups.

        Raises
        ------
        ParameterError
            For queries that do not fit the bank, a group, and fewer than `k` rows to choose from.
        """
        if exclude_group is not None:
            raise ParameterError("memory bank: has no groups, so none can be excluded")
        queries = checked_queries(queries, self._packed.features.shape[1])
        if not 1 <= k <= len(self):
            raise ParameterError(
                f"{k} neighbours: must be 1 to {len(self)}, the rows of the memory bank"
            )
        found = search(queries, k, self._projection, self._packed)
        return Neighbours(found.distances, self._slots[found.indices], found.computed)

    def with_changes(
        self,
        added: npt.NDArray[np.float32] | None = None,
        removed: Integers | None = None,
        *,
        slots: Integers | None = None,
    ) -> LivingIndex:
        """Return the index of a bank where rows came and went; this one stays as it is.

        It is built anew when what came and went since it was built exceeds a fifth of what it was
        built of, and when a row comes to a slot that is not after all others.

        Parameters
        ----------
        added
            float32 (a, d), finite: rows that come.
        removed
            int64 (r,): slots of rows that go.
        slots
            int64 (a,), increasing: the added rows' slots; from `next_slot` on where not given.

        Raises
        ------
        ParameterError
            For rows that do not fit the bank, slots that are taken or have no row, and if no row
            would remain.
        """
        added = self._checked_rows(added)
        slots = _checked_slots(slots, len(added), self._next_slot)
        gone = self._numbers(np.empty(0, np.int64) if removed is None else np.unique(removed))
        changed = copy.copy(self)
        changed._count -= len(gone)
        if changed._count + len(added) == 0:
            raise ParameterError("memory bank: none of its rows would remain; keep at least one")
        if len(gone):
            changed._is_present = self._is_present.copy()
            changed._is_present[gone] = False
        share = changed.changed_share + len(added) / self._built
        if share > _REBUILD_SHARE or (len(added) and slots[0] < self._next_slot):
            return changed._built_with(added, slots)
        if len(gone):
            changed._packed = without_rows(self._packed, gone)
        if len(added):
            changed._append(added, slots)
        return changed

    def rebuilt(self) -> LivingIndex:
        """Return an index built anew of the rows that are present, in their slots.

        For those who have time for it before a change must wait for it.
        """
        return self._built_with(self._packed.features[:0], self._slots[:0])

    def _append(self, added: FloatMatrix, slots: Integers) -> None:
        """Take rows in, after all others."""
        count = len(self._slots)
        if self._rows is None or not self._rows.append(added, count):
            # Another index of the same memory has other rows there.
            self._rows = _Rows(self._packed.features, added)
        features = self._rows.first(count + len(added))
        self._packed = with_rows(self._packed, self._projection, features)
        self._slots = np.concatenate([self._slots, slots])
        self._next_slot = int(slots[-1]) + 1
        self._is_present = np.append(self._is_present, np.ones(len(added), np.bool_))
        self._count += len(added)

    def _built_with(self, added: FloatMatrix, slots: Integers) -> LivingIndex:
        """Return an index built of the rows that are present and those that come."""
        present = self.slots
        taken = slots[np.isin(slots, present)]
        if len(taken):
            raise ParameterError(f"slot {taken[0]}: there is a row in it already")
        present = np.concatenate([present, slots])
        features = np.concatenate([self._packed.features[self._is_present], added])
        order = np.argsort(present)
        rebuilt = LivingIndex(features[order], present[order], room=True)
        rebuilt._next_slot = max(self._next_slot, rebuilt._next_slot)
        return rebuilt

    def _checked_rows(self, added: npt.NDArray[np.float32] | None) -> FloatMatrix:
        dimensions = self._packed.features.shape[1]
        if added is None or len(added) == 0:
            return np.empty((0, dimensions), np.float32)
        added = checked_features(added, "added rows")
        if added.shape[1] != dimensions:
            raise ParameterError(
                f"added rows: have {added.shape[1]} dimensions, the memory bank {dimensions}"
            )
        return added

    def _numbers(self, slots: Integers) -> Integers:
        """Return which rows of what is laid out are in slots."""
        numbers = np.minimum(np.searchsorted(self._slots, slots), len(self._slots) - 1)
        missing = (self._slots[numbers] != slots) | ~self._is_present[numbers]
        if missing.any():
            raise ParameterError(f"slot {slots[missing][0]}: there is no row in it")
        return numbers


def _checked_slots(slots: Integers | None, count: int, first: int) -> Integers:
    if slots is None:
        return np.arange(first, first + count)
    if slots.shape != (count,) or (np.diff(slots, prepend=-1) <= 0).any():
        raise ParameterError(
            f"slots: expected {count} increasing numbers that are not negative, one for each row"
        )
    return np.ascontiguousarray(slots, dtype=np.int64)
