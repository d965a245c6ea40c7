"""Small readings of the files around a server."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from patchbank.store._accounts import Account


def make_private(folder: Path, account: Account) -> None:
    """Make a folder nobody but the account (and root) can enter."""
    # Another process may be making it at the same moment.
    folder.mkdir(mode=0o700, exist_ok=True)
    if account.owner is not None:
        os.chown(folder, *account.owner)


def read_number(path: Path) -> int | None:
    """Return the number in a file's first line, None without one."""
    try:
        return int(path.read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    size = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            # Files come and go while we look.
            with contextlib.suppress(FileNotFoundError):
                size += (Path(parent) / name).lstat().st_size
    return size


def tail(path: Path, position: int | None = None) -> str:
    """Return the text of a file from a position on, or its last 8 kB."""
    try:
        with path.open("rb") as file:
            file.seek(position if position is not None else max(0, path.stat().st_size - 8192))
            return file.read().decode(errors="replace")
    except FileNotFoundError:
        return ""


def complains_of_disk(text: str) -> bool:
    """Say whether a server's words are about a full disk."""
    return "No space left on device" in text or "Disk quota exceeded" in text
