"""A memory bank as if the rows of one image were not in it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.memory.neighbours import NeighbourIndex, Neighbours


class WithoutGroup:
    """A `NeighbourSource` of the rows of an index that are not of a group.

    Parameters
    ----------
    index
        With groups.
    group
        Whose rows are ignored; may have none.

    Raises
    ------
    ParameterError
        If the index has no groups, or no row would remain.
    """

    groups = None

    def __init__(self, index: NeighbourIndex, group: int) -> None:
        if index.groups is None:
            raise ParameterError("memory bank: has no groups, so none can be left out")
        self._index, self._group = index, group
        self._count = len(index) - int(np.count_nonzero(index.groups == group))
        if not self._count:
            raise ParameterError("memory bank: all rows are of one image; fit more images")

    def __len__(self) -> int:
        return self._count

    def nearest(
        self,
        queries: npt.NDArray[np.float32],
        k: int = 1,
        *,
        exclude_group: int | npt.NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """Return the `k` nearest rows that are not of the group; `exclude_group` must be None."""
        if exclude_group is not None:
            raise ParameterError("memory bank: a group is left out already")
        return self._index.nearest(queries, k, exclude_group=self._group)

    def rows(self, indices: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return rows, float32 (n, d)."""
        return self._index.rows(indices)
