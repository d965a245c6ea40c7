"""A bank that stays in PostgreSQL: its nearest neighbours, found in SQL."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ParameterError
from patchbank.inspection.workspace import Workspace
from patchbank.memory.neighbours import Neighbours
from patchbank.store.stored_bank import StoredBank


class DatabaseNeighbours:
    """The nearest neighbours in a stored bank, in pgvector's float32.

    By the HNSW index over the bank's patches where there is one when this is made, approximately;
    else exactly. May be used by several threads at once.
    """

    groups = None

    def __init__(self, workspace: Workspace, bank: StoredBank) -> None:
        self._workspace = workspace
        self._patches = workspace.database.patches
        self._key = bank.key
        self._rows = bank.patch_count
        self._index = workspace.database.indexes.find(bank.key, "patches", "l2")

    def of(self, bank: StoredBank) -> DatabaseNeighbours:
        """Return the neighbours in another bank of the same database."""
        return DatabaseNeighbours(self._workspace, bank)

    @property
    def remarks(self) -> tuple[str, ...]:
        """What you should know of how the neighbours are found."""
        if self._index is None:
            return ()
        recall = self._index.recall
        measured = "not measured" if recall is None else f"{recall:.4f} of the ten nearest"
        return (f"nearest patches are approximate, by {self._index.name} (recall {measured})",)

    def __len__(self) -> int:
        return self._rows

    def nearest(
        self,
        queries: NDArray[np.float32],
        k: int = 1,
        *,
        exclude_group: int | NDArray[np.int64] | None = None,
    ) -> Neighbours:
        """Return the `k` nearest bank rows of every query; see `NeighbourIndex.nearest`."""
        if exclude_group is not None:
            raise ParameterError("a bank in the database has no groups, so none can be excluded")
        distances, ordinals = self._patches.nearest(self._key, queries, k, index=self._index)
        return Neighbours(distances, ordinals, len(queries) * len(self))

    def rows(self, indices: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return bank rows, float32 (n, d)."""
        return self._patches.features(self._key, indices)
