"""Cache folders for compiled kernels, compiled graphs and font lists.

Compiled kernels are code, and compiled graphs nearly so: anyone who can write them can run code in
our process. A folder is used only if nobody but this account and root can write or replace it.
Root, run with another account's home folder, therefore keeps its caches elsewhere.
"""

from __future__ import annotations

import grp
import os
import pwd
import stat
import tempfile
from pathlib import Path

import platformdirs

from patchbank.settings import get_settings

_GROUP, _OTHERS = stat.S_IWGRP, stat.S_IWOTH

_home: Path | None = None


def use_home(home: Path) -> None:
    """Set the home folder for the caches of this process."""
    global _home
    _home = home


def cache_folder(name: str, home: Path | None = None) -> Path | None:
    """Return the folder of a cache, created if missing; None if no folder is safe.

    The folder is in `home` (default: the home folder in use, else the setting), or in the account's
    cache folder if the home folder cannot be written or belongs to another account.
    """
    folder = (home or _home or get_settings().home) / name
    if not refusal_of(folder):
        return folder
    try:
        folder = platformdirs.user_cache_path("patchbank") / name
    except RuntimeError:  # the account has no home folder
        return None
    return None if refusal_of(folder) else folder


def has_own_settings() -> bool:
    """Return whether programs can write settings to this account's home folder."""
    try:
        return os.access(platformdirs.user_config_path(), os.W_OK)
    except RuntimeError:
        return False


def refusal_of(folder: Path) -> str:
    """Return why a folder cannot hold a cache, or an empty string; create it if missing."""
    if not folder.is_absolute() and str(folder).startswith("~"):
        return "this account has no home folder"
    folder = folder.absolute()
    # Nobody else may change the path itself or, through links, what it resolves to.
    for path in (folder, Path(os.path.realpath(folder))):
        for step in (path, *path.parents):
            if (reason := _writable_by_others(step)) is not None:
                return reason
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"{folder}: {(error.strerror or str(error)).lower()}"
    return ""


def _writable_by_others(path: Path) -> str | None:
    """Return how other accounts can change `path`; None if they cannot or it does not exist."""
    try:
        status = path.lstat()
    except OSError:
        return None
    if status.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another account"
    if stat.S_ISLNK(status.st_mode) or status.st_mode & stat.S_ISVTX:
        return None
    if status.st_mode & _OTHERS or (status.st_mode & _GROUP and not _is_private(status.st_gid)):
        return f"other accounts can write to {path}"
    return None


def _is_private(group: int) -> bool:
    """Return whether a group has no members but this account (or root, or has no name at all)."""
    try:
        entry = grp.getgrgid(group)
    except KeyError:
        return True
    if group == 0:
        return not set(entry.gr_mem) - {"root"}
    try:
        account = pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return entry.gr_name == account.pw_name and not set(entry.gr_mem) - {account.pw_name}
