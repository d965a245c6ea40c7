"""What images are called, checked at the door."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from patchbank.errors import ParameterError
from patchbank.vision.images import ImageSource


def checked_sources(images: Iterable[ImageSource]) -> list[ImageSource]:
    """Return several images as a list.

    Raises
    ------
    ParameterError
        For one image where several are wanted, and for what holds no images.
    """
    if isinstance(images, bytes | Image.Image) or (
        isinstance(images, np.ndarray) and images.ndim < 4
    ):
        raise ParameterError("images: one image was given; give several, such as a list")
    try:
        return list(images)
    except TypeError:
        raise ParameterError(
            f"images: a {type(images).__name__} holds no images; give a folder, a glob or a list"
        ) from None


def checked_names(sources: Sequence[ImageSource], names: Sequence[str] | None) -> list[str]:
    """Return a name for each source; see `source_name`.

    Raises
    ------
    ParameterError
        If there is not one name for each source, or one is not a proper name.
    """
    if names is None:
        return [source_name(source, index) for index, source in enumerate(sources)]
    names = [checked_name(name) for name in names]
    if len(names) != len(sources):
        raise ParameterError(f"names: {len(names)} given for {len(sources)} images; give one each")
    twice = next((name for name, count in Counter(names).items() if count > 1), None)
    if twice is not None:
        raise ParameterError(f"names: {twice!r} is given twice; give each image a name of its own")
    return names


def checked_name(name: str) -> str:
    """Return an image's name, or raise `ParameterError`: a record cannot hold every text."""
    if not name or "\0" in name:
        raise ParameterError(f"{name!r} is no name for an image; give text that is not empty")
    return name


def source_name(source: ImageSource, index: int = 0) -> str:
    """Return what a source is called: its path, or ``image-0007`` for one that has none.

    A path that is not valid UTF-8, as Linux allows, is written with escapes.
    """
    if not isinstance(source, str | Path):
        return f"image-{index:04d}"
    return readable(Path(source).as_posix())


def readable(path: str) -> str:
    """Return a path as text that can be stored and printed."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
