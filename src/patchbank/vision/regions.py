"""Regions of interest: parts of an image that are neither learned nor judged."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from patchbank.errors import ImageError, ParameterError
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.region_mask import Mask, Size, checked_size

# How far the proportions of two images may differ that are of one kind, as rounding makes them.
_SAME_PROPORTIONS: Final = 0.01
_MOST_BOXES: Final = 1000
_EXAMPLES: Final = "such as 40,60,200,80 in pixels or 10%,20%,30%,5%"

# A text, x, y, width and height in pixels, or several of either.
Boxes = str | Sequence[float] | Sequence[str] | Sequence[Sequence[float]]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle of an image: its left and upper end, width and height.

    Attributes
    ----------
    in_percent
        Whether these are per cent of the image's width and height; else pixels.
    """

    x: float
    y: float
    width: float
    height: float
    in_percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Return the box of a text such as ``40,60,200,80`` or ``10%,20%,30%,5%``.

        Raises
        ------
        ParameterError
            If the text is not a box, or the box has no area or does not begin in an image.
        """
        parts = [part.strip() for part in text.split(",")]
        shares = [part.endswith("%") for part in parts]
        try:
            x, y, width, height = (float(part.removesuffix("%")) for part in parts)
        except ValueError:
            raise ParameterError(f"box {text!r:.80}: give x,y,width,height, {_EXAMPLES}") from None
        if any(shares) and not all(shares):
            raise ParameterError(
                f"box {text!r:.80}: give all four numbers in pixels or all four in per cent, "
                f"{_EXAMPLES}"
            )
        if not all(map(math.isfinite, (x, y, width, height))) or min(x, y) < 0:
            raise ParameterError(f"box {text!r:.80}: x and y must be 0 or more, {_EXAMPLES}")
        if not min(width, height) > 0:
            raise ParameterError(f"box {text!r:.80}: width and height must be above 0")
        if all(shares) and max(x + width, y + height) > 100 + 1e-9:
            raise ParameterError(f"box {text!r:.80}: ends outside of the image, beyond 100%")
        return cls(x, y, width, height, all(shares))

    def __str__(self) -> str:
        unit = "%" if self.in_percent else ""
        return ",".join(
            f"{value:.10g}{unit}" for value in (self.x, self.y, self.width, self.height)
        )

    def holds(
        self, down: npt.NDArray[np.float64], across: npt.NDArray[np.float64], size: Size
    ) -> npt.NDArray[np.bool_]:
        """Return which points of an image's grid are inside: shares of its height and width."""
        wide, high = (100.0, 100.0) if self.in_percent else size
        inside_y = (down * high >= self.y) & (down * high < self.y + self.height)
        inside_x = (across * wide >= self.x) & (across * wide < self.x + self.width)
        return inside_y[:, np.newaxis] & inside_x


