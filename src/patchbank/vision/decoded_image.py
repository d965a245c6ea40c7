"""A decoded image and its size limits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
ImageSource = str | Path | bytes | Image.Image | npt.NDArray[Any]

# Pillow's grey modes; those with more bits start with "I" or "F".
_GREY: Final = frozenset({"1", "L", "LA", "La"})


@dataclass(frozen=True)
class ImageLimits:
    """The size limits of images.

    Parameters
    ----------
    max_bytes : int
        Size of the file in bytes, checked before reading.
    max_pixels : int
        Width times height, checked in the file's header before decoding.
    """

    max_bytes: int = 256_000_000
    max_pixels: int = 100_000_000


DEFAULT_LIMITS: Final = ImageLimits()


@dataclass(frozen=True, eq=False)
class DecodedImage:
    """A decoded image.

    Parameters
    ----------
    pixels : ndarray of uint8 (height, width, 3)
        RGB, upright, C-contiguous, read-only.
    sha256 : str
        Hex digest of the file's bytes, or of the pixels, shape and type of an image in memory.
    name : str
        The path, the caller's name for the image, or the empty string.
    format : str
        The format, such as ``"PNG"``; ``"array"`` for an array.
    mode : str
        The stored colours: Pillow's mode, or an array's dtype.
    """

    pixels: Pixels = field(repr=False)
    sha256: str
    name: str
    format: str
    mode: str

    def __post_init__(self) -> None:
        shape, dtype = self.pixels.shape, self.pixels.dtype
        if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3:
            raise ValueError(f"expected uint8 pixels (height, width, 3), got {dtype} {shape}")
        if not self.pixels.flags.c_contiguous:
            raise ValueError("expected C-contiguous pixels")
        self.pixels.flags.writeable = False

    @cached_property
    def pixels_sha256(self) -> str:
        """Hex digest of the visible pixels, the same however the picture is stored."""
        pixels = self.pixels
        if self.grey or (equal_channels(pixels[::16, ::16]) and equal_channels(pixels)):
            pixels = pixels[:, :, :1]
        return digest_of(pixels)

    @property
    def grey(self) -> bool:
        """Whether the image was stored in grey, so that its channels are equal."""
        return self.mode in _GREY or self.mode.startswith(("I", "F"))

    @property
    def width(self) -> int:
        """Width in pixels, after orientation."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels, after orientation."""
        return int(self.pixels.shape[0])


def equal_channels(pixels: Pixels) -> bool:
    """Return whether an RGB image is grey."""
    first = pixels[:, :, 0]
    return np.array_equal(first, pixels[:, :, 1]) and np.array_equal(first, pixels[:, :, 2])


def digest_of(array: npt.NDArray[Any]) -> str:
    """Return the hex SHA-256 of an array's values, type and shape."""
    digest = hashlib.sha256(f"{array.dtype.str} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
