"""What the reduction to the network's square hides of large and of long images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from patchbank.inspection.gather import ReferenceImage
from patchbank.vision.preprocess import LARGEST_SIDE, Preprocessing

# A defect must cover about so many pixels of the reduced image to move a patch's features: on
# photographs of 4000 x 3000, reduced 18 times, scratches under 40 pixels were not found.
_VISIBLE_PIXELS = 2.25
# Below, little is lost. Boards of 640 pixels reduced 2.9 times lose most of their defects.
_REMARKABLE = 2.0
_REMARKABLE_SQUEEZE = 1.25
# A larger side costs as the square of it.
_LARGEST_STEP = 4
_MULTIPLE = 32


def reduction_remarks(
    images: Sequence[ReferenceImage], preprocessing: Preprocessing
) -> tuple[str, ...]:
    """Return a remark where the reduction hides small defects, or squeezes the images."""
    side = preprocessing.image_size
    across = float(np.median([image.width for image in images])) / side
    down = float(np.median([image.height for image in images])) / side
    reduced = max(across, down)
    remarks = []
    if reduced >= _REMARKABLE:
        native = _MULTIPLE * int(np.ceil(reduced * side / _MULTIPLE))
        larger = min(native, _LARGEST_STEP * side, LARGEST_SIDE)
        remedy = f"; give --image-size {larger} to see smaller ones" if larger > side else ""
        smallest = _rounded(_VISIBLE_PIXELS * reduced)
        remarks.append(
            f"images are reduced {reduced:.2g} times: defects under about {smallest} pixels cannot "
            f"be seen{remedy}"
        )
    squeeze = reduced / min(across, down)
    if squeeze >= _REMARKABLE_SQUEEZE:
        directions = "across than down" if across > down else "down than across"
        remarks.append(
            f"images are squeezed to a square, {squeeze:.3g} times more {directions}: defects that "
            f"are narrow in that direction are seen that much worse"
        )
    return tuple(remarks)


def _rounded(pixels: float) -> int:
    """Round to a number that does not look more exact than it is."""
    step = 1 if pixels < 10 else 5
    return step * round(pixels / step)
