"""Decode images safely into 8-bit RGB by fixed rules."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.errors import ImageError
from patchbank.files import open_regular
from patchbank.printable import printable
from patchbank.vision._colours import array_to_rgb, image_to_rgb
from patchbank.vision._damage import (
    check_jpeg,
    check_png,
    check_png_rows,
    decode_jpeg,
    may_lack_rows,
    unread_file,
)
from patchbank.vision._formats import (
    format_of,
    has_sixteen_bits,
    may_have_sixteen_bits,
    open_image,
    sixteen_bit_values,
)
from patchbank.vision._image_files import read_image_file
from patchbank.vision._orientation import SWAPPED, orientation_of, upright
from patchbank.vision._quiet import quiet_decoders
from patchbank.vision._refusals import DAMAGE, reason_of, refusals
from patchbank.vision.decoded_image import (
    DEFAULT_LIMITS,
    DecodedImage,
    ImageLimits,
    ImageSource,
    Pixels,
    digest_of,
)
from patchbank.vision.heif import heif_format, heif_suffixes, open_heif

if TYPE_CHECKING:
    from typing import IO

    from PIL.ImageFile import ImageFile

quiet_decoders()

Result = TypeVar("Result")

_SUFFIXES: Final = frozenset({".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".tif", ".tiff", ".webp"})

# A network's input is at least 32 pixels; smaller images would be mostly made up by resizing.
MINIMUM_SIDE: Final = 8

# Of HEIF, with the brands that it may be of; other formats' are shorter.
_SIGNATURE_BYTES: Final = 256

# The name in messages of an image with neither path nor name.
_UNNAMED: Final = "image"
_FORMATS: Final = "PNG, JPEG, BMP, TIFF and WebP"


def image_suffixes() -> frozenset[str]:
    """Return the suffixes of the formats readable on this machine."""
    return _SUFFIXES | heif_suffixes()


def decode(
    source: ImageSource,
    *,
    limits: ImageLimits = DEFAULT_LIMITS,
    name: str = "",
    bit_depth: int | None = None,
) -> DecodedImage:
    """Decode an image file, its bytes, a Pillow image or an array into 8-bit RGB.

    Formats are PNG, JPEG, BMP, TIFF, WebP, AVIF and, with an extra, HEIC, recognised by content. Of
    several frames the first is used. EXIF orientation is applied. A file with damage that its
    format can reveal is refused, even if viewers show it. Colours are converted as follows:

    - grey, palette, one bit: their grey or colour; CMYK and YCbCr: Pillow's conversion, no profile;
    - transparency: composited on black;
    - 16-bit grey: 65535 becomes 255, whatever the image's maximum; 16-bit colour: the high byte;
    - 32-bit integers: the same 16-bit scale; a value outside 0..65535 is an error;
    - floating point: 1.0 becomes 255; a value outside 0..1 is an error;
    - arrays: (height, width), or with 1 (grey), 3 (RGB) or 4 (RGBA) channels; uint8, bool, uint16,
      int32 and floats on the scales above.

    Parameters
    ----------
    source : str, Path, bytes, PIL.Image.Image or ndarray
        The image; a `str` is a path.
    limits : ImageLimits
        Larger images are refused before decoding.
    name : str
        Name for messages of an image without a path.
    bit_depth : int, optional
        Bits used in 16-bit images, 8 to 16: with 12, 4095 becomes 255, and a larger value is an
        error. None for all 16.

    Raises
    ------
    ImageError
        If the image cannot be used; the message says why and what to do.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return _decode_bytes(read_image_file(path, limits.max_bytes), str(path), limits, bit_depth)
    if isinstance(source, bytes):
        if not source:
            raise ImageError(f"{printable(name) or _UNNAMED}: is empty (0 bytes); give an image")
        if len(source) > limits.max_bytes:
            raise _too_large_error(printable(name) or _UNNAMED, len(source), limits)
        return _decode_bytes(source, name, limits, bit_depth)
    if isinstance(source, Image.Image):
        return _decode_pillow(source, name, limits, bit_depth)
    if isinstance(source, np.ndarray):
        return _decode_array(source, name, limits, bit_depth)
    raise ImageError(
        f"{printable(name) or _UNNAMED}: cannot use {type(source).__name__}; "
        "give a path, bytes, a Pillow image or an array"
    )


