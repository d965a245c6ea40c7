"""Functions shared by the layouts: names for messages, checks, and a split for those without."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from patchbank.datasets.words import is_good_name
from patchbank.errors import DatasetError
from patchbank.files import LARGEST_TEXT, read_regular
from patchbank.spelling import composed, nearest
from patchbank.vision.image_folders import (
    describe_content,
    is_image_name,
    is_left_out,
    natural_key,
)

TEST_SHARE = 0.2
_SHOWN = 5
_LONGEST_SHOWN = 300


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder in natural order, without hidden and system folders."""
    below = (entry for entry in folder.iterdir() if entry.is_dir())
    return sorted((entry for entry in below if not is_left_out(entry.name)), key=natural_key)


def found_in(folder: Path) -> str:
    """Return a description of a folder's content, for a message."""
    below = [entry.name for entry in subfolders(folder)]
    named = f" ({some(below)})" if below else ""
    return f"found {describe_content(folder)} in {folder}{named}"


def some(names: Sequence[str]) -> str:
    """Join the first few names, for a message."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def name_below(root: Path, image: Path) -> str:
    """Return an image's name: its POSIX path from the data set's root."""
    return image.relative_to(root).as_posix()


def require_file(where: str, role: str, path: Path) -> None:
    """Refuse a listed path that is not a file.

    Raises
    ------
    DatasetError
        If it is not a file; the message names the line (`where`) and what the file is (`role`).
    """
    problem = problem_of(path)
    if problem is not None:
        raise DatasetError(f"{where}: {role} {shown(path)} {problem}")


def problem_of(path: Path) -> str | None:
    """Return why a path is not a readable file, or None if it is."""
    try:
        if path.is_file():
            return None
        return "is not a file" if path.exists() else "does not exist"
    except OSError as error:  # a name that is too long, a folder without permission
        return f"cannot be read ({(error.strerror or str(error)).lower()})"


def read_list(file: Path) -> str:
    """Return the text of a list of images, with its original line ends.

    Raises
    ------
    DatasetError
        If it cannot be read, is too large, or is UTF-16 without a byte order mark.
    UnicodeDecodeError
        If it is neither UTF-8 nor UTF-16 with a byte order mark.
    """
    try:
        content = read_regular(file, LARGEST_TEXT)
    except OSError as error:
        raise DatasetError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    # Spreadsheets save "Unicode text" as UTF-16 with a byte order mark.
    is_utf_16 = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in content and not is_utf_16:
        raise DatasetError(
            f"{file}: contains NUL bytes, like UTF-16 without a byte order mark; save it as UTF-8"
        )
    return content.decode("utf-16" if is_utf_16 else "utf-8-sig")


def listed_lines(file: Path) -> Iterator[tuple[str, str]]:
    """Yield the location and text of each line of a list that is not blank.

    Raises
    ------
    DatasetError
        If it cannot be read as text.
    """
    try:
        # Not `splitlines`, which also splits at U+2028 and others that may be part of a path.
        lines = read_list(file).split("\n")
    except UnicodeDecodeError as exc:
        raise DatasetError(f"{file} is not UTF-8 text: {exc}; save it as UTF-8") from exc
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield f"{file}, line {number}", line


def is_folder(path: Path) -> bool:
    """Return whether a path is a folder; False if it cannot be accessed."""
    try:
        return path.is_dir()
    except OSError:
        return False


def shown(path: str | Path) -> str:
    """Return a path for a message, without the middle if it is very long."""
    text = str(path)
    half = _LONGEST_SHOWN // 2
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:half]}…{text[-half:]}"


def require_folder(root: Path, expected: str) -> None:
    """Refuse a root that is not a folder.

    Raises
    ------
    DatasetError
        If it is not a folder; the message says what the folder should hold.
    """
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise DatasetError(f"{root} {problem}; give the folder that holds {expected}")


def require_category(root: Path, category: str, categories: Sequence[str]) -> str:
    """Return a category as the data set spells it: composed (NFC) or decomposed (NFD).

    Raises
    ------
    DatasetError
        If the data set has no such category; the message suggests one.
    """
    if category in categories:
        return category
    spelled = {composed(name): name for name in categories}
    if composed(category) in spelled:
        return spelled[composed(category)]
    close = nearest(composed(category), spelled)
    meant = f", did you mean {spelled[close]}?" if close else ";"
    raise DatasetError(f"{root} has no category {category!r}{meant} it has {some(categories)}")


def has_images(folder: Path) -> bool:
    """Return whether a folder directly contains images."""
    return any(is_image_name(entry.name) for entry in folder.iterdir() if entry.is_file())


def refuse_other_good_name(split: Path, good: str) -> None:
    """Refuse `Good`, `ok` or `pass`, which would otherwise count as a kind of defect.

    Raises
    ------
    DatasetError
        If a folder has such a name.
    """
    for folder in subfolders(split):
        if folder.name != good and is_good_name(folder.name):
            remedy = "move its images" if (split / good).is_dir() else "rename it"
            raise DatasetError(f"expected {split / good}, found {folder}; {remedy} to {good}")


def held_out(names: Sequence[str]) -> set[str]:
    """Return a fifth of the good images, to judge where a data set has no split.

    These are the names with the smallest SHA-256, so that the choice depends on the names alone,
    not on their order or the machine. At least one image is left to learn from.
    """
    count = min(max(1, round(TEST_SHARE * len(names))), len(names) - 1)
    ranked = sorted(names, key=lambda name: _digest(name))
    return set(ranked[:count])


def _digest(name: str) -> str:
    # Bytes of a name that are not UTF-8 are surrogates.
    return hashlib.sha256(composed(name).encode(errors="surrogateescape")).hexdigest()
