"""Read files that others name: only regular ones, and no more of them than was said.

A device has no end, a pipe has nobody who writes, and a link may lead to either. All that reads a
file that a user, a list or a bank names opens it here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Final

#: The largest text of our own making, such as a result or a page, in bytes.
LARGEST_TEXT: Final = 256_000_000
#: The largest file of weights, in bytes: no known network has more.
LARGEST_WEIGHTS: Final = 4_000_000_000


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
