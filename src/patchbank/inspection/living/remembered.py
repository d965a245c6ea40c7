"""The nearest rows of the references' patches, remembered in the database between changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load, save

from patchbank.memory.two_nearest import TwoNearest

Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Remembered:
    """The two nearest rows of the patches of references.

    Attributes
    ----------
    nearest
        Of all patches, one reference after another.
    positions, counts
        int64 (k,): the references' positions, and how many patches each has.
    """

    nearest: TwoNearest
    positions: Integers
    counts: Integers

    def to_bytes(self) -> bytes:
        """Return it for the database."""
        content: Mapping[str, NDArray[np.generic]] = {
            "positions": self.positions.astype(np.int32),
            "counts": self.counts.astype(np.int32),
            "bank": self.nearest.bank.astype(np.int32),
            "distances": self.nearest.distances,
            "ordinals": self.nearest.ordinals.astype(np.int32),
        }
        return save({name: np.ascontiguousarray(values) for name, values in content.items()})

    @classmethod
    def from_bytes(cls, content: bytes) -> Remembered | None:
        """Return what `to_bytes` wrote; None for anything else, since it can be searched again."""
        try:
            parts = load(content)
            nearest = TwoNearest(
                parts["bank"].astype(np.int64),
                parts["distances"],
                parts["ordinals"].astype(np.int64),
            )
            found = cls(
                nearest, parts["positions"].astype(np.int64), parts["counts"].astype(np.int64)
            )
        except (SafetensorError, KeyError):
            return None
        shape = (int(found.counts.sum()), 2)
        if len(found.counts) != len(found.positions) or nearest.distances.shape != shape:
            return None
        return found if nearest.ordinals.shape == shape else None

    def of(self, positions: Integers, counts: Integers) -> tuple[TwoNearest, NDArray[np.bool_]]:
        """Return the state of the patches of references, and which of these patches are known."""
        known = np.zeros(int(counts.sum()), np.bool_)
        distances = np.zeros((len(known), 2), np.float32)
        ordinals = np.full((len(known), 2), -1)
        starts = dict(
            zip(
                self.positions.tolist(),
                (np.cumsum(self.counts) - self.counts).tolist(),
                strict=True,
            )
        )
        lengths = dict(zip(self.positions.tolist(), self.counts.tolist(), strict=True))
        end = 0
        for position, count in zip(positions.tolist(), counts.tolist(), strict=True):
            own = slice(end, end := end + count)
            if lengths.get(position) == count:
                there = slice(starts[position], starts[position] + count)
                distances[own] = self.nearest.distances[there]
                ordinals[own] = self.nearest.ordinals[there]
                known[own] = True
        return TwoNearest(self.nearest.bank, distances, ordinals), known
