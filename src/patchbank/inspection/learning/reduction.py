"""What the reduction to the network's input hides of large and of long images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from patchbank.store.bank_content import ReferenceImage
from patchbank.vision.preprocess import LARGEST_SIDE, Preprocessing

# A defect must cover about so many pixels of the reduced image to move a patch's features: on
# photographs of 4000 x 3000, reduced 18 times, scratches under 40 pixels were not found.
_VISIBLE_PIXELS = 2.25
# Below, little is lost. Boards of 640 pixels reduced 2.9 times lose most of their defects.
_REMARKABLE = 2.0
_REMARKABLE_SQUEEZE = 1.25
# From this share of the images on, which may be of several sizes.
_REMARKABLE_SHARE = 0.1
# Of an image that a crop leaves; the usual one, 224 of 256 pixels, leaves 0.77.
_REMARKABLE_REST = 0.5
# A larger side costs as the square of it.
_LARGEST_STEP = 4
_MULTIPLE = 32


def reduction_remarks(
    images: Sequence[ReferenceImage], preprocessing: Preprocessing
) -> tuple[str, ...]:
    """Return remarks where the reduction hides small defects, squeezes images or crops them."""
    if preprocessing.scale is not None:
        times = 1 / preprocessing.scale
        if times < _REMARKABLE:
            return ()
        smallest = _rounded(_VISIBLE_PIXELS * times)
        return (
            f"images are reduced {_two_digits(times)} times: defects smaller than about {smallest} "
            f"pixels cannot be detected; use a larger --scale, up to 1, to detect smaller ones",
        )
    side = preprocessing.image_size
    widths = np.array([image.width for image in images])
    heights = np.array([image.height for image in images])
    reduced = np.maximum(widths, heights) / side
    remarks = []
    if _share(many := reduced >= _REMARKABLE):
        times = float(np.median(reduced[many]))
        native = _MULTIPLE * int(np.ceil(times * side / _MULTIPLE))
        larger = min(native, _LARGEST_STEP * side, LARGEST_SIDE)
        remedy = f" or --image-size {larger}" if larger > side else ""
        smallest = _rounded(_VISIBLE_PIXELS * times)
        remarks.append(
            f"{_images(many)} reduced {_two_digits(times)} times: defects smaller than about "
            f"{smallest} pixels cannot be detected; use --scale 1{remedy} to detect smaller ones"
        )
    for squeezes, directions in (
        (widths / heights, "across than down"),
        (heights / widths, "down than across"),
    ):
        if _share(many := squeezes >= _REMARKABLE_SQUEEZE):
            squeeze = float(np.median(squeezes[many]))
            remarks.append(
                f"{_images(many)} squeezed to a square, {squeeze:.3g} times more {directions}: "
                f"defects that are narrow in that direction are harder to detect by that factor; "
                f"use --scale to keep the shape"
            )
    rest = (preprocessing.side / side) ** 2
    if rest < _REMARKABLE_REST:
        remarks.append(
            f"the crop removes {100 * (1 - rest):.0f} % of each image: defects there cannot be "
            f"detected; use a larger --center-crop, or none"
        )
    return tuple(remarks)


def _share(many: npt.NDArray[np.bool_]) -> bool:
    return bool(many.any()) and float(many.mean()) >= _REMARKABLE_SHARE


def _images(many: npt.NDArray[np.bool_]) -> str:
    count = int(many.sum())
    if count == len(many):
        return "images are"
    return f"{count} of {len(many)} images {'is' if count == 1 else 'are'}"


def _two_digits(times: float) -> str:
    return f"{float(f'{times:.2g}'):g}"


def _rounded(pixels: float) -> int:
    """Round to a number that does not look more exact than it is."""
    step = 1 if pixels < 10 else 5
    return step * round(pixels / step)
