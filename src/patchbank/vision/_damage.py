"""Damage that Pillow decodes over without a word: found in the file itself."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

Result = TypeVar("Result")

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
# What libjpeg-turbo warns of that no pixel depends on: a version of JFIF, a colour profile (not
# applied here), parameters that only a progressive scan has.
_REMARKS: Final = (
    "Warning: unknown JFIF revision",
    "Corrupt JPEG data: bad ICC marker",
    "Invalid SOS parameters for sequential JPEG",
)
# What a marker of a JPEG begins with; those of a scan's start, and of frames with whole scans.
_MARKER: Final = 0xFF
_SCAN: Final = 0xDA
_SEQUENTIAL: Final = (0xC0, 0xC1)
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


def may_lack_rows(image: Image.Image) -> bool:
    """Whether a loaded PNG ends in zero, as Pillow leaves rows that are missing."""
    # Of interlaced images every second row comes last.
    last = np.asarray(image.crop((0, image.height - 2, image.width, image.height)))
    return not all(row.any() for row in last)


def check_png_rows(content: bytes) -> None:
    """Check that pixel data goes on to the last row; Pillow does not.

    Raises
    ------
    ValueError
        If rows are missing.
    """
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
    if image.mode in ("L", "RGB"):
        return _warned(lambda data: _pixels_of_jpeg(data, image.size), content)
    check_jpeg(content)
    return None


def check_jpeg(content: bytes) -> None:
    """Check that the decoder of a JPEG has no warning.

    Raises
    ------
    ValueError
        The decoder's warning.
    """
    # Only who has JPEGs needs it.
    import simplejpeg

    # Reduced eight times: all data is read, and that is what takes the least time.
    _warned(
        lambda data: simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8),
        content,
    )


def unread_file(image: Image.Image, most_bytes: int) -> bytes | None:
    """Return the file of an image that Pillow has opened and not read yet, None for any other.

    Nobody can check it later. Of several frames the file goes on from the one that is shown.

    Raises
    ------
    OSError
        If the file is closed, so that the image cannot be read any more.
    """
    tiles = getattr(image, "tile", ())
    if not tiles:
        return None
    file = getattr(image, "fp", None)
    if file is None or file.closed:
        raise OSError("its file is closed, and it was not read before")
    position = file.tell()
    file.seek(0)
    content: bytes = file.read(most_bytes + 1)
    file.seek(position)
    # Pillow calls a JPEG of several frames MPO.
    return content[tiles[0].offset :] if image.format == "MPO" else content


def _pixels_of_jpeg(content: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    import simplejpeg

    # What is in the file decides how much memory is taken: both readers must see the same.
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    if (width, height) != size:
        raise ValueError(f"its size is {size[0]} x {size[1]} or {width} x {height}")
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB")
    return pixels


def _warned(decoder: Callable[[bytes], Result], content: bytes) -> Result:
    """Return what a decoder makes of a JPEG; its warnings are errors, but for mere remarks."""
    try:
        try:
            return decoder(content)
        except ValueError as error:
            if not str(error).startswith(_REMARKS):
                raise
        # The decoder tells its first warning only: damage may come after the remark.
        return decoder(_without_remarks(content))
    except ValueError as error:
        if "Premature end of JPEG file" in str(error):
            raise ValueError("truncated: its end is missing") from error
        raise


def _without_remarks(content: bytes) -> bytes:
    """Return a JPEG in whose header the fields are corrected that `_REMARKS` are about."""
    mended = bytearray(content)
    sequential, at = False, 2
    while at + 4 <= len(content) and content[at] == _MARKER:
        kind, data = content[at + 1], at + 4
        if kind == _MARKER:  # one that fills
            at += 1
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : data])
        if content.startswith(b"JFIF\0", data):
            mended[data + 5] = 1
        elif content.startswith(b"ICC_PROFILE\0", data):
            mended[data] = 0
        sequential = sequential or kind in _SEQUENTIAL
        if kind == _SCAN:
            if sequential and end <= len(content):
                mended[end - 3 : end] = bytes((0, 63, 0))
            break
        at = end
    return bytes(mended)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield type, start and end of the data of every chunk, the end perhaps beyond the file's."""
    at = _SIGNATURE_BYTES
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        yield content[at + 4 : at + 8], at + 8, at + 8 + length
        at += 12 + length


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() and kind.isascii() else ascii(kind)
