"""Image formats: signatures, Pillow's readers, and 16-bit values."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
from PIL import (
    BmpImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

if TYPE_CHECKING:
    from typing import IO

    from PIL.ImageFile import ImageFile

# Pillow keeps the high byte by byte order; reading in the other order keeps the low byte.
_OTHER_ORDER: Final = {"L": "B", "B": "L", "N": "B" if sys.byteorder == "little" else "L"}


def format_of(content: bytes) -> str | None:
    """Return the format by its signature.

    Pillow's `Image.open` warns of large images by a limit for the whole process; here our own limit
    is checked instead.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "PNG"
    if content.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if content.startswith(b"BM"):
        return "BMP"
    if content.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return "TIFF"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "WebP"
    return None


def open_image(kind: str, file: IO[bytes]) -> ImageFile:
    """Return Pillow's image of a file, with its header read."""
    if kind == "PNG":
        return PngImagePlugin.PngImageFile(file)
    if kind == "JPEG":
        return JpegImagePlugin.JpegImageFile(file)
    if kind == "BMP":
        return BmpImagePlugin.BmpImageFile(file)
    if kind == "TIFF":
        return TiffImagePlugin.TiffImageFile(file)
    return WebPImagePlugin.WebPImageFile(file)


def has_sixteen_bits(image: Image.Image) -> bool:
    """Return whether an image has more than 8 bits per value; a file must not be loaded yet."""
    return image.mode.startswith("I") or _colour_order(image) is not None


def may_have_sixteen_bits(file: IO[bytes]) -> bool:
    """Return whether a file has more than 8 bits per value, by its header."""
    start = file.read(26)
    kind = format_of(start)
    if kind == "PNG":
        return start[24:25] == b"\x10"
    if kind != "TIFF":
        return False
    file.seek(0)
    with open_image(kind, file) as image:
        return has_sixteen_bits(image)


def sixteen_bit_values(image: ImageFile, content: bytes) -> npt.NDArray[Any]:
    """Return the stored values of a 16-bit image, not turned upright.

    Pillow only reads the high byte of 16-bit colours; reading the file again in the other byte
    order gives the low byte.

    Parameters
    ----------
    image
        The image, not loaded yet.
    content
        The file's bytes.

    Returns
    -------
    ndarray of uint16, or of int32 for grey, (height, width) or (height, width, 3 | 4)
    """
    found = _colour_order(image)
    if found is None:
        return np.asarray(image)
    colours, order = found
    if colours == "LA":
        # Four bytes per pixel, as in RGBA.
        image.tile = [tile._replace(args="RGBA") for tile in image.tile]
        pairs = np.asarray(image).astype(np.uint16)
        grey, alpha = pairs[:, :, 0] << 8 | pairs[:, :, 1], pairs[:, :, 2] << 8 | pairs[:, :, 3]
        return np.stack([grey, grey, grey, alpha], axis=2)
    mode = f"{colours};16{_OTHER_ORDER[order]}"
    with open_image(format_of(content) or "", io.BytesIO(content)) as again:
        again.tile = [
            tile._replace(args=(mode, *tile.args[1:]) if isinstance(tile.args, tuple) else mode)
            for tile in again.tile
        ]
        low = np.asarray(again)
    values: npt.NDArray[np.uint16] = np.asarray(image).astype(np.uint16) << 8 | low
    return values


def _colour_order(image: Image.Image) -> tuple[str, str] | None:
    """Return a 16-bit image's colours and byte order, such as RGB and B."""
    found = {
        args if isinstance(args, str) else str(args[0])
        for args in (tile.args for tile in getattr(image, "tile", ()))
        if args
    }
    colours, _, order = found.pop().partition(";16") if len(found) == 1 else ("", "", "")
    return (colours, order) if colours in ("RGB", "RGBA", "LA") and order in _OTHER_ORDER else None
