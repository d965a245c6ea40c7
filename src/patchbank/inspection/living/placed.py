"""Where patches are in their images' feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchbank.inspection.living.bank import LivingBank

Integers = NDArray[np.int64]


def patch_places(
    bank: LivingBank, slots: Sequence[int], counts: Sequence[int]
) -> tuple[Integers, Integers]:
    """Return row and column of all inspected patches of references, one after another.

    Parameters
    ----------
    slots, counts
        The references by their indices in the bank, and how many patches each has.
    """
    extractor, images = bank.settings.extractor, bank.content.images
    rows, columns = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for slot, count in zip(slots, counts, strict=True):
        size = images[slot].width, images[slot].height
        inspected = extractor.inspected_of(*size)
        positions = np.arange(count) if inspected is None else np.flatnonzero(inspected)
        row, column = np.divmod(positions, extractor.grid_of(*size)[1])
        rows.append(row)
        columns.append(column)
    return np.concatenate(rows), np.concatenate(columns)