@dataclass(frozen=True, slots=True)
class Regions:
    """Which parts of images are inspected: those in a box of `only`, if any, and not ignored.

    A patch belongs to the part that its centre is in.

    Attributes
    ----------
    ignore, only
        Boxes.
    mask
        White is ignored.
    size
        Width and height of the images that boxes in pixels are meant for; None where there are no
        such boxes, or until a fit knows its images.
    filled
        Whether what is ignored is painted over before the network sees it, so that it does not
        change the features of patches beside it; not in banks that were learned otherwise.
    """

    ignore: tuple[Box, ...] = ()
    only: tuple[Box, ...] = ()
    mask: Mask | None = None
    size: Size | None = None
    filled: bool = True

    @property
    def boxes_in_pixels(self) -> tuple[Box, ...]:
        """The boxes that need to know the size of the images they are meant for."""
        return tuple(box for box in (*self.only, *self.ignore) if not box.in_percent)

    def for_images_of(self, width: int, height: int) -> Regions:
        """Return the regions with boxes in pixels meant for images of this size.

        Raises
        ------
        ParameterError
            If such a box ends outside of them, or the mask has other proportions.
        """
        if self.mask is not None and not _alike(self.mask.size, (width, height)):
            raise ParameterError(
                f"the mask has {self.mask.size[0]} x {self.mask.size[1]} pixels and the images "
                f"{width} x {height}: other proportions; give a mask made of one of the images"
            )
        boxes = self.boxes_in_pixels
        for box in boxes:
            if box.x + box.width > width or box.y + box.height > height:
                raise ParameterError(
                    f"box {box}: ends outside of the images of {width} x {height} pixels; give "
                    "x,y,width,height inside of them, or in per cent"
                )
        return replace(self, size=(width, height)) if boxes else self

    def inspected(
        self,
        down: npt.NDArray[np.float64],
        across: npt.NDArray[np.float64],
        width: int,
        height: int,
    ) -> npt.NDArray[np.bool_]:
        """Return which patches of an image of this size are inspected, (rows, columns).

        Parameters
        ----------
        down, across
            The centres of its rows and columns of patches, as shares of height and width.

        Raises
        ------
        ParameterError
            If the image has other proportions than the mask or boxes in pixels are meant for.
        """
        for meant, what_for in (
            (self.size, "boxes are given in pixels of images"),
            (None if self.mask is None else self.mask.size, "the mask is for images"),
        ):
            if meant is not None and not _alike(meant, (width, height)):
                raise ParameterError(
                    f"{width} x {height} pixels, but {what_for} of {meant[0]} x {meant[1]}, other "
                    "proportions: the regions to ignore do not fit; use images of those "
                    "proportions, or fit with boxes in per cent"
                )
        size = self.size or (width, height)
        inspected = np.full((len(down), len(across)), not self.only)
        for box in self.only:
            inspected |= box.holds(down, across, size)
        for box in self.ignore:
            inspected &= ~box.holds(down, across, size)
        if self.mask is not None:
            inspected &= ~self.mask.holds(down, across)
        inspected.setflags(write=False)
        return inspected

    def inspects(self, x: float, y: float, width: int, height: int) -> bool:
        """Return whether a point, in pixels of an image of this size, is inspected."""
        down, across = np.array([y / height]), np.array([x / width])
        return bool(self.inspected(down, across, width, height)[0, 0])

    def in_words(self) -> str:
        """Return what is inspected, for people."""
        parts = []
        if self.only:
            parts.append(f"only {' and '.join(map(str, self.only))}")
        if self.ignore:
            parts.append(f"not {' and '.join(map(str, self.ignore))}")
        if self.mask is not None:
            wide, high = self.mask.size
            parts.append(f"not what is white in a mask of {wide} x {high} pixels")
        meant = "" if self.size is None else f" (pixels of {self.size[0]} x {self.size[1]})"
        return f"{', '.join(parts)}{meant}"

    def options(self) -> dict[str, Any]:
        """Return the options of a fit that ask for these regions."""
        found: dict[str, Any] = {}
        if self.mask is not None:
            found["ignore_mask"] = self.mask.name or "MASK"
        for name, boxes in (("ignore_box", self.ignore), ("only_box", self.only)):
            if boxes:
                found[name] = [str(box) for box in boxes]
        return found

    def to_json(self) -> dict[str, Any]:
        """Return a JSON-compatible dictionary, without what is not set."""
        found: dict[str, Any] = {}
        for name, boxes in (("ignore", self.ignore), ("only", self.only)):
            if boxes:
                found[name] = [str(box) for box in boxes]
        if self.size is not None:
            found["size"] = list(self.size)
        if self.mask is not None:
            found["mask"] = self.mask.to_json()
        if not self.filled:
            found["filled"] = False
        return found

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Return the regions that `to_json` returned; raises `ParameterError` for others."""
        known = {"ignore", "only", "size", "mask", "filled"}
        if not isinstance(document, Mapping) or not document.keys() <= known:
            raise ParameterError("unknown regions to ignore; upgrade patchbank")
        boxes = {}
        for name in ("ignore", "only"):
            texts = document.get(name, [])
            if not isinstance(texts, list) or len(texts) > _MOST_BOXES:
                raise ParameterError(f"the boxes of the bank are damaged: {texts!r:.80}")
            boxes[name] = tuple(Box.parse(str(text)) for text in texts)
        mask, size = document.get("mask"), document.get("size")
        try:
            checked = None if size is None else checked_size(size)
        except (TypeError, ValueError) as error:
            raise ParameterError(f"the regions of the bank are damaged: {error}") from error
        filled = document.get("filled", True)
        if type(filled) is not bool:
            raise ParameterError(
                "the regions of the bank are damaged: filled must be true or false"
            )
        return cls(
            boxes["ignore"],
            boxes["only"],
            None if mask is None else Mask.from_json(mask),
            checked,
            filled,
        )


def make_regions(
    ignore_mask: ImageSource | None = None,
    ignore_box: Boxes | None = None,
    only_box: Boxes | None = None,
) -> Regions | None:
    """Return the regions that a user asked for, or None without any.

    Raises
    ------
    ParameterError
        If a text is not a box, or the image is not a mask.
    """
    ignore, only = _boxes(ignore_box), _boxes(only_box)
    mask = None
    if ignore_mask is not None:
        name = os.fspath(ignore_mask) if isinstance(ignore_mask, str | Path) else ""
        if isinstance(ignore_mask, np.ndarray) and ignore_mask.dtype == np.bool_:
            ignore_mask = np.where(ignore_mask, np.uint8(255), np.uint8(0))
        try:
            mask = Mask.read(ignore_mask, name)
        except ImageError as error:
            raise ParameterError(f"the mask cannot be used: {error}") from error
    if not (ignore or only or mask):
        return None
    return Regions(ignore, only, mask)


def _boxes(given: Boxes | None) -> tuple[Box, ...]:
    """Return the boxes of a text, of four numbers of pixels, or of several such."""
    if given is None:
        return ()
    if isinstance(given, str):
        return (Box.parse(given),)
    if given and all(isinstance(value, int | float) for value in given):
        return (Box.parse(",".join(str(value) for value in given)),)
    # Texts or sequences: mypy does not see that these are no numbers.
    return tuple(box for inner in given for box in _boxes(inner))  # type: ignore[arg-type]


def taken(values: npt.NDArray[Any], inspected: npt.NDArray[np.bool_] | None) -> npt.NDArray[Any]:
    """Return what a grid (rows, columns, ...) has where it is inspected, one after another."""
    if inspected is None:
        return values.reshape(-1, *values.shape[2:])
    return values[inspected]


def spread(
    values: npt.NDArray[Any], inspected: npt.NDArray[np.bool_] | None, grid: tuple[int, int]
) -> npt.NDArray[Any]:
    """Return the grid (rows, columns, ...) that `taken` took values of, 0 where uninspected."""
    if inspected is None:
        return values.reshape(*grid, *values.shape[1:])
    whole = np.zeros((*grid, *values.shape[1:]), values.dtype)
    whole[inspected] = values
    return whole


def _alike(first: Size, second: Size) -> bool:
    """Return whether two sizes have the same proportions, but for rounding to pixels."""
    (width, height), (wide, high) = first, second
    slack = max(_SAME_PROPORTIONS, 1 / min(*first, *second))
    return abs(math.log(width * high / (height * wide))) <= slack
