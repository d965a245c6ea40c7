"""A folder of files that appears whole or not at all."""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from patchbank.errors import DatasetError, DiskFullError


def refuse_filled(target: Path) -> None:
    """Refuse a target that is neither missing nor an empty folder.

    Raises
    ------
    DatasetError
        If it holds anything, or is no folder.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DatasetError(f"{target} is not a folder; give a new or an empty one")
    if target.is_dir() and any(target.iterdir()):
        raise DatasetError(f"{target} is not empty; give a new or an empty folder")


@contextmanager
def new_folder(target: Path, content: str) -> Iterator[Path]:
    """Yield a folder to write to, which takes the target's name when all went well.

    Parameters
    ----------
    target
        A new or an empty folder.
    content
        What is written, for messages.

    Raises
    ------
    DatasetError
        If it cannot be written.
    DiskFullError
        If the disk is full; nothing is left behind.
    """
    # Made beside the target, so that the last step is a rename within one file system.
    whole = target.absolute()
    partial = whole.with_name(f".{whole.name}.{secrets.token_hex(4)}.partial")
    try:
        partial.mkdir(parents=True)
        yield partial
        if target.exists():
            target.rmdir()  # empty, or this fails
        partial.rename(target)
    except OSError as exc:
        if exc.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(
                f"no space left on the disk for {content} in {target}; nothing was written"
            ) from exc
        raise DatasetError(f"{content} cannot be written to {target}: {exc.strerror}") from exc
    finally:
        shutil.rmtree(partial, ignore_errors=True)
