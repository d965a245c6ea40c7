"""Where patches are in their images' feature maps."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchbank.store.bank_content import ReferenceImage
from patchbank.vision.extractor_settings import ExtractorSettings


def patch_places(
    settings: ExtractorSettings,
    images: Sequence[ReferenceImage],
    owner: NDArray[np.int64],
    position: NDArray[np.int64],
) -> tuple[NDArray[np.int16], NDArray[np.int16]]:
    """Return row and column of patches in their images' feature maps, int16 (n,).

    Parameters
    ----------
    owner
        int64 (n,): the index of each patch's image.
    position
        int64 (n,): its place among the patches of that image that are inspected, row by row.
    """
    row, column = np.empty(len(owner), np.int16), np.empty(len(owner), np.int16)
    order = np.argsort(owner, kind="stable")
    slots, starts = np.unique(owner[order], return_index=True)
    # Without patches, there is one part and no slot.
    for slot, own in zip(slots.tolist(), np.split(order, starts[1:]), strict=False):
        size = images[slot].width, images[slot].height
        inspected = settings.inspected_of(*size)
        places = position[own] if inspected is None else np.flatnonzero(inspected)[position[own]]
        row[own], column[own] = np.divmod(places, settings.grid_of(*size)[1])
    return row, column
