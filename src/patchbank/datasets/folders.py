"""Folders, image files and globs to a list of image files."""

from __future__ import annotations

import fnmatch
import os
import re
import stat
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

    What cannot be read below a given folder, or where a glob led, costs no other image: an image
    by its name, or a folder, is returned as its path, and decoding says what is wrong with it.

    Raises
    ------
    NoImagesError
        If a given path is missing or cannot be read, a folder holds no image or a glob matches
        none.
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

    Among them are the folders below it that cannot be read: decoding refuses them by name, so that
    what they hold is not passed over in silence.

    Raises
    ------
    NoImagesError
        If the folder itself cannot be read.
    """
    images: list[Path] = []
    for inner, entries in _walk_folders(folder):
        if entries is None:
            images.append(inner)
        else:
            images += [file for file in _files(entries) if is_image_name(file)]
    return sorted(images, key=natural_key)


def walk_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder; hidden ones are left out, symlink loops end.

    What cannot be looked at, a folder or a link that leads to itself, is yielded as if it were a
    file: opening it tells why.

    Raises
    ------
    NoImagesError
        If the folder itself cannot be read.
    """
    for inner, entries in _walk_folders(folder):
        if entries is None:
            yield inner
        else:
            yield from _files(entries)


def describe_content(folder: Path) -> str:
    """Say in a few words what a folder holds, for a message: ``3 .txt files and 1 folder``."""
    files: Counter[str] = Counter()
    folders = 0
    for entry in _entries(folder):
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
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
        if _is_folder(match):
            try:
                images += images_below(match)
            except NoImagesError:
                # One of many: it is refused when it is decoded, and the others are taken.
                images.append(match)
        elif is_image_name(match) and _is_file(match):
            images.append(match)
    if not images:
        raise NoImagesError(
            f"{pattern} matches {len(matches)} path{'s' if len(matches) != 1 else ''} "
            f"but no image ({accepted_suffixes()})"
        )
    return images


def _expand(pattern: Path) -> list[Path]:
    """Return what a glob matches, and the folders it led to that cannot be read.

    The standard library's `glob` follows symlink loops up to the system's limit, which takes
    exponential time where a folder has two of them.
    """
    anchor, *segments = pattern.parts if pattern.is_absolute() else ("", *pattern.parts)
    found: dict[Path, None] = {Path(anchor): None}
    unreadable: dict[Path, None] = {}
    wild = False
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        matches: dict[Path, None] = {}
        for base in found:
            try:
                if segment == "**" and last:
                    # It stands for the folder, whose images are looked for at every depth.
                    matches[base] = None
                elif segment == "**":
                    matches.update((inner, None) for inner, _ in _walk_folders(base))
                elif _MAGIC.search(segment):
                    matches.update(dict.fromkeys(_children(base, segment)))
                elif _exists(base / segment):
                    matches[base / segment] = None
            except NoImagesError:
                # A folder that was written out is a mistake; one of those that matched is not.
                if not wild:
                    raise
                unreadable[base] = None
        found = matches if last else {path: None for path in matches if _is_folder(path)}
        wild = wild or _MAGIC.search(segment) is not None
    return [*found, *unreadable]


def _children(folder: Path, pattern: str) -> Iterator[Path]:
    for entry in _entries(folder):
        if entry.name.startswith(".") and not pattern.startswith("."):
            continue
        if fnmatch.fnmatchcase(entry.name, pattern):
            yield folder / entry.name


def _walk_folders(folder: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]] | None]]:
    """Yield a folder and those below it with what they hold, each once despite symlinks.

    A folder below that cannot be read comes with None; the first one is an error.
    """
    visited: set[tuple[int, int]] = set()
    waiting = [folder]
    while waiting:
        current = waiting.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in visited:
                continue
            visited.add((status.st_dev, status.st_ino))
            with os.scandir(current) as scanned:
                entries = list(scanned)
        except OSError as exc:
            if current is folder:
                raise _unreadable(folder, exc) from exc
            yield current, None
            continue
        yield current, entries
        # Links come last, so that a file reached both ways is listed where it really lies.
        below = [e for e in entries if not e.name.startswith(".") and _is_folder(e)]
        links = [current / e.name for e in below if e.is_symlink()]
        waiting[:0] = sorted(links, key=natural_key)
        waiting += [current / e.name for e in below if not e.is_symlink()]


def _files(entries: list[os.DirEntry[str]]) -> Iterator[Path]:
    for entry in entries:
        if not entry.name.startswith(".") and _is_file(entry):
            yield Path(entry.path)


def _is_folder(entry: Path | os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself or to where we may not look
        return False


def _is_file(entry: Path | os.DirEntry[str]) -> bool:
    """Whether it is a regular file, or something that cannot be looked at, which opening tells."""
    try:
        # Not `is_file`: a path's says no to a link that leads to itself, an entry's raises.
        return stat.S_ISREG(entry.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):  # a link to nothing, a file gone meanwhile
        return False
    except OSError:
        return True


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError as exc:
        raise _unreadable(folder, exc) from exc


def _unreadable(folder: Path, error: OSError) -> NoImagesError:
    return NoImagesError(f"folder {folder} cannot be read: {error.strerror}")


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
