"""Refuse images that show nothing, or too much."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from patchbank.errors import ImageError, ParameterError
from patchbank.vision.bit_depths import BIT_DEPTHS, holding_depth
from patchbank.vision.decoded_image import DecodedImage, ImageLimits, ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import largest_value
from patchbank.vision.preprocess import Square

# Grey values: lossy formats change a single colour by one up or down.
_NO_CONTENT: Final = 2
# Grey values: resizing in floating point changes a single colour by less than this.
_SAME: Final = 0.5
# The largest 8-bit value of an image that uses 14 of 16 bits.
_DARK: Final = 64
# Patches: the database keeps their rows and columns in 16 bits.
_LONGEST_LINE: Final = 2**15
# Check every sixteenth pixel first: most images have content, and this finds it quickly.
_STEP: Final = 16


def check_unsettled_depth(
    image: DecodedImage, source: ImageSource, name: str, limits: ImageLimits
) -> None:
    """Refuse a 16-bit image whose upper bits are unused if no bit depth is set.

    It would be nearly black compared with 8-bit images.

    Raises
    ------
    ImageError
        If the image is such an image.
    """
    pixels = image.pixels
    if pixels[::_STEP, ::_STEP].max() > _DARK or pixels.max() > _DARK:
        return
    largest = largest_value(source, limits=limits, name=name)
    if largest is None or (depth := holding_depth(largest)) == BIT_DEPTHS[-1]:
        return
    raise ImageError(
        f"{image.name or name or 'image'}: has 16 bits and values up to {largest:,} of 65,535, so "
        "it is nearly black, and the bank has no 16-bit images; scale its values to all 16 bits, "
        f"or fit with --bit-depth {depth} (16 leaves values unchanged)"
    )


def check_scaled_size(
    image: DecodedImage, settings: ExtractorSettings, name: str, limits: ImageLimits
) -> None:
    """Refuse an image that has too many pixels, or patches in a line, at the settings' scale.

    Raises
    ------
    ImageError
        If it has.
    """
    if settings.scale is None:
        return
    width, height = settings.preprocessing.size(image.width, image.height)
    if settings.scale > 1 and width * height > limits.max_pixels:
        reason = f"more than {limits.max_pixels / 1e6:g} megapixels"
    elif max(settings.grid_of(image.width, image.height)) > _LONGEST_LINE:
        reason = f"more than {_LONGEST_LINE:,} patches in a line"
    else:
        return
    raise ImageError(
        f"{image.name or name or 'image'}: {image.width} x {image.height} pixels are {reason} at "
        f"scale {settings.scale:g}; fit with a smaller --scale, or cut the image"
    )


def inspected_patches(
    image: DecodedImage, settings: ExtractorSettings, name: str
) -> npt.NDArray[np.bool_] | None:
    """Return which patches of an image are inspected; None where all are.

    Raises
    ------
    ImageError
        If the regions to ignore leave none, or are not meant for such an image.
    """
    try:
        return settings.inspected_of(image.width, image.height)
    except ParameterError as error:
        raise ImageError(f"{image.name or name or 'image'}: {error}") from error


def check_content(image: DecodedImage, square: Square, name: str) -> None:
    """Refuse an image of a single colour: a dead camera's frame, or a transparent picture.

    Nothing can be learned from it or found in it, and an unseen part must not pass.

    Parameters
    ----------
    square
        The network's input: resizing or cropping may have removed the content.
    name
        Name for messages if the image has no path.

    Raises
    ------
    ImageError
        If all its pixels are equal within one grey value, or all pixels of the network's input.
    """
    pixels = image.pixels
    prefix = f"{image.name or name or 'image'}: shows nothing: "
    if not _varies(pixels[::_STEP, ::_STEP], _NO_CONTENT) and not _varies(pixels, _NO_CONTENT):
        colour = tuple(int(value) for value in np.median(pixels.reshape(-1, 3)[::_STEP], axis=0))
        raise ImageError(
            f"{prefix}all its pixels have one colour, {colour}; check the camera and the lighting, "
            "and whether the image is transparent"
        )
    if not _varies(square[::_STEP, ::_STEP], _SAME) and not _varies(square, _SAME):
        height, width = square.shape[:2]
        raise ImageError(
            f"{prefix}the {width} x {height} pixels inspected all have one colour; check the "
            "camera and the lighting, or use a larger image size or scale, or no crop"
        )


def _varies(pixels: npt.NDArray[Any], more_than: float) -> bool:
    """Return whether any channel's values differ by more than `more_than`."""
    values = pixels.reshape(-1, pixels.shape[-1])
    return bool((values.max(axis=0) - values.min(axis=0) > more_than).any())
