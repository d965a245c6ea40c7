"""Turn images upright by their EXIF orientation."""

from __future__ import annotations

import struct
from typing import Final

from PIL import Image, TiffImagePlugin

_TAG: Final = 0x0112
# Orientations from this value on swap width and height.
SWAPPED: Final = 5
# The transpose that turns a stored image upright, by the value of the EXIF orientation tag.
_TURNS: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; 1 if it is missing or damaged."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        value = image.tag_v2.get(_TAG, 1)
        return value if value in _TURNS else 1
    exif = image.info.get("exif")
    return exif_orientation(exif) if isinstance(exif, bytes) else 1


def exif_orientation(exif: bytes) -> int:
    """Return the orientation in an EXIF block, 1 if the block has none.

    It is not read by Pillow, which warns of damage elsewhere in the block.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(block[:4])
    if order is None:
        return 1
    try:
        (start,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, start)
        for entry in range(start + 2, start + 2 + 12 * count, 12):
            tag, kind, values, value = struct.unpack_from(f"{order}HHIH", block, entry)
            if tag == _TAG and kind == 3 and values == 1:
                return value if value in _TURNS else 1
    except struct.error:
        return 1
    return 1


def upright(image: Image.Image, orientation: int) -> Image.Image:
    """Return the image turned upright."""
    return image if orientation == 1 else image.transpose(_TURNS[orientation])