def largest_value(
    source: ImageSource, *, limits: ImageLimits = DEFAULT_LIMITS, name: str = ""
) -> int | None:
    """Return the largest value of a 16-bit image; None for other or unusable images.

    Of other images, only the header is read.
    """
    try:
        if isinstance(source, str | Path):
            path = Path(source)
            with open_regular(path, limits.max_bytes) as file:
                if not may_have_sixteen_bits(file):
                    return None
            source, name = read_image_file(path, limits.max_bytes), str(path)
        if isinstance(source, bytes):
            if not may_have_sixteen_bits(io.BytesIO(source)):
                return None
            content = source
            values, _, _ = _read_as(
                lambda image, _: sixteen_bit_values(image, content), content, name, limits
            )
        elif isinstance(source, Image.Image) and source.mode.startswith("I"):
            _load_checked(source, printable(name), limits)
            values = np.asarray(source)
        elif isinstance(source, np.ndarray) and source.dtype.name in ("uint16", "int32"):
            values = source
        else:
            return None
    except (ImageError, *DAMAGE):
        return None  # decoding refuses it with the reason
    colours = values[..., :3] if values.ndim == 3 else values
    return int(colours.max()) if colours.size and colours.min() >= 0 else None


def wide_grey(path: Path, *, limits: ImageLimits = DEFAULT_LIMITS) -> npt.NDArray[Any] | None:
    """Return the stored values of a grey image with more than 8 bits or floats, upright.

    Return None for other images, of which `decode` loses nothing.
    """

    def numbers_of(image: ImageFile, _: str) -> npt.NDArray[Any] | None:
        if not image.mode.startswith(("I", "F")):
            return None
        image.load()
        return np.asarray(upright(image, orientation_of(image)))

    content = read_image_file(path, limits.max_bytes)
    return _read_as(numbers_of, content, str(path), limits)[0]


def stored_orientation(path: Path, *, limits: ImageLimits = DEFAULT_LIMITS) -> int:
    """Return an image's EXIF orientation, 1 to 8, by which `decode` turns it upright."""
    content = read_image_file(path, limits.max_bytes)
    return _read_as(lambda image, _: orientation_of(image), content, str(path), limits)[0]


def stored_size(
    source: ImageSource, *, limits: ImageLimits = DEFAULT_LIMITS
) -> tuple[int, int] | None:
    """Return an image's width and height, upright, from its header; None if it cannot be used."""
    if isinstance(source, np.ndarray):
        return (source.shape[1], source.shape[0]) if source.ndim in (2, 3) else None
    if isinstance(source, Image.Image):
        return _turned(source.size, orientation_of(source))
    try:
        if isinstance(source, bytes):
            return _size_in(io.BytesIO(source))
        with open_regular(Path(source), limits.max_bytes) as file:
            return _size_in(file)
    except (ImageError, *DAMAGE):
        return None  # decoding refuses it with the reason


def _size_in(file: IO[bytes]) -> tuple[int, int] | None:
    start = file.read(_SIGNATURE_BYTES)
    file.seek(0)
    if kind := format_of(start):
        with refusals("", kind), open_image(kind, file) as image:
            return _turned(image.size, orientation_of(image))
    if kind := heif_format(start):
        with refusals("", kind), open_heif(kind, file.read(), "") as image:
            return _turned(image.size, orientation_of(image))
    return None


def _turned(size: tuple[int, int], orientation: int) -> tuple[int, int]:
    return size if orientation < SWAPPED else (size[1], size[0])


def thumbnail(pixels: Pixels, side: int = 128) -> bytes:
    """Return a small JPEG whose longer side is at most `side` pixels.

    Parameters
    ----------
    pixels : ndarray of uint8 (height, width, 3)
        RGB.
    side : int
        Pixels.
    """
    image = Image.fromarray(pixels)
    scale = side / max(image.size)
    if scale < 1:
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        # reducing_gap first shrinks large images cheaply: several times faster, and as good here.
        image = image.resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def _read_as(
    use: Callable[[ImageFile, str], Result], content: bytes, name: str, limits: ImageLimits
) -> tuple[Result, str, str]:
    """Return the result of `use` for a file's image and label, with the file's format and mode."""
    kind = format_of(content) or heif_format(content)
    label = printable(name) or _UNNAMED
    if kind is None:
        raise ImageError(f"{label}: is not an image of a known format; give one of {_FORMATS}")
    with refusals(label, kind), _open(kind, content, label) as image:
        _check_size(image.size, label, limits)
        mode = image.mode
        if kind == "PNG":
            check_png(content)
        result = use(image, label)
        if kind == "PNG" and may_lack_rows(image):
            check_png_rows(content)
    return result, kind, mode


