"""What readers of folders share: names for messages, a split where there is none."""

from __future__ import annotations

import codecs
import hashlib
from collections.abc import Sequence
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
    """Return the folders in a folder, in natural order, hidden and system ones left out."""
    below = (entry for entry in folder.iterdir() if entry.is_dir())
    return sorted((entry for entry in below if not is_left_out(entry.name)), key=natural_key)


def found(folder: Path) -> str:
    """Say what a folder holds, for a message."""
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


def require_file(where: str, what: str, path: Path) -> None:
    """Refuse a path that a list names and that is no file.

    Raises
    ------
    DatasetError
        If it is none, or cannot be looked at; `where` is the line that names it, `what` it is.
    """
    problem = problem_of(path)
    if problem is not None:
        raise DatasetError(f"{where}: {what} {shown(path)} {problem}")


def problem_of(path: Path) -> str | None:
    """Say why a path is no file, None where it is one."""
    try:
        if path.is_file():
            return None
        return "is no file" if path.exists() else "does not exist"
    except OSError as error:  # a name that is too long, a folder that may not be searched
        return f"cannot be read ({(error.strerror or str(error)).lower()})"


def read_list(file: Path) -> str:
    """Return the text of a list of images, its line ends as they are.

    Raises
    ------
    DatasetError
        It cannot be read, is larger than any list, or is in UTF-16 without its mark.
    UnicodeDecodeError
        It is no text in UTF-8, nor marked as UTF-16.
    """
    try:
        content = read_regular(file, LARGEST_TEXT)
    except OSError as error:
        raise DatasetError(f"{file}: {(error.strerror or str(error)).lower()}") from error
    # Spreadsheets write "Unicode text" with the mark of UTF-16.
    two_bytes = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if b"\0" in content and not two_bytes:
        raise DatasetError(
            f"{file}: has NUL bytes, as a text in UTF-16 without its mark; save it in UTF-8"
        )
    return content.decode("utf-16" if two_bytes else "utf-8-sig")


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; no where it cannot be looked at."""
    try:
        return path.is_dir()
    except OSError:
        return False


def shown(path: str | Path) -> str:
    """Return a path for a message, the middle of a very long one left out."""
    text = str(path)
    half = _LONGEST_SHOWN // 2
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:half]}…{text[-half:]}"


def require_folder(root: Path, expected: str) -> None:
    """Refuse a root that is no folder.

    Raises
    ------
    DatasetError
        If it is not one; the message says what it should hold.
    """
    if not root.is_dir():
        problem = "is not a folder" if root.exists() else "does not exist"
        raise DatasetError(f"{root} {problem}; give the folder that holds {expected}")


def require_category(root: Path, category: str, categories: Sequence[str]) -> str:
    """Return a category as the data set spells it: composed (NFC) or decomposed (NFD).

    Raises
    ------
    DatasetError
        If it is not among those there are; the message says which was probably meant.
    """
    if category in categories:
        return category
    spelled = {composed(c): c for c in categories}
    if composed(category) in spelled:
        return spelled[composed(category)]
    close = nearest(composed(category), spelled)
    meant = f", did you mean {spelled[close]}?" if close else ";"
    raise DatasetError(f"{root} has no category {category!r}{meant} it has {some(categories)}")


def has_images(folder: Path) -> bool:
    """Whether images lie directly in a folder."""
    return any(is_image_name(entry.name) for entry in folder.iterdir() if entry.is_file())


def refuse_other_good_name(split: Path, good: str) -> None:
    """Refuse `Good`, `ok` or `pass`, which would otherwise pass for a kind of defect.

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
    """Return the good images to judge where a data set does not say which: a fifth of them.

    Chosen are those whose names have the smallest SHA-256, so that the choice depends on nothing
    but the names: neither on their order nor on the machine. One is always left to learn from.
    """
    count = min(max(1, round(TEST_SHARE * len(names))), len(names) - 1)
    ranked = sorted(names, key=lambda name: _digest(name))
    return set(ranked[:count])


def _digest(name: str) -> str:
    # A name that is not UTF-8 has its bytes as surrogates.
    return hashlib.sha256(composed(name).encode(errors="surrogateescape")).hexdigest()
