"""Whether an anomaly map is strongest where a defect is."""

from __future__ import annotations

import numpy as np

from patchbank.inspection.verdicts import Judgement
from patchbank.vision.extractor_settings import ExtractorSettings

# A defect is located where the map is strongest within so many patches from it: a patch's features
# are those of its neighbourhood.
_PATCHES_BESIDE = 2


def strongest_at(
    judgement: Judgement, box: tuple[int, int, int, int], extractor: ExtractorSettings
) -> bool:
    """Return whether the map is strongest at a box, or within two patches of it."""
    x0, y0, x1, y1 = judgement.inspected_box
    rows, columns = extractor.grid_of(judgement.width, judgement.height)
    high, wide = judgement.anomaly_map.shape
    row, column = np.unravel_index(int(judgement.anomaly_map.argmax()), (high, wide))
    x = x0 + (column + 0.5) * (x1 - x0) / wide
    y = y0 + (row + 0.5) * (y1 - y0) / high
    beside_x = _PATCHES_BESIDE * (x1 - x0) / columns
    beside_y = _PATCHES_BESIDE * (y1 - y0) / rows
    return bool(
        box[0] - beside_x <= x <= box[2] + beside_x and box[1] - beside_y <= y <= box[3] + beside_y
    )


def crop_around(
    box: tuple[int, int, int, int], side: int, width: int, height: int
) -> tuple[int, int, int, int]:
    """Return a square of an image, as x0, y0, x1, y1, with a box in its middle if it fits."""
    wide, high = min(side, width), min(side, height)
    left = min(max(0, (box[0] + box[2] - wide) // 2), width - wide)
    top = min(max(0, (box[1] + box[3] - high) // 2), height - high)
    return left, top, left + wide, top + high
