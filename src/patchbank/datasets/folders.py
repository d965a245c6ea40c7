"""Folders, image files and globs to a list of image files."""

from __future__ import annotations

import fnmatch
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from patchbank.errors import NoImagesError
from patchbank.vision.images import IMAGE_SUFFIXES

_MAGIC = re.compile(r"[*?[]")
_DIGITS = re.compile(r"(\d+)")


def natural_key(path: str | Path) -> tuple[tuple[tuple[int, int, str], ...], ...]:
    """Return a sort key that puts ``2.png`` before ``10.png``, folder by folder."""
    return tuple(
        tuple(
            (0, int(piece), piece) if piece.isdecimal() else (1, 0, piece)
            for piece in _DIGITS.split(part)
            if piece
        )
        for part in Path(path).parts
    )


def is_image_name(name: str | Path) -> bool:
    """Whether a file's name ends in a suffix of the accepted image formats."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


def accepted_suffixes() -> str:
    """Return the accepted suffixes for a message."""
    return ", ".join(sorted(IMAGE_SUFFIXES))


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    """Return the image files that folders, files and globs stand for.

    A folder stands for all images below it, in natural order, hidden ones left out. A glob may hold
    ``**``; what it matches is taken as if each match had been given, except that files which are no
    images by their name are left out. A file named explicitly is kept whatever its suffix, since
    decoding decides. Each file is returned once, at its first place, as it was named.

    Raises
    ------
    NoImagesError
        If a path is missing or cannot be read, a folder holds no image or a glob matches none.
    """
    if not paths:
        raise NoImagesError()
    found: dict[Path, Path] = {}
    for given in paths:
        for image in _images_of(given):
            found.setdefault(_resolved(image), image)
    return list(found.values())


def images_below(folder: Path) -> list[Path]:
    """Return the images below a folder in natural order, none if there are none.

    Raises
    ------
    NoImagesError
        If the folder or one below it cannot be read.
    """
    files = (file for file in walk_files(folder) if is_image_name(file))
    return sorted(files, key=natural_key)


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield the regular files below a folder; hidden ones are left out, symlink loops end."""
    for inner in _walk_folders(folder):
        for entry in _entries(inner):
            if entry.is_file() and not entry.name.startswith("."):
                yield Path(entry.path)


def describe_content(folder: Path) -> str:
    """Say in a few words what a folder holds, for a message: ``3 .txt files and 1 folder``."""
    files: Counter[str] = Counter()
    folders = 0
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            folders += 1
        else:
            files[Path(entry.name).suffix.lower() or "suffixless"] += 1
    parts = [
        f"{count} {suffix} file{'s' if count != 1 else ''}"
        for suffix, count in files.most_common(3)
    ]
    others = sum(files.values()) - sum(count for _, count in files.most_common(3))
    if others:
        parts.append(f"{others} other file{'s' if others != 1 else ''}")
    if folders:
        parts.append(f"{folders} folder{'s' if folders != 1 else ''}")
    if not parts:
        return "nothing"
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _images_of(given: str | Path) -> list[Path]:
    path = Path(given).expanduser()
    if not _exists(path):
        if _MAGIC.search(str(path)):
            return _images_of_glob(path)
        raise NoImagesError(
            f"{given} does not exist; give a folder with images, an image or a glob"
        )
    if path.is_dir():
        return _images_of_folder(path)
    if not path.is_file():
        raise NoImagesError(f"{given} is neither a file nor a folder; give an image file")
    return [path]


def _images_of_folder(folder: Path) -> list[Path]:
    images = images_below(folder)
    if not images:
        raise NoImagesError(
            f"folder {folder} holds no image ({accepted_suffixes()}); "
            f"it holds {describe_content(folder)}"
        )
    return images


def _images_of_glob(pattern: Path) -> list[Path]:
    matches = sorted(_expand(pattern), key=natural_key)
    if not matches:
        raise NoImagesError(f"nothing matches {pattern}; check the folder and the pattern")
    images: list[Path] = []
    for match in matches:
        if match.is_dir():
            images += images_below(match)
        elif match.is_file() and is_image_name(match):
            images.append(match)
    if not images:
        raise NoImagesError(
            f"{pattern} matches {len(matches)} path{'s' if len(matches) != 1 else ''} "
            f"but no image ({accepted_suffixes()})"
        )
    return images


def _expand(pattern: Path) -> list[Path]:
    """Return what a glob matches.

    The standard library's `glob` follows symlink loops up to the system's limit, which takes
    exponential time where a folder has two of them.
    """
    anchor, *segments = pattern.parts if pattern.is_absolute() else ("", *pattern.parts)
    found: dict[Path, None] = {Path(anchor): None}
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        matches: dict[Path, None] = {}
        for base in found:
            if segment == "**":
                # At the end it stands for the folder, whose images are looked for at every depth.
                matches.update(dict.fromkeys([base] if last else _walk_folders(base)))
            elif _MAGIC.search(segment):
                matches.update(dict.fromkeys(_children(base, segment)))
            elif _exists(base / segment):
                matches[base / segment] = None
        found = matches if last else {path: None for path in matches if path.is_dir()}
    return list(found)


def _children(folder: Path, pattern: str) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.name.startswith(".") and not pattern.startswith("."):
            continue
        if fnmatch.fnmatchcase(entry.name, pattern):
            yield folder / entry.name


def _walk_folders(folder: Path) -> Iterator[Path]:
    """Yield a folder and those below it, each once even when symlinks lead to it again."""
    visited: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        status = current.stat()
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        yield current
        # Links come last, so that a file reached both ways is listed where it really lies.
        below = [e for e in _entries(current) if e.is_dir() and not e.name.startswith(".")]
        links = [current / e.name for e in below if e.is_symlink()]
        waiting[:0] = sorted(links, key=natural_key)
        waiting += [current / e.name for e in below if not e.is_symlink()]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as exc:
        raise NoImagesError(f"folder {folder} cannot be read: {exc.strerror}") from exc


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # a name that is too long, a folder that may not be searched
        return False


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()
