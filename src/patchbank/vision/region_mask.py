"""A mask: the part of an image that is white in a picture."""

from __future__ import annotations

import base64
import binascii
import io
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.errors import ParameterError
from patchbank.vision.decoded_image import DEFAULT_LIMITS, ImageSource
from patchbank.vision.images import decode

# Longer side of the mask that is kept: patches are larger than a pixel of it.
_LONGEST_MASK: Final = 2048
_LARGEST_SIDE: Final = 1 << 20
# Of 255; a mask is black and white, but for the soft edge of its shapes.
_WHITE: Final = 128
_GREY: Final = (40, 215)
_MOST_GREY: Final = 0.1

Size = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mask:
    """What is white in a picture.

    Attributes
    ----------
    size
        Width and height of the picture it was made of.
    png
        The mask, a PNG of one bit a pixel, perhaps smaller than that picture.
    name
        The file it was read from, if it was just now.
    """

    size: Size
    png: bytes
    name: str = field(default="", compare=False)

    @classmethod
    def read(cls, source: ImageSource, name: str = "") -> Self:
        """Read a mask from an image; white is ignored.

        Raises
        ------
        ImageError
            If the image cannot be read.
        ParameterError
            If it is no mask: has no white, or is a photograph.
        """
        image = decode(source, name=name, limits=DEFAULT_LIMITS)
        title = f"mask {image.name or name or 'to ignore'}"
        grey = image.pixels.mean(axis=2)
        if np.mean((grey > _GREY[0]) & (grey < _GREY[1])) > _MOST_GREY:
            raise ParameterError(
                f"{title}: is not black and white; paint the parts to ignore white and the "
                "rest black"
            )
        white = grey >= _WHITE
        if not white.any():
            raise ParameterError(
                f"{title}: has no white, so it would ignore nothing; paint the parts to ignore "
                "white"
            )
        height, width = white.shape
        picture = Image.fromarray(white)
        if max(width, height) > _LONGEST_MASK:
            share = _LONGEST_MASK / max(width, height)
            picture = picture.resize(
                (max(1, round(width * share)), max(1, round(height * share))),
                Image.Resampling.NEAREST,
            )
        content = io.BytesIO()
        picture.save(content, "PNG", optimize=True)
        return cls((width, height), content.getvalue(), name)

    def holds(
        self, down: npt.NDArray[np.float64], across: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """Return which points of an image's grid are white: shares of its height and width."""
        white = _white(self.png)
        rows, columns = (
            np.clip((line * side).astype(np.int64), 0, side - 1)
            for line, side in zip((down, across), white.shape, strict=True)
        )
        found: npt.NDArray[np.bool_] = white[rows[:, np.newaxis], columns]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary."""
        return {"size": list(self.size), "png": base64.b64encode(self.png).decode("ascii")}

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Return the mask that `to_json` returned; raises `ParameterError` for others."""
        try:
            size = checked_size(document["size"])
            mask = cls(size, base64.b64decode(document["png"], validate=True))
            _white(mask.png)
        except (
            TypeError,
            KeyError,
            ValueError,
            binascii.Error,
            OSError,
            SyntaxError,
            Image.DecompressionBombError,
        ) as error:
            raise ParameterError(f"the mask of the bank is damaged: {error}") from error
        return mask


@lru_cache(maxsize=8)
def _white(png: bytes) -> npt.NDArray[np.bool_]:
    with Image.open(io.BytesIO(png), formats=("PNG",)) as picture:
        if picture.mode != "1" or max(picture.size) > _LONGEST_MASK:
            raise ValueError("it is not of one bit a pixel, or too large")
        white = np.asarray(picture, np.bool_)
    white.setflags(write=False)
    return white


def checked_size(size: Any) -> Size:
    """Return a width and height of a file, or raise ValueError or TypeError."""
    width, height = size
    for side in (width, height):
        if type(side) is not int or not 1 <= side <= _LARGEST_SIDE:
            raise ValueError(f"{size!r:.40} is no size")
    return width, height
