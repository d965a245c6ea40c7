"""Find image files in folders, by path and by glob."""

from __future__ import annotations

import fnmatch
import itertools
import os
import re
import stat
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from patchbank.errors import NoImagesError
from patchbank.printable import counted
from patchbank.spelling import composed, spellings
from patchbank.vision.heif import remedy_for
from patchbank.vision.images import image_suffixes

_MAGIC = re.compile(r"[*?[]")
_DIGITS = re.compile(r"(\d+)")
# Folders and files that systems create, apart from hidden ones: thumbnails, deleted files, old
# versions.
_SYSTEM_NAMES = frozenset(
    {
        "#recycle", "#snapshot", "$recycle.bin", "@__thumb", "@eadir", "@recently-snapshot",
        "@recycle", "@sharebin", "@tmp", "__macosx", "desktop.ini", "found.000", "lost+found",
        "network trash folder", "recycler", "system volume information", "temporary items",
        "thumbs.db", "~snapshot",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """The files found for a path.

    Attributes
    ----------
    base
        The folder searched, or the part of a glob before its wildcards; None for a file given
        directly.
    images
        Files with the name of an image.
    unread
        Other files.
    """

    base: Path | None
    images: list[Path] = field(default_factory=list)
    unread: list[Path] = field(default_factory=list)


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
    """Return whether a file's name ends in a suffix of the accepted image formats."""
    return Path(name).suffix.lower() in image_suffixes()


def accepted_suffixes() -> str:
    """Return the accepted suffixes for a message."""
    return ", ".join(sorted(image_suffixes()))


def find_each(paths: Sequence[str | Path]) -> list[Found]:
    """Return the image files for each folder, file and glob, and the other files.

    A folder stands for all images below it in natural order, except hidden ones. A glob may contain
    ``**``; its matches count as if given one by one, except that files without an image's name are
    left out. A file given directly is kept whatever its suffix, because decoding decides. Each file
    is returned once, at its first position, as it was named.

    Something unreadable in a folder or behind a glob does not affect other images: its path is
    returned, and decoding reports the problem.

    Raises
    ------
    NoImagesError
        If no path is given, one is missing or cannot be read, or one has no images.
    """
    if not paths:
        raise NoImagesError()
    if "" in paths:
        # It would stand for the current folder, with all that is below: what nobody meant whose
        # shell expanded a variable that is not set.
        raise NoImagesError("an empty path was given; give a folder, such as . for this one")
    seen: set[Path] = set()
    each = []
    for path in paths:
        found = _found(path)
        resolved = {image: resolved_path(image) for image in found.images}
        each.append(Found(found.base, [], found.unread))
        for image, real in resolved.items():
            if real not in seen:
                seen.add(real)
                each[-1].images.append(image)
    return each


def is_left_out(name: str) -> bool:
    """Return whether a file or folder is hidden or a system's (``@eaDir``, ``__MACOSX``)."""
    return name.startswith(".") or name.casefold() in _SYSTEM_NAMES


def images_below(folder: Path) -> list[Path]:
    """Return the images below a folder in natural order; the list may be empty.

    Unreadable subfolders are included: decoding refuses them by name, so that their images are not
    silently ignored.
    """
    return look_below(folder).images


def look_below(folder: Path) -> Found:
    """Return the images below a folder, as `images_below` does, and the other files."""
    found = Found(folder)
    for inner, entries in _walk_folders(folder):
        if entries is None:
            found.images.append(inner)
            continue
        for file in _files(entries):
            (found.images if is_image_name(file) else found.unread).append(file)
    found.images.sort(key=natural_key)
    return found


def describe_content(folder: Path) -> str:
    """Describe a folder's content for a message, such as ``3 .txt files and 1 folder``."""
    files: Counter[str] = Counter()
    folders = 0
    for entry in _entries(folder):
        if is_left_out(entry.name):
            continue
        if _is_folder(entry):
            folders += 1
        else:
            files[Path(entry.name).suffix.lower() or "suffixless"] += 1
    parts = [counted(count, f"{suffix} file") for suffix, count in files.most_common(3)]
    others = sum(files.values()) - sum(count for _, count in files.most_common(3))
    if others:
        parts.append(counted(others, "other file"))
    if folders:
        parts.append(counted(folders, "folder"))
    if not parts:
        return "nothing"
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _found(given: str | Path) -> Found:
    path = as_there(Path(given).expanduser())
    if not _exists(path):
        if os.path.lexists(path):
            raise NoImagesError(f"{given} is a broken link; repair it, or give an image")
        if _MAGIC.search(str(path)):
            return _found_by_glob(path)
        raise NoImagesError(f"{given} does not exist; give a folder of images, an image or a glob")
    if path.is_dir():
        return _found_in_folder(path)
    if not path.is_file():
        raise NoImagesError(f"{given} is a device or a pipe; give a file")
    return Found(None, [path])


def _found_in_folder(folder: Path) -> Found:
    found = look_below(folder)
    if not found.images:
        remedy = remedy_for({file.suffix.lower() for file in found.unread})
        raise NoImagesError(
            f"folder {folder} has no images ({accepted_suffixes()}); "
            f"it contains {describe_content(folder)}{f'; {remedy}' if remedy else ''}"
        )
    return found


def _found_by_glob(pattern: Path) -> Found:
    matches = sorted(_expand(pattern), key=natural_key)
    if not matches:
        raise NoImagesError(f"nothing matches {pattern}; check the folder and the pattern")
    plain = itertools.takewhile(lambda part: not _MAGIC.search(part), pattern.parts)
    found = Found(Path(*plain))
    for match in matches:
        if _is_folder(match):
            try:
                below = look_below(match)
            except NoImagesError:
                # One of many: decoding refuses it, and the others are used.
                found.images.append(match)
            else:
                found.images.extend(below.images)
                found.unread.extend(below.unread)
        elif _is_file(match):
            (found.images if is_image_name(match) else found.unread).append(match)
    if not found.images:
        remedy = remedy_for({file.suffix.lower() for file in found.unread})
        raise NoImagesError(
            f"{pattern} matches {counted(len(matches), 'path')} "
            f"but no images ({accepted_suffixes()}){f'; {remedy}' if remedy else ''}"
        )
    return found


def _expand(pattern: Path) -> list[Path]:
    """Return the matches of a glob, and the unreadable folders it leads to.

    The standard library's `glob` follows symlink loops up to the system's limit, which takes
    exponential time if a folder has two of them.
    """
    anchor, *segments = pattern.parts if pattern.is_absolute() else ("", *pattern.parts)
    found: dict[Path, None] = {Path(anchor): None}
    unreadable: dict[Path, None] = {}
    has_wildcard = False
    for position, segment in enumerate(segments):
        last = position == len(segments) - 1
        matches: dict[Path, None] = {}
        for base in found:
            try:
                if segment == "**" and last:
                    # Matches the folder, whose images are searched at every depth.
                    matches[base] = None
                elif segment == "**":
                    matches.update((inner, None) for inner, _ in _walk_folders(base))
                elif _MAGIC.search(segment):
                    matches.update(dict.fromkeys(_children(base, segment)))
                elif _exists(literal := as_there(base / segment)) or os.path.lexists(literal):
                    matches[literal] = None
            except NoImagesError:
                # An unreadable folder is an error if given directly, but not as one of the matches.
                if not has_wildcard:
                    raise
                unreadable[base] = None
        found = matches if last else {path: None for path in matches if _is_folder(path)}
        has_wildcard = has_wildcard or _MAGIC.search(segment) is not None
    return [*found, *unreadable]


def _children(folder: Path, pattern: str) -> Iterator[Path]:
    for entry in _entries(folder):
        if is_left_out(entry.name) and not (entry.name[0] == pattern[0] == "."):
            continue
        if fnmatch.fnmatchcase(composed(entry.name), composed(pattern)):
            yield folder / entry.name


def _walk_folders(folder: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]] | None]]:
    """Yield a folder and those below it with their entries, each once despite symlinks.

    An unreadable subfolder is yielded with None; if `folder` itself is unreadable, raise.
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
        # Links come last, so that a file reached both ways is listed at its real path.
        below = [e for e in entries if not is_left_out(e.name) and _is_folder(e)]
        links = [current / e.name for e in below if e.is_symlink()]
        waiting[:0] = sorted(links, key=natural_key)
        waiting += [current / e.name for e in below if not e.is_symlink()]


def _files(entries: list[os.DirEntry[str]]) -> Iterator[Path]:
    for entry in entries:
        if not is_left_out(entry.name) and _is_file(entry):
            yield Path(entry.path)


def _is_folder(entry: Path | os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself, or to something we may not access
        return False


def _is_file(entry: Path | os.DirEntry[str]) -> bool:
    """Return whether an entry is not a folder.

    Broken links, pipes and inaccessible files count, so that opening them reports an error; skipped
    silently, nobody would notice the missing image.
    """
    try:
        # Not `is_file`: for a link to itself, a path's returns False and an entry's raises.
        return not stat.S_ISDIR(entry.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):  # a broken link, or removed meanwhile
        return entry.is_symlink()
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
    except OSError:  # a name that is too long, or a folder that may not be accessed
        return False


def as_there(path: Path) -> Path:
    """Return a path spelled as it exists, composed (NFC) or decomposed (NFD).

    If it exists as given, or not at all, it is returned unchanged.
    """
    if str(path).isascii() or _exists(path):
        return path
    found = Path(path.anchor)
    for part in path.parts[len(found.parts) :]:
        found /= next((name for name in spellings(part) if _exists(found / name)), part)
    return found


def resolved_path(path: Path) -> Path:
    """Return a path with links resolved, or an absolute path if that fails."""
    try:
        return path.resolve()
    except (OSError, RuntimeError):
        return path.absolute()
