"""Exact nearest neighbours in a memory bank whose rows change."""

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

# The share of rows added or removed since the index was built above which it is rebuilt. Measured
# with 15,680 rows of 152 and of 1,536 dimensions: up to this share a search takes at most a sixth
# longer than in a new index. Building one takes as long as 10 to 60 searches, so small changes
# should rarely wait for it.
_REBUILD_SHARE = 0.2


class _Rows:
    """A growable matrix; thread-safe.

    Parameters
    ----------
    rows
        float32 matrices of the same width; copied.
    """

    def __init__(self, *rows: FloatMatrix) -> None:
        count = sum(map(len, rows))
        self._memory = np.empty((count + int(_REBUILD_SHARE * count), rows[0].shape[1]), np.float32)
        np.concatenate(rows, out=self._memory[:count])
        self._used = count
        self._lock = threading.Lock()

    def first(self, count: int) -> FloatMatrix:
        """Return the first `count` rows, which never change."""
        return self._memory[:count]

    def append(self, rows: FloatMatrix, count: int) -> bool:
        """Write rows after the first `count` if that space is free; return whether it was."""
        with self._lock:
            if self._used != count or count + len(rows) > len(self._memory):
                return False
            self._memory[count : count + len(rows)] = rows
            self._used += len(rows)
            return True


class LivingIndex:
    """A memory bank prepared for exact nearest-neighbour search, whose rows can change.

    Each row keeps its slot, a number that identifies it; neighbours are returned as slots. An index
    is immutable: `with_changes` returns a new one that shares most of its memory. So it is
    thread-safe, and a search during a change sees the old bank. It finds the same neighbours as a
    `NeighbourIndex` of the present rows.

    Parameters
    ----------
    bank
        float32 (m, d), finite.
    slots
        int64 (m,), increasing, not negative: the rows' slots; 0 to m - 1 by default.
    room
        Whether to copy the bank into memory with room for more rows now. Otherwise the first
        addition does so, which makes it slower.
    """

    #: The image of each row is not known here, so none can be excluded.
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
        """The slots of the present rows, increasing, int64 (rows,)."""
        return self._slots[self._is_present]

    @property
    def next_slot(self) -> int:
        """The slot of the next row, greater than any slot used before."""
        return self._next_slot

    @property
    def changed_share(self) -> float:
        """Rows added and removed since the index was built, as a share of its original rows."""
        added, removed = len(self._slots) - self._built, len(self._slots) - len(self)
        return (added + removed) / self._built

    def rows(self, indices: Integers) -> npt.NDArray[np.float32]:
        """Return the rows in slots, float32 (n, d); raise `ParameterError` for an empty slot."""
        return self._packed.features[self._rows_in(indices)]

    def nearest(
        self,
        queries: npt.NDArray[np.float32],
        k: int = 1,
        *,
        exclude_group: int | Integers | None = None,
    ) -> Neighbours:
        """Return the `k` nearest rows of every query; `indices` are slots.

        Parameters
        ----------
        queries
            float32 (q, d), finite.
        k
            Number of neighbours per query.
        exclude_group
            Must be None: the rows of this bank have no groups.

        Raises
        ------
        ParameterError
            For a group, and if the bank has fewer than `k` rows.
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
        """Return a new index with rows added and removed.

        It is rebuilt if the changes since it was built exceed a fifth of its original rows, or if a
        row is added in a slot before an existing one.

        Parameters
        ----------
        added
            float32 (a, d), finite: the rows to add.
        removed
            int64 (r,): the slots of the rows to remove.
        slots
            int64 (a,), increasing: the added rows' slots; from `next_slot` on by default.

        Raises
        ------
        ParameterError
            If no row would remain.
        """
        added = self._checked_rows(added)
        slots = _checked_slots(slots, len(added), self._next_slot)
        rows = self._rows_in(np.empty(0, np.int64) if removed is None else np.unique(removed))
        changed = copy.copy(self)
        changed._count -= len(rows)
        if changed._count + len(added) == 0:
            raise ParameterError("memory bank: no rows would remain; keep at least one")
        if len(rows):
            changed._is_present = self._is_present.copy()
            changed._is_present[rows] = False
        share = changed.changed_share + len(added) / self._built
        if share > _REBUILD_SHARE or (len(added) and slots[0] < self._next_slot):
            return changed._built_with(added, slots)
        if len(rows):
            changed._packed = without_rows(self._packed, rows)
        if len(added):
            changed._append(added, slots)
        return changed

    def rebuilt(self) -> LivingIndex:
        """Return an index rebuilt from the present rows, with the same slots.

        Call it when there is time, before a change has to wait for it.
        """
        return self._built_with(self._packed.features[:0], self._slots[:0])

    def _append(self, added: FloatMatrix, slots: Integers) -> None:
        """Append rows."""
        count = len(self._slots)
        if self._rows is None or not self._rows.append(added, count):
            # Another index that shares this memory has appended other rows.
            self._rows = _Rows(self._packed.features, added)
        features = self._rows.first(count + len(added))
        self._packed = with_rows(self._packed, self._projection, features)
        self._slots = np.concatenate([self._slots, slots])
        self._next_slot = int(slots[-1]) + 1
        self._is_present = np.append(self._is_present, np.ones(len(added), np.bool_))
        self._count += len(added)

    def _built_with(self, added: FloatMatrix, slots: Integers) -> LivingIndex:
        """Return an index built from the present and the added rows."""
        present = self.slots
        taken = slots[np.isin(slots, present)]
        if len(taken):
            raise ParameterError(f"slot {taken[0]}: already has a row")
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
                f"added rows: have {added.shape[1]} dimensions, but the memory bank has "
                f"{dimensions}"
            )
        return added

    def _rows_in(self, slots: Integers) -> Integers:
        """Return the numbers of the rows in slots."""
        rows = np.minimum(np.searchsorted(self._slots, slots), len(self._slots) - 1)
        is_empty = (self._slots[rows] != slots) | ~self._is_present[rows]
        if is_empty.any():
            raise ParameterError(f"slot {slots[is_empty][0]}: has no row")
        return rows


def _checked_slots(slots: Integers | None, count: int, first: int) -> Integers:
    if slots is None:
        return np.arange(first, first + count)
    if slots.shape != (count,) or (np.diff(slots, prepend=-1) <= 0).any():
        raise ParameterError(f"slots: expected {count} increasing nonnegative numbers, one per row")
    return np.ascontiguousarray(slots, dtype=np.int64)
