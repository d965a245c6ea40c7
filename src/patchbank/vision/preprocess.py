"""Turn an image of any size into the network's input: a square, or what tiles are cut from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from numbers import Real
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.errors import ParameterError

# Smaller, the deepest layers have a single position; larger, an image takes gigabytes.
SMALLEST_SIDE: Final = 32
LARGEST_SIDE: Final = 2048

SMALLEST_SCALE: Final = 0.01
LARGEST_SCALE: Final = 8.0

# Every fourth pixel tells the mean colour of a part.
_STEP: Final = 4

RESIZE_PRECISIONS: Final = ("uint8", "float32")


Square = npt.NDArray[np.uint8 | np.float32]


@dataclass(frozen=True)
class Preprocessing:
    """Resizing to a square, without keeping the aspect ratio, or by a scale for tiles.

    A crop excludes the square's border from inspection; `inspected_box` returns what remains.

    Parameters
    ----------
    image_size : int
        Side of the network's input in pixels, 32 to 2048: the square, or a tile.
    center_crop : int, optional
        Side of the part kept, at most `image_size`; None to keep everything.
    resize_precision : str
        ``"uint8"``: values are rounded after the resize, as in Pillow. ``"float32"``: they are not,
        as in torchvision for float tensors.
    scale : float, optional
        Pixels of the network's input per pixel of the image, which keeps its shape; None for a
        square.

    Raises
    ------
    ParameterError
        If a size is out of range, or the precision is unknown.
    """

    image_size: int = 224
    center_crop: int | None = None
    resize_precision: str = "uint8"
    scale: float | None = None

    def __post_init__(self) -> None:
        if self.scale is not None:
            object.__setattr__(self, "scale", _checked_scale(self.scale))
        _check_side("image size" if self.scale is None else "tile", self.image_size)
        if self.center_crop is not None:
            _check_side("center crop", self.center_crop)
            if self.center_crop > self.image_size:
                raise ParameterError(
                    f"center crop {self.center_crop} is larger than image size {self.image_size}; "
                    "give a smaller one"
                )
        if self.resize_precision not in RESIZE_PRECISIONS:
            raise ParameterError(
                f"resize precision is {self.resize_precision!r}; "
                f"give one of {', '.join(RESIZE_PRECISIONS)}"
            )

    @property
    def is_tiled(self) -> bool:
        """Whether images keep their shape, and the network sees them in tiles."""
        return self.scale is not None

    def size(self, width: int, height: int) -> tuple[int, int]:
        """Return the width and height that an image of this size is resized to."""
        if self.scale is None:
            return self.image_size, self.image_size
        return max(1, round(width * self.scale)), max(1, round(height * self.scale))

    @property
    def side(self) -> int:
        """Side of the network's input in pixels."""
        return self.image_size if self.center_crop is None else self.center_crop

    @property
    def offset(self) -> int:
        """Pixels cropped from the left and top of the resized square."""
        return (self.image_size - self.side) // 2

    def apply(self, pixels: npt.NDArray[np.uint8], *, grey: bool = False) -> Square:
        """Return the resized image: antialiased bilinear, then the crop.

        Parameters
        ----------
        pixels : ndarray of uint8 (height, width, 3)
            RGB of any size.
        grey : bool
            Whether the channels are known to be equal, which halves the time.

        Returns
        -------
        ndarray of uint8 or float32 (side, side, 3), or of `size` for tiles
            Values 0 to 255, of type `resize_precision`; may be a view of `pixels`.
        """
        resized = self._resized(pixels, grey=grey)
        if self.is_tiled:
            return resized
        first, last = self.offset, self.offset + self.side
        return resized[first:last, first:last]

    def _resized(self, pixels: npt.NDArray[np.uint8], *, grey: bool) -> Square:
        size = self.size(pixels.shape[1], pixels.shape[0])
        fits = pixels.shape[1::-1] == size
        # Pillow resizes channels independently, so one channel gives the same bits as three.
        if self.resize_precision == "float32":
            planes = []
            for channel in range(1 if grey else 3):
                plane = pixels[:, :, channel].astype(np.float32)
                if not fits:
                    image = Image.fromarray(plane).resize(size, Image.Resampling.BILINEAR)
                    plane = np.asarray(image, np.float32)
                planes.append(plane)
            return np.stack(planes * 3 if grey else planes, axis=-1)
        if fits:
            return pixels
        image = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0]) if grey else pixels)
        image = image.resize(size, Image.Resampling.BILINEAR)
        return np.asarray(Image.merge("RGB", (image, image, image)) if grey else image)

    def inspected_box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Return the part of an image of this size that is inspected.

        Returns
        -------
        x0, y0, x1, y1 : float
            In pixels of the original image; the whole image without a crop.
        """
        if self.is_tiled:
            return (0.0, 0.0, float(width), float(height))
        first = self.offset / self.image_size
        last = (self.offset + self.side) / self.image_size
        return (width * first, height * first, width * last, height * last)


def painted_over(pixels: Square, hidden: npt.NDArray[np.bool_] | None) -> Square:
    """Return the network's input with what is hidden in the mean colour of the rest.

    Parameters
    ----------
    hidden : ndarray of bool (height, width)
        Some pixels, not all; None for none.
    """
    if hidden is None:
        return pixels
    visible, seen = ~hidden[::_STEP, ::_STEP], pixels[::_STEP, ::_STEP]
    if not visible.any():
        visible, seen = ~hidden, pixels
    colour = seen[visible].mean(axis=0, dtype=np.float64)
    if pixels.dtype == np.uint8:
        colour = np.rint(colour)
    painted = pixels.copy()
    np.copyto(painted, colour.astype(pixels.dtype), where=hidden[..., np.newaxis])
    return painted


def _checked_scale(scale: object) -> float:
    """Return a scale, which may be any real number in Python but not a text of a bank's file."""
    value = float(scale) if isinstance(scale, Real) else math.nan
    if not SMALLEST_SCALE <= value <= LARGEST_SCALE:
        raise ParameterError(
            f"scale is {scale!r}; give a number from {SMALLEST_SCALE:g} to {LARGEST_SCALE:g}, such "
            "as 1 for the image's own pixels"
        )
    return value


def _check_side(name: str, value: int) -> None:
    if type(value) is not int or not SMALLEST_SIDE <= value <= LARGEST_SIDE:
        raise ParameterError(
            f"{name} is {value}; give a whole number from {SMALLEST_SIDE} to {LARGEST_SIDE} pixels"
        )
