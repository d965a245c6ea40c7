"""Images as they are given, and what they are called, checked at the door."""

from __future__ import annotations

import difflib
import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from patchbank.datasets.collect import collect, remarks_on_named
from patchbank.datasets.grouping import groups_by
from patchbank.errors import ParameterError
from patchbank.printable import counted
from patchbank.spelling import composed
from patchbank.vision.decoded_image import ImageSource

_ESCAPED_BYTE = re.compile(rb"\\x([89a-f][0-9a-f])")


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
        raise ParameterError("images: a single image was given; give a list of images")
    try:
        return list(images)
    except TypeError:
        raise ParameterError(
            f"images: a {type(images).__name__} is not a list of images; give a folder, a glob "
            f"or a list"
        ) from None


def found_sources(
    images: str | Path | Iterable[ImageSource],
    *,
    good_only: bool = False,
    exclude: Sequence[str] = (),
) -> tuple[Sequence[ImageSource], tuple[str, ...]]:
    """Return images, and remarks on how they were found."""
    if isinstance(images, str | Path):
        found = collect([images], good_only=good_only, exclude=exclude)
        return found.images, found.remarks
    sources = checked_sources(images)
    return sources, tuple(remarks_on_named(sources, good_only=good_only, exclude=exclude))


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
        raise ParameterError(
            f"names: {len(names)} given for {counted(len(sources), 'image')}; give one name "
            f"per image"
        )
    # A path that is given twice is one image.
    given = enumerate(zip(sources, names, strict=True))
    images = {(name, source_name(source, index)) for index, (source, name) in given}
    used = Counter(name for name, _ in images)
    twice = next((name for name in names if used[name] > 1), None)
    if twice is not None:
        raise ParameterError(f"names: {twice!r} is used twice; give each image a unique name")
    return names


def checked_groups(
    names: Sequence[str], groups: Sequence[object] | None, rule: str | None
) -> tuple[Mapping[str, object] | None, tuple[str, ...]]:
    """Return the group of each image that has one, by its name, and remarks on the others.

    Parameters
    ----------
    groups
        A group for each name, or None for an image that is a group of its own.
    rule
        See `groups_by`.

    Raises
    ------
    ParameterError
        If both are given, there is not one group for each image, or the rule is not valid.
    DatasetError
        If the table of the rule cannot be read.
    """
    if groups is None:
        return (None, ()) if rule is None else groups_by(rule, names)
    if rule is not None:
        raise ParameterError("groups: give either groups or group_by, not both")
    labels = list(groups)
    if len(labels) != len(names):
        raise ParameterError(
            f"groups: {len(labels)} given for {counted(len(names), 'image')}; give one per image, "
            f"None for an image without others of its kind"
        )
    return {name: label for name, label in zip(names, labels, strict=True) if label is not None}, ()


def without(
    sources: Sequence[ImageSource], names: Sequence[str], exclude: Sequence[str]
) -> tuple[list[ImageSource], list[str]]:
    """Return sources and names without those excluded, each by its name, its path or file's name.

    A path may be spelled in any way that leads to the file.

    Raises
    ------
    ParameterError
        If an image is not among them.
    """
    excluded = named(sources, names, exclude, "exclude")
    kept = [slot for slot, name in enumerate(names) if name not in excluded]
    return [sources[slot] for slot in kept], [names[slot] for slot in kept]


def named(
    sources: Sequence[ImageSource | None],
    names: Sequence[str],
    asked: Sequence[str],
    to: str,
    *,
    remedy: str = "use a name as printed by fit",
) -> set[str]:
    """Return the names of those images that were asked for, as by `without`.

    Raises
    ------
    ParameterError
        If an image is not among them; `to` says what it was asked for, and `remedy` where its name
        is found, if none is like it.
    """
    found: set[str] = set()
    for wanted in asked:
        same = [name for name in names if name == wanted]
        same = same or [name for name in names if composed(name) == composed(wanted)]
        same = same or [
            name
            for source, name in zip(sources, names, strict=True)
            if isinstance(source, str | Path) and _leads_to(wanted, source)
        ]
        same = same or [name for name in names if composed(Path(name).name) == composed(wanted)]
        if not same:
            # A name with another number is that of another image, and no misspelling.
            alike = [name for name in names if _numbers(name) == _numbers(wanted)]
            close = difflib.get_close_matches(wanted, alike, n=1)
            meant = f"did you mean {close[0]!r}?" if close else remedy
            raise ParameterError(f"{to} {wanted!r}: no image has this name; {meant}")
        # Two pictures may be held under one name: both are meant.
        if len(set(same)) > 1:
            raise ParameterError(
                f"{to} {wanted!r}: {len(same)} images have this name; give the whole path, such "
                f"as {same[0]!r}"
            )
        found.add(same[0])
    return found


def _numbers(name: str) -> list[int]:
    """Return the numbers in a file's name."""
    return [int(digits) for digits in re.findall(r"[0-9]+", Path(name).name)]


def _leads_to(wanted: str, source: str | Path) -> bool:
    """Whether a path that was typed is that of a source."""
    # Its name first: resolving asks the file system for every part.
    return Path(wanted).name == Path(source).name and (
        os.path.realpath(wanted) == os.path.realpath(source)
    )


def checked_name(name: str) -> str:
    """Return an image's name as it is stored, or raise `ParameterError`: see `readable`."""
    if not name or "\0" in name:
        raise ParameterError(f"{name!r} is not a valid image name; it must not be empty")
    return readable(name)


def source_name(source: ImageSource, index: int = 0) -> str:
    """Return what a source is called: its path, or ``image-0007`` for one that has none.

    A path that is not valid UTF-8, as Linux allows, is written with escapes.
    """
    if not isinstance(source, str | Path):
        return f"image-{index:04d}"
    return readable(Path(source).as_posix())


def readable(path: str) -> str:
    r"""Return a path as text that can be stored and printed: ``\xff`` for what is not UTF-8.

    Raises
    ------
    ParameterError
        If it is no path that a file system gave.
    """
    try:
        return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:
        raise ParameterError(f"{path!r} cannot be stored as text; use another name") from None


def file_at(origin: str) -> Path:
    """Return the path of a file whose `readable` path was stored."""
    path = Path()
    for part in Path(origin).parts:
        # A name may have the escape's characters themselves.
        path = path / part if (path / part).exists() else path / _unescaped(part)
    return path if path.exists() else Path(origin)


def _unescaped(part: str) -> str:
    # Bytes that are not UTF-8 are 0x80 and above.
    content = _ESCAPED_BYTE.sub(lambda match: bytes([int(match[1], 16)]), part.encode())
    return content.decode("utf-8", "surrogateescape")
