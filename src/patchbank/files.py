"""Read files named by users, and write files and folders completely or not at all.

A device has no end, a pipe may have no writer, and a link may point to either. So every file that a
user, a list or a bank names is opened here: regular files only, up to a size limit. Output is first
written to a draft next to its target and renamed when complete.
"""

from __future__ import annotations

import contextlib
import ctypes
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

#: The size limit of text files that patchbank writes, such as results and pages, in bytes.
LARGEST_TEXT: Final = 256_000_000
#: The size limit of weights files, in bytes: no known network has more.
LARGEST_WEIGHTS: Final = 4_000_000_000

# Drafts of earlier versions end in "partial".
_DRAFT: Final = re.compile(r"\..+\.[0-9a-f]{8}\.(draft|partial|old)")


class UnfitFileError(OSError):
    """A file that is not regular, too large, or changing; `strerror` says which."""


@contextlib.contextmanager
def open_regular(path: Path, limit: int) -> Iterator[BufferedReader]:
    """Open a regular file for reading; follow links.

    Parameters
    ----------
    limit
        The largest size to open, in bytes.

    Raises
    ------
    UnfitFileError
        If the file is a device, a pipe or a socket (it is not opened), or larger than `limit`.
    """
    # Check first, because opening some devices has effects, such as rewinding a tape.
    _check(path, path.stat(), limit)
    # The file may have been replaced by a pipe, and opening one would wait for a writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:  # noqa: PTH123 (of a descriptor)
        _check(path, os.fstat(descriptor), limit)
        yield file


def read_regular(path: Path, limit: int) -> bytes:
    """Return the content of a regular file; see `open_regular`.

    Raises
    ------
    UnfitFileError
        Also if the file grows while it is read, as pseudo-files do.
    """
    with open_regular(path, limit) as file:
        size = os.fstat(file.fileno()).st_size
        content = file.read(size + 1) or b""
    if len(content) > size:
        raise _unfit(path, errno.EAGAIN, "grows while being read; copy it and give the copy")
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
    """Return whether the disk is full or the account's quota is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


@contextlib.contextmanager
def writing(
    content: str, target: str | Path, failure: type[PatchbankError], remedy: str
) -> Iterator[None]:
    """Turn a failed write into a one-line error.

    Parameters
    ----------
    content
        What is written, as messages call it.
    failure
        The class of the error if the disk is not full.
    remedy
        What to do in that case.

    Raises
    ------
    DiskFullError
        If the disk is full.
    """
    try:
        yield
    except BrokenPipeError:
        # From standard output whose reader has closed it, never from a file.
        raise
    except OSError as error:
        if is_disk_full(error):
            raise DiskFullError(
                f"no space left on the disk for {content} in {target}; free some space and retry"
            ) from error
        reason = (error.strerror or str(error)).lower()
        raise failure(f"{content} cannot be written to {target}: {reason}; {remedy}") from error


@contextlib.contextmanager
def new_file(target: Path, *, durable: bool = True, replace: bool = True) -> Iterator[Path]:
    """Yield the path of an empty file that becomes `target` on success.

    Parameters
    ----------
    durable
        Whether the file survives a power failure; this waits for the disk.
    replace
        Whether it replaces a file that is there.

    Raises
    ------
    UnfitFileError
        If `target` is a device, a pipe or a socket, which a rename would remove.
    FileExistsError
        If it may not replace the file that is there.
    """
    if target.exists() and not (target.is_file() or target.is_dir()):
        raise _unfit(target, errno.EINVAL, "is a device or a pipe")
    draft = _sibling(target, "draft")
    try:
        # Create it here so that nothing that already exists, such as a link, is written to.
        draft.touch(exist_ok=False)
        yield draft
        if durable:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        if replace:
            draft.replace(target)
        else:
            rename_new(draft, target)
    finally:
        # The draft, or even its folder, may not exist.
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)


_renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
_AT_FDCWD, _RENAME_NOREPLACE = -100, 1


def rename_new(source: Path, target: Path) -> None:
    """Rename a file, but never onto another, also if that is written at the same moment.

    Raises
    ------
    FileExistsError
        If there is a `target`.
    """
    if _renameat2 is not None:
        paths = os.fsencode(source), os.fsencode(target)
        if not _renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], _RENAME_NOREPLACE):
            return
        number = ctypes.get_errno()
        if number not in (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP):
            raise OSError(number, os.strerror(number), str(source), None, str(target))
    # NFS, for one, cannot do both at once.
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))
    source.rename(target)


@contextlib.contextmanager
def new_folder(target: Path, *, replace: bool = False) -> Iterator[Path]:
    """Yield an empty folder that replaces `target` on success.

    Parameters
    ----------
    target
        A missing or empty folder.
    replace
        Whether `target` may also have files, which are removed.
    """
    target = target.absolute()
    draft, old = _sibling(target, "draft"), _sibling(target, "old")
    try:
        draft.mkdir(parents=True)
        yield draft
        is_replaced = replace and target.exists()
        if is_replaced:
            target.rename(old)
        try:
            draft.rename(target)  # fails unless target is missing or an empty folder
        except BaseException:  # an interrupt too
            if is_replaced:
                old.rename(target)
            raise
        # Not on failure: if the old folder could not be moved back, this is the only copy.
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def remove_drafts(folder: Path) -> None:
    """Remove the draft folders that killed processes left in a folder."""
    for path in folder.glob(".*.*"):
        if _DRAFT.fullmatch(path.name):
            shutil.rmtree(path, ignore_errors=True)


def _sibling(target: Path, kind: str) -> Path:
    """Return a free name in the same folder, because renames work only within a file system."""
    # A name may have 255 bytes, and a letter up to four of them.
    return target.with_name(f".{target.name[:50]}.{secrets.token_hex(4)}.{kind}")
