"""Convert stored colours to 8-bit RGB by fixed scales."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.errors import ImageError
from patchbank.vision.bit_depths import holding_depth

_DIRECT: Final = frozenset({"1", "L", "P", "RGB", "RGBX", "CMYK", "YCbCr", "HSV"})
_WITH_ALPHA: Final = frozenset({"LA", "PA", "RGBA", "La", "RGBa"})


def image_to_rgb(image: Image.Image, name: str, bit_depth: int | None = None) -> Image.Image:
    """Return a loaded Pillow image in mode RGB.

    Raises
    ------
    ImageError
        If its mode is not supported.
    """
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image
    if mode.startswith(("I", "F")):
        return Image.fromarray(array_to_rgb(np.asarray(image), name, bit_depth))
    if mode in _WITH_ALPHA or (mode in _DIRECT and "transparency" in image.info):
        # Pillow converts premultiplied grey ("La") only via "LA".
        rgba = (image.convert("LA") if mode == "La" else image).convert("RGBA")
        black = Image.new("RGB", rgba.size)
        black.paste(rgba, mask=rgba.getchannel("A"))
        return black
    if mode in _DIRECT:
        return image.convert("RGB")
    raise ImageError(f"{name}: colour mode {mode} is not supported; save it as RGB or grey")


def array_to_rgb(
    array: npt.NDArray[Any], name: str, bit_depth: int | None = None
) -> npt.NDArray[np.uint8]:
    """Return an array (height, width) or (height, width, 1 | 3 | 4) as a new RGB array.

    `bit_depth` is the number of bits used in 16-bit images; None for all.
    """
    eight = _to_eight_bits(array, name, bit_depth or 16)
    if eight.ndim == 2:
        eight = eight[:, :, None]
    channels = eight.shape[2]
    if channels == 1:
        return np.ascontiguousarray(np.repeat(eight, 3, axis=2))
    if channels == 4:
        # Composite on black, rounding like Pillow's paste with a mask.
        product = eight[:, :, :3].astype(np.uint16) * eight[:, :, 3:] + 128
        return ((product + (product >> 8)) >> 8).astype(np.uint8)
    return np.array(eight, order="C")


def _to_eight_bits(array: npt.NDArray[Any], name: str, bit_depth: int) -> npt.NDArray[np.uint8]:
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
        return _sixteen_to_eight(array, name, bit_depth)
    if kind.kind == "u" and kind.itemsize == 2:
        return _sixteen_to_eight(array, name, bit_depth)
    if kind.kind == "f":
        # Written so that NaN fails.
        if not (array.min() >= 0 and array.max() <= 1):
            raise ImageError(
                f"{name}: has numbers from {array.min():g} to {array.max():g}; scale them to 0..1"
            )
        return np.rint(array.astype(np.float32) * 255).astype(np.uint8)
    raise ImageError(
        f"{name}: has type {kind}; give uint8, uint16, bool, int32 in 0..65535 or floats in 0..1"
    )


def _sixteen_to_eight(array: npt.NDArray[Any], name: str, bit_depth: int) -> npt.NDArray[np.uint8]:
    top = 2**bit_depth - 1
    colours = array[..., :3] if array.ndim == 3 else array
    if colours.max() > top:
        raise ImageError(
            f"{name}: has values up to {colours.max()}, but the bit depth set for these images, "
            f"{bit_depth}, only allows {top}; give images from the same camera mode, or, if the "
            f"camera has more bits, fit with --bit-depth {holding_depth(int(colours.max()))}"
        )
    eight = _scaled(array, top)
    if array.ndim == 3 and array.shape[2] == 4 and array[:, :, 3].max() > top:
        # Transparency may have a different scale.
        eight[:, :, 3] = _scaled(array[:, :, 3], 65535)
    return eight


def _scaled(array: npt.NDArray[Any], top: int) -> npt.NDArray[np.uint8]:
    """Return values from 0..`top` scaled to 0..255, rounded."""
    if top == 65535:
        return ((array.astype(np.uint32) + 128) // 257).astype(np.uint8)
    return ((array.astype(np.uint32) * 255 + top // 2) // top).astype(np.uint8)
