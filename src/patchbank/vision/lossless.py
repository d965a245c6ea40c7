"""The bytes of an image: of its file, or of a file that gives the same pixels."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.errors import ImageError
from patchbank.printable import printable
from patchbank.vision._image_files import read_image_file
from patchbank.vision._orientation import orientation_of, upright
from patchbank.vision.decoded_image import ImageLimits, Pixels, equal_channels

# Compressing more takes several times as long, for a tenth of the size.
_COMPRESSION = 1


def bytes_of(path: Path, sha256: str, limits: ImageLimits) -> bytes:
    """Return the bytes of an image file that was decoded before.

    Raises
    ------
    ImageError
        If it cannot be read, or is no longer the same.
    """
    content = read_image_file(path, limits.max_bytes)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ImageError(f"{printable(str(path))}: was changed after it was read; inspect it again")
    return content


def png_of(source: Image.Image | npt.NDArray[Any], pixels: Pixels) -> bytes:
    """Return a PNG file that `decode` turns into the same pixels as an image in memory.

    Grey values of 16 bits are kept, so that the file also fits another bit depth. Of other images
    the decoded pixels are kept.

    Parameters
    ----------
    source
        The image as it was given, already decoded once.
    pixels : ndarray of uint8 (height, width, 3)
        The decoded image.
    """
    values: npt.NDArray[Any] | None = _wide_grey(source)
    if values is None:
        values = np.ascontiguousarray(pixels[:, :, 0]) if equal_channels(pixels) else pixels
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, "PNG", compress_level=_COMPRESSION)
    return buffer.getvalue()


def _wide_grey(source: Image.Image | npt.NDArray[Any]) -> npt.NDArray[np.uint16] | None:
    """Return the values of a grey image with integers of more than 8 bits, upright."""
    if isinstance(source, Image.Image):
        if not source.mode.startswith("I"):
            return None
        values = np.asarray(upright(source, orientation_of(source)))
    elif source.dtype.name in ("uint16", "int32") and (source.ndim == 2 or source.shape[2] == 1):
        values = source.reshape(source.shape[:2])
    else:
        return None
    return values.astype(np.uint16)