def _decode_bytes(
    content: bytes, name: str, limits: ImageLimits, bit_depth: int | None
) -> DecodedImage:
    def pixels_of(image: ImageFile, label: str) -> Pixels:
        if image.format == "JPEG" and (pixels := decode_jpeg(content, image)) is not None:
            turn = orientation_of(image)
            return pixels if turn == 1 else np.asarray(upright(Image.fromarray(pixels), turn))
        if bit_depth in (None, 16) or not has_sixteen_bits(image):
            image.load()
            return _upright_rgb(image, label)
        # With fewer bits, the low byte counts too; Pillow only keeps the high byte of colours.
        values = sixteen_bit_values(image, content)
        rgb = Image.fromarray(array_to_rgb(values, label, bit_depth))
        return np.asarray(upright(rgb, orientation_of(image)))

    pixels, kind, mode = _read_as(pixels_of, content, name, limits)
    return DecodedImage(pixels, hashlib.sha256(content).hexdigest(), name, kind, mode)


def _decode_pillow(
    image: Image.Image, name: str, limits: ImageLimits, bit_depth: int | None
) -> DecodedImage:
    label = printable(name) or _UNNAMED
    _check_size(image.size, label, limits)
    _load_checked(image, label, limits)
    try:
        pixels = _upright_rgb(image, label, bit_depth)
    except MemoryError as error:
        raise ImageError(f"{label}: does not fit into memory; use a smaller image") from error
    except DAMAGE as error:
        raise ImageError(
            f"{label}: cannot be used ({reason_of(error)}); give an RGB image"
        ) from error
    # Hash the decoded pixels: stored pixels would also need their palette and profile.
    return DecodedImage(pixels, digest_of(pixels), name, image.format or "Pillow", image.mode)


def _load_checked(image: Image.Image, label: str, limits: ImageLimits) -> None:
    """Load a Pillow image; if it has not been read yet, check its file as in `_read_as`."""
    try:
        content = unread_file(image, limits.max_bytes)
    except OSError as error:
        raise ImageError(f"{label}: cannot be read ({reason_of(error)}); open it again") from error
    if content is not None and len(content) > limits.max_bytes:
        raise _too_large_error(label, len(content), limits)
    kind = None if content is None else format_of(content)
    with refusals(label, kind or image.format or "image"):
        if content is None:
            pass
        elif kind == "PNG":
            check_png(content)
            check_png_rows(content)
        elif kind == "JPEG":
            check_jpeg(content)
        image.load()


def _decode_array(
    array: npt.NDArray[Any], name: str, limits: ImageLimits, bit_depth: int | None
) -> DecodedImage:
    label = printable(name) or _UNNAMED
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (1, 3, 4)):
        raise ImageError(
            f"{label}: has shape {array.shape}; give (height, width) or (height, width, 1, 3 or 4)"
        )
    height, width = array.shape[:2]
    _check_size((width, height), label, limits)
    pixels = array_to_rgb(array, label, bit_depth)
    return DecodedImage(pixels, digest_of(array), name, "array", str(array.dtype))


def _open(kind: str, content: bytes, label: str) -> ImageFile:
    if kind in ("HEIC", "AVIF"):
        return open_heif(kind, content, label)
    return open_image(kind, io.BytesIO(content))


def _check_size(size: tuple[int, int], name: str, limits: ImageLimits) -> None:
    width, height = size
    if width * height > limits.max_pixels:
        raise ImageError(
            f"{name}: has {width} x {height} pixels, more than the limit of "
            f"{limits.max_pixels / 1e6:g} million; use a smaller image or raise "
            "PATCHBANK_MAX_IMAGE_MEGAPIXELS"
        )
    if min(size) < MINIMUM_SIDE:
        raise ImageError(
            f"{name}: has only {width} x {height} pixels; give an image of at least "
            f"{MINIMUM_SIDE} x {MINIMUM_SIDE}"
        )


def _too_large_error(name: str, count: int, limits: ImageLimits) -> ImageError:
    return ImageError(
        f"{name}: has {count / 1e6:.0f} million bytes, more than the limit of "
        f"{limits.max_bytes / 1e6:g} million; use a smaller file or raise "
        "PATCHBANK_MAX_IMAGE_MEGABYTES"
    )


def _upright_rgb(image: Image.Image, name: str, bit_depth: int | None = None) -> Pixels:
    return np.asarray(upright(image_to_rgb(image, name, bit_depth), orientation_of(image)))
