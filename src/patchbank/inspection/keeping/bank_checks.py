"""What digests cannot tell of a bank's file: values that make no sense, or are made to do harm."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.same_part import SIDE

# Opening and separating signs of JSON, of which every value has one before it. An image has twelve.
_MOST_VALUES: Final = 10_000_000
_LONGEST_TEXT: Final = 10_000
_LARGEST_DESCRIPTION: Final = 1_000_000
_LARGEST_THUMBNAIL: Final = 1_000_000
_JPEG: Final = b"\xff\xd8\xff"
# What an integer of the database holds.
_LARGEST_SIDE: Final = 2**31 - 1
# Of distances, which are float32.
_LARGEST_SCORE: Final = float(np.finfo(np.float32).max)


def check_count(document: bytes) -> None:
    """Raise ValueError for a document whose values would take far more memory than its text."""
    if sum(document.count(sign) for sign in (b",", b":", b"[", b"{")) > _MOST_VALUES:
        raise ValueError(f"it has more than {_MOST_VALUES:,} values")


def check_description(name: str, value: Mapping[str, Any] | None) -> None:
    """Raise ValueError for what the database cannot hold, or nobody writes."""
    text = json.dumps(value, allow_nan=False)
    if r"\u0000" in text:
        raise ValueError(f"{name} has text with NUL in it")
    if name != "calibration" and len(text) > _LARGEST_DESCRIPTION:
        raise ValueError(f"{name} has {len(text):,} characters")


def check_share(name: str, value: float) -> None:
    """Raise ValueError for a number that is not above 0 and at most 1."""
    if not 0 < value <= 1:
        raise ValueError(f"{name} is {value}, expected a number above 0 and at most 1")


def check_grid(grid: object) -> None:
    """Raise ValueError for what is no number of rows and columns."""
    if grid is not None and not (
        isinstance(grid, list)
        and len(grid) == 2
        and all(type(side) is int and side > 0 for side in grid)
    ):
        raise ValueError(f"the extractor's grid is {grid!r}, expected two positive whole numbers")


def check_held_out(calibration: Mapping[str, Any] | None, images: int) -> None:
    """Raise ValueError unless the number of images left out is one of those there are."""
    held_out = (calibration or {}).get("held_out", 0)
    if type(held_out) is not int or not 0 <= held_out <= images:
        raise ValueError(
            f"held_out is {held_out!r}, expected a whole number up to {images}, the number of "
            "images"
        )


def check_size(width: int, height: int) -> None:
    """Raise ValueError for a size that the database cannot hold."""
    if max(width, height) > _LARGEST_SIDE:
        raise ValueError(f"size is {width} x {height}, beyond {_LARGEST_SIDE}")


def checked_text(name: str, text: str) -> str:
    """Return a name or a path, or raise ValueError for text that cannot be one."""
    if "\0" in text or len(text) > _LONGEST_TEXT:
        raise ValueError(f"{name} is {text[:40]!r}, expected text of up to {_LONGEST_TEXT:,}")
    return text


def checked_label(label: str) -> str:
    """Return an image's label, or raise ValueError."""
    if label != "good":
        raise ValueError(f"label is {label!r}, expected good: banks are made of good images")
    return label


def checked_texture(content: bytes) -> bytes:
    """Return a texture, or raise ValueError for what has another size."""
    if len(content) != SIDE * SIDE:
        raise ValueError(f"a texture has {len(content)} bytes, expected {SIDE * SIDE}")
    return content


def checked_thumbnail(content: bytes) -> bytes:
    """Return a thumbnail, or raise ValueError for what is no small JPEG."""
    if not content.startswith(_JPEG) or len(content) > _LARGEST_THUMBNAIL:
        raise ValueError("a thumbnail is not a small JPEG")
    return content


def checked_score(name: str, value: float) -> float:
    """Return a distance that may be NaN, which stands for none, or raise ValueError."""
    if not np.isnan(value) and not 0 <= value <= _LARGEST_SCORE:
        raise ValueError(f"{name} is {value}, expected a finite number, 0 or more")
    return float(value)


def checked_radius(values: NDArray[Any]) -> float:
    """Return the covering radius, or raise ValueError."""
    if values.shape != (1,):
        raise ValueError(f"covering_radius has shape {values.shape}, expected one number")
    return checked_score("covering_radius", float(values[0]))


def check_positions(bank: BankContent, settings: ExtractorSettings) -> None:
    """Raise ValueError for patches outside of the feature map of their image."""
    grids = np.array([settings.grid_of(image.width, image.height) for image in bank.images])
    known = bank.patch_image >= 0
    for axis, (name, positions) in enumerate(
        (("row", bank.patch_row), ("column", bank.patch_column))
    ):
        counts = grids[bank.patch_image[known], axis] if known.any() else np.empty(0, np.int64)
        outside = np.flatnonzero(positions[known] >= counts)
        if len(outside):
            first = outside[0]
            raise ValueError(f"a patch has {name} {positions[known][first]} of {counts[first]}")


def checked_scores(scores: CalibrationScores) -> CalibrationScores:
    """Return the scores of good images, or raise ValueError for what no image scores."""
    for name in ("score", "map_maximum"):
        values = getattr(scores, name)
        if len(values):
            checked_score(f"the smallest {name}", float(np.nanmin(values, initial=_LARGEST_SCORE)))
            checked_score(f"the largest {name}", float(np.nanmax(values, initial=0.0)))
    return scores
