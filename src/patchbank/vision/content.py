"""Whether an image shows anything at all."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from patchbank.errors import ImageError
from patchbank.vision.bit_depths import BIT_DEPTHS, holding_depth
from patchbank.vision.decoded_image import DecodedImage, ImageLimits, ImageSource
from patchbank.vision.images import largest_value
from patchbank.vision.preprocess import Square

# Grey values: one up and one down, which a lossy format makes of one colour.
_NO_CONTENT: Final = 2
# Beside whole grey values: what a resize in floating point makes of one colour.
_SAME: Final = 0.5
# What 14 of 16 bits become at most.
_DARK: Final = 64
# First only every so many pixels are looked at: most images have content, and it shows soon.
_STEP: Final = 16


def check_unsettled_depth(
    image: DecodedImage, source: ImageSource, name: str, limits: ImageLimits
) -> None:
    """Refuse an image of 16 bits that leaves the upper ones empty, where no bit depth is set.

    It would be nearly black beside those of eight bits.

    Raises
    ------
    ImageError
        If it is one.
    """
    pixels = image.pixels
    if pixels[::_STEP, ::_STEP].max() > _DARK or pixels.max() > _DARK:
        return
    largest = largest_value(source, limits=limits, name=name)
    if largest is None or (depth := holding_depth(largest)) == BIT_DEPTHS[-1]:
        return
    raise ImageError(
        f"{image.name or name or 'image'}: has 16 bits and values up to {largest:,} of 65,535, "
        "nearly black, and no image of 16 bits was learned; scale its values to all 16 bits, or "
        f"fit with --bit-depth {depth} (16 takes values as they are)"
    )


def check_content(image: DecodedImage, square: Square, name: str) -> None:
    """Refuse an image of one colour: a dead camera's frame, or a transparent picture.

    Nothing can be learned from it nor found in it, and a part that nobody saw must not pass.

    Parameters
    ----------
    square
        What the network sees of the image: it may have lost what little there was, or a crop may.
    name
        What messages call it if it has no path.

    Raises
    ------
    ImageError
        All its pixels are equal, give or take one grey value, or all that the network sees are.
    """
    pixels = image.pixels
    within = f"{image.name or name or 'image'}: shows nothing: "
    if not _varies(pixels[::_STEP, ::_STEP], _NO_CONTENT) and not _varies(pixels, _NO_CONTENT):
        colour = tuple(int(value) for value in np.median(pixels.reshape(-1, 3)[::_STEP], axis=0))
        raise ImageError(
            f"{within}all its pixels have one colour, {colour}; check the camera and the light, "
            "and whether the picture is transparent"
        )
    if not _varies(square[::_STEP, ::_STEP], _SAME) and not _varies(square, _SAME):
        height, width = square.shape[:2]
        raise ImageError(
            f"{within}the {width} x {height} pixels inspected all have one colour; check the "
            "camera and the light, or use a larger image size or no crop"
        )


def _varies(pixels: npt.NDArray[Any], more_than: float) -> bool:
    """Return whether a channel's values differ by more than that."""
    values = pixels.reshape(-1, pixels.shape[-1])
    return bool((values.max(axis=0) - values.min(axis=0) > more_than).any())
