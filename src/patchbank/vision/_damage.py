"""Find damage in files that Pillow silently ignores."""

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
# First column, first row and steps of an interlaced PNG's passes; then of a single pass.
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
# Warnings of libjpeg-turbo that do not affect pixels: the JFIF version, a colour profile (not
# applied here), parameters that only progressive scans use.
_REMARKS: Final = (
    "Warning: unknown JFIF revision",
    "Corrupt JPEG data: bad ICC marker",
    "Invalid SOS parameters for sequential JPEG",
)
# The first byte of a JPEG marker; the markers of a scan's start and of sequential frames.
_MARKER: Final = 0xFF
_SCAN: Final = 0xDA
_SEQUENTIAL: Final = (0xC0, 0xC1)
# Bytes decompressed at once, so that a decompression bomb takes no memory.
_PIECE: Final = 1 << 20


def check_png(content: bytes) -> None:
    """Check the checksum of every chunk, and that the end chunk exists.

    Pillow checks neither the checksums of pixel data nor the end chunk. Data after the end chunk is
    ignored.

    Raises
    ------
    ValueError
        If the file is damaged.
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
    """Return whether a loaded PNG ends in zeros, as Pillow fills missing rows."""
    # In interlaced images every second row is stored last.
    last = np.asarray(image.crop((0, image.height - 2, image.width, image.height)))
    return not all(row.any() for row in last)


def check_png_rows(content: bytes) -> None:
    """Check that pixel data extends to the last row; Pillow does not.

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
    """Return the pixels of a JPEG, not turned upright; the decoder's warnings are errors.

    Pillow uses the same decoder, libjpeg-turbo, and returns the same pixels, but it fills missing
    data with grey and hides warnings.

    Parameters
    ----------
    image
        Pillow's image of the file, with its header read and its size checked.

    Returns
    -------
    ndarray of uint8 (height, width, 3), or None
        None for four colours, which Pillow converts; the file is checked all the same.
    """
    if image.mode in ("L", "RGB"):
        return _warned(lambda data: _pixels_of_jpeg(data, image.size), content)
    check_jpeg(content)
    return None


def check_jpeg(content: bytes) -> None:
    """Check that decoding a JPEG gives no warnings; they are raised as `ValueError`."""
    # Imported only when there is a JPEG.
    import simplejpeg

    # Reducing by eight reads all data in the least time.
    _warned(
        lambda data: simplejpeg.decode_jpeg(data, "GRAY", min_height=1, min_width=1, min_factor=8),
        content,
    )


def unread_file(image: Image.Image, most_bytes: int) -> bytes | None:
    """Return the file of a Pillow image that has been opened but not read; None for others.

    It cannot be checked later. With several frames, the content starts at the current frame.

    Raises
    ------
    OSError
        If the file is closed, so that the image can no longer be read.
    """
    tiles = getattr(image, "tile", ())
    if not tiles:
        return None
    file = getattr(image, "fp", None)
    if file is None or file.closed:
        raise OSError("its file was closed before the image was read")
    position = file.tell()
    file.seek(0)
    content: bytes = file.read(most_bytes + 1)
    file.seek(position)
    # Pillow calls a JPEG with several frames MPO.
    return content[tiles[0].offset :] if image.format == "MPO" else content


def _pixels_of_jpeg(content: bytes, size: tuple[int, int]) -> npt.NDArray[np.uint8]:
    import simplejpeg

    # The size was checked in Pillow's header; the decoder must see the same one.
    height, width = simplejpeg.decode_jpeg_header(content)[:2]
    if (width, height) != size:
        raise ValueError(f"its size is {size[0]} x {size[1]} or {width} x {height}")
    pixels: npt.NDArray[np.uint8] = simplejpeg.decode_jpeg(content, "RGB")
    return pixels


def _warned(decoder: Callable[[bytes], Result], content: bytes) -> Result:
    """Return a decoder's result for a JPEG; warnings are errors, except harmless ones."""
    try:
        try:
            return decoder(content)
        except ValueError as error:
            if not str(error).startswith(_REMARKS):
                raise
        # The decoder reports only its first warning: damage may follow the harmless one.
        return decoder(_without_remarks(content))
    except ValueError as error:
        if "Premature end of JPEG file" in str(error):
            raise ValueError("truncated: its end is missing") from error
        raise


def _without_remarks(content: bytes) -> bytes:
    """Return a JPEG with the header fields corrected that cause the warnings in `_REMARKS`."""
    corrected = bytearray(content)
    sequential, at = False, 2
    while at + 4 <= len(content) and content[at] == _MARKER:
        kind, data = content[at + 1], at + 4
        if kind == _MARKER:  # a fill byte
            at += 1
            continue
        end = at + 2 + int.from_bytes(content[at + 2 : data])
        if content.startswith(b"JFIF\0", data):
            corrected[data + 5] = 1
        elif content.startswith(b"ICC_PROFILE\0", data):
            corrected[data] = 0
        sequential = sequential or kind in _SEQUENTIAL
        if kind == _SCAN:
            if sequential and end <= len(content):
                corrected[end - 3 : end] = bytes((0, 63, 0))
            break
        at = end
    return bytes(corrected)


def _chunks(content: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, start and end of every chunk's data; the end may be past the file's."""
    at = _SIGNATURE_BYTES
    while at + 8 <= len(content):
        (length,) = struct.unpack_from(">I", content, at)
        yield content[at + 4 : at + 8], at + 8, at + 8 + length
        at += 12 + length


def _name(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() and kind.isascii() else ascii(kind)
