"""Conversion of any stored colours to eight-bit RGB, by fixed scales."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.errors import ImageError

_DIRECT: Final = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
_WITH_ALPHA: Final = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})


def image_to_rgb(image: Image.Image, name: str) -> Image.Image:
    """Return a loaded Pillow image as mode RGB.

    Raises
    ------
    ImageError
        Its mode has no stated conversion, or its values are outside the scale.
    """
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if mode.startswith(("I", "F")):
        return Image.fromarray(array_to_rgb(np.asarray(image), name))
    if mode in _WITH_ALPHA or (mode in _DIRECT and "transparency" in image.info):
        # Pillow converts premultiplied grey ("La") by way of "LA" only.
        rgba = (image.convert("LA") if mode == "La" else image).convert("RGBA")
        black = Image.new("RGB", rgba.size)
        black.paste(rgba, mask=rgba.getchannel("A"))
        return black
    if mode in _DIRECT:
        return image.convert("RGB")
    raise ImageError(f"{name}: colour mode {mode} is not supported; save it as RGB or grey")


def array_to_rgb(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    """Return an array (height, width) or (height, width, 1 | 3 | 4) as RGB of its own memory.

    Raises
    ------
    ImageError
        Its type has no stated scale, or its values are outside it.
    """
    eight = _to_eight_bits(array, name)
    if eight.ndim == 2:
        eight = eight[:, :, None]
    channels = eight.shape[2]
    if channels == 1:
        return np.ascontiguousarray(np.repeat(eight, 3, axis=2))
    if channels == 4:
        # Over black, rounded as Pillow rounds when it pastes through a mask.
        product = eight[:, :, :3].astype(np.uint16) * eight[:, :, 3:] + 128
        return ((product + (product >> 8)) >> 8).astype(np.uint8)
    return np.array(eight, order="C")


def _to_eight_bits(array: npt.NDArray[Any], name: str) -> npt.NDArray[np.uint8]:
    kind = array.dtype
    if kind == np.uint8:
        return array
    if kind == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if kind.kind == "i" and kind.itemsize == 4:
        if array.min() < 0 or array.max() > 65535:
            raise ImageError(
                f"{name}: has integers from {array.min()} to {array.max()}; scale them to 0..65535"
            )
        return ((array + 128) // 257).astype(np.uint8)
    if kind.kind == "u" and kind.itemsize == 2:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if kind.kind == "f":
        # NaN fails both comparisons, hence their form.
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"{name}: has numbers from {array.min():g} to {array.max():g}; scale them to 0..1"
            )
        return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    raise ImageError(
        f"{name}: has type {kind}; give uint8, uint16, bool, int32 in 0..65535 or floats in 0..1"
    )
