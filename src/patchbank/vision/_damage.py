"""Damage that Pillow decodes over without a word: found in the file itself."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.vision._formats import format_of

_SIGNATURE_BYTES: Final = 8
_PNG_CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# First column and row, and steps, of the passes of an interlaced PNG; then of one that is not.
_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_ONE_PASS: Final = ((0, 0, 1, 1),)
# What is inflated at once, so that a bomb takes no memory.
_PIECE: Final = 1 << 20


def check_png(content: bytes) -> None:
    """Check the checksum of every chunk, and that the file goes on to its end chunk.

    Pillow does not look at the checksums of pixel data, nor whether the end is there. What follows
    the end chunk is no part of the image.

    Raises
    ------
    ValueError
        What is wrong.
    """
    for kind, start, end in _chunks(content):
        if end + 4 > len(content):
            raise ValueError(f"truncated in its {_name(kind)} chunk")
        (stored,) = struct.unpack_from(">I", content, end)
        # The checksum covers the chunk's type too.
        if zlib.crc32(memoryview(content)[start - 4 : end]) != stored:
            raise ValueError(f"the checksum of its {_name(kind)} chunk is wrong")
        if kind == b"IEND":
            return
    raise ValueError("truncated: its end chunk is missing")


def check_png_rows(content: bytes, image: Image.Image) -> None:
    """Check that pixel data goes on to the last row; Pillow leaves rows that are missing at zero.

    Parameters
    ----------
    image
        The file's, loaded. Only where its last rows are zero is there anything to find out.

    Raises
    ------
    ValueError
        If rows are missing.
    """
    # Of interlaced images every second row comes last.
    last = np.asarray(image.crop((0, image.height - 2, image.width, image.height)))
    if all(row.any() for row in last):
        return
    width, height, depth, colours, _, _, interlaced = struct.unpack_from(">IIBBBBB", content, 16)
    bits = _PNG_CHANNELS[colours] * depth
    expected = 0
    for column, row, right, down in _PASSES if interlaced else _ONE_PASS:
        columns, rows = -(-(width - column) // right), -(-(height - row) // down)
        if columns > 0 and rows > 0:
            expected += rows * (1 + (columns * bits + 7) // 8)
    stream, found = zlib.decompressobj(), 0
    for kind, start, end in _chunks(content):
        data = content[start:end] if kind == b"IDAT" else b""
        while data and found < expected and not stream.eof:
            found += len(stream.decompress(data, _PIECE))
            data = stream.unconsumed_tail
    if found < expected:
        raise ValueError("truncated: its last rows are missing")


def decode_jpeg(content: bytes, image: Image.Image) -> npt.NDArray[np.uint8] | None:
    """Return the pixels of a JPEG, not turned upright, if its decoder has no warning.

    Pillow's decoder is the same, libjpeg-turbo, and gives the same pixels; but it fills what is
    missing with grey and keeps its warnings to itself.

    Parameters
    ----------
    image
        The file's, its header read: its size has been checked.

    Returns
    -------
    ndarray of uint8 (height, width, 3), or None
        None for four colours, whose conversion is Pillow's; the file is checked all the same.

    Raises
    ------
    ValueError
        The decoder's warning.
    """
    # Only who has JPEGs needs it.
    import simplejpeg

    # What is in the file decides how much memory is taken: both readers must see the same.
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    if (width, height) != image.size:
        raise ValueError(f"its size is {image.width} x {image.height} or {width} x {height}")
    try:
        if image.mode in ("L", "RGB"):
            pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB")
            return pixels
        # Reduced eight times: all data is read, and that is what takes the least time.
        simplejpeg.decode_jpeg(content, "GRAY", min_height=1, min_width=1, min_factor=8)
    except ValueError as error:
        if "Premature end of JPEG file" in str(error):
            raise ValueError("truncated: its end is missing") from error
        raise
    return None


def check_unread(image: Image.Image, most_bytes: int) -> None:
    """Check the file of an image that Pillow has opened and not read yet; nobody can later.

    Raises
    ------
    ValueError
        What is wrong.
    """
    file = getattr(image, "fp", None)
    if file is None or image.format not in ("PNG", "JPEG"):
        return
    place = file.tell()
    file.seek(0)
    content = file.read(most_bytes)
    file.seek(place)
    # One that is part of another file begins elsewhere.
    if format_of(content) != image.format:
        return
    if image.format == "PNG":
        check_png(content)
    else:
        decode_jpeg(content, image)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the data of every chunk, the end perhaps beyond the file's."""
    at = _SIGNATURE_BYTES
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        yield content[at + 4 : at + 8], at + 8, at + 8 + length
        at += 12 + length


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() and kind.isascii() else ascii(kind)
