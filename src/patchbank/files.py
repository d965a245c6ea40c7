"""Read files that others name, and write files and folders whole or not at all.

A device has no end, a pipe has nobody who writes, and a link may lead to either. All that reads a
file that a user, a list or a bank names opens it here: only regular files, and no more of them than
was said. What is written is a draft beside its target first, and takes its name when all went well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

from patchbank.errors import DiskFullError, PatchbankError

#: The largest text of our own making, such as a result or a page, in bytes.
LARGEST_TEXT: Final = 256_000_000
#: The largest file of weights, in bytes: no known network has more.
LARGEST_WEIGHTS: Final = 4_000_000_000

_DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{8}\.(draft|old)")


class UnfitFileError(OSError):
    """What is there is no regular file, too large, or changes; `strerror` says which."""


@contextlib.contextmanager
def open_regular(path: Path, limit: int) -> Iterator[BufferedReader]:
    """Lend a regular file, opened to be read; links are followed.

    Parameters
    ----------
    limit
        The largest file that is opened, in bytes.

    Raises
    ------
    UnfitFileError
        It is a device, a pipe or a socket, which is not opened, or larger than `limit`.
    OSError
        It cannot be opened.
    """
    # Opening some devices does something already, such as winding a tape.
    _check(path, path.stat(), limit)
    # What is there may have become a pipe meanwhile, whose opening would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 (of a descriptor)
        _check(path, os.fstat(descriptor), limit)
        yield file


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file; see `open_regular`.

    Raises
    ------
    UnfitFileError
        Also if it grows while it is read, as some files do that only look like regular ones.
    """
    with open_regular(path, limit) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) or b""
    if len(content) > size:
        raise _unfit(path, errno.EAGAIN, "grows while it is read; copy it and give the copy")
    return content


def _check(path: Path, status: os.stat_result, limit: int) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise _unfit(path, errno.EINVAL, "is a device or a pipe; give a file")
    if status.st_size > limit:
        raise _unfit(
            path,
            errno.EFBIG,
            f"has {status.st_size / 1e6:.0f} million bytes, more than the limit of "
            f"{limit / 1e6:g} million",
        )


def _unfit(path: Path, number: int, reason: str) -> UnfitFileError:
    return UnfitFileError(number, reason, str(path))


def is_disk_full(error: OSError) -> bool:
    """Say whether the disk, or the account's share of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def writing(
    content: str, target: str | Path, failure: type[PatchbankError], remedy: str
) -> Iterator[None]:
    """Turn what the system says of a failed writing into one line.

    Parameters
    ----------
    content
        What is written, for people.
    failure
        The class of the error where the reason is not a full disk.
    remedy
        What to do then.

    Raises
    ------
    DiskFullError
        If the disk is full.
    """
    try:
        yield
    except BrokenPipeError:
        # Of a reader of our output who has gone while progress was shown, never of a file.
        raise
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"no space left on the disk for {content} in {target}; free some and try again"
            ) from error
        reason = (error.strerror or str(error)).lower()
        raise failure(f"{content} cannot be written to {target}: {reason}; {remedy}") from error


@contextlib.contextmanager
def new_file(target: Path, *, durable: bool = True) -> Iterator[Path]:
    """Lend the path of an empty file that replaces `target` when all went well.

    Parameters
    ----------
    durable
        Whether it outlives a loss of power; that costs a wait for the disk.
    """
    draft = _beside(target, "draft")
    try:
        # Made here, so that nothing that is there already, such as a link, is written to.
        draft.touch(exist_ok=False)
        yield draft
        if durable:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        draft.replace(target)
    finally:
        # Where it could not even be made there is nothing to remove, perhaps not even a folder.
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


@contextlib.contextmanager
def new_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Lend an empty folder that takes the place of `target` when all went well.

    Parameters
    ----------
    target
        Missing or an empty folder.
    replace
        Whether it may also be a folder with files, which are removed.
    """
    whole = target.absolute()
    draft, old = _beside(whole, "draft"), _beside(whole, "old")
    try:
        draft.mkdir(parents=True)
        yield draft
        is_replaced = replace and whole.exists()
        if is_replaced:
            whole.rename(old)
        try:
            draft.rename(whole)  # over an empty folder, or this fails
        except BaseException:
            if is_replaced:
                old.rename(whole)
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def remove_drafts(folder: Path) -> None:
    """Remove the folders that a killed process left half-written in a folder."""
    for left in folder.glob(".*.*"):
        if _DRAFT.fullmatch(left.name):
            shutil.rmtree(left, ignore_errors=True)


def _beside(target: Path, kind: str) -> Path:
    """Return a free name in the same folder, as renames stay within one file system."""
    return target.with_name(f".{target.name}.{secrets.token_hex(4)}.{kind}")
