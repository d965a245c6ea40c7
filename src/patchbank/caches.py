"""Folders for what is made once and read again: compiled kernels, compiled graphs, fonts found.

Compiled kernels are code and compiled graphs are nearly that: who can write them can do as they
like in our process. So a folder counts only if nobody but this account (and root) can write it or
swap it for another; root, run on another account's home, therefore keeps its caches elsewhere.
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
    """Keep the caches of this process in a home folder from now on."""
    global _home
    _home = home


def cache_folder(name: str, home: Path | None = None) -> Path | None:
    """Return the folder of a cache, made when missing; None where there is no safe one.

    It lies in the home folder (by default the one in use, else the setting's), or in the account's
    own cache folder where the home cannot be written or belongs to somebody else.
    """
    folder = (home or _home or get_settings().home) / name
    if not refusal_of(folder):
        return folder
    try:
        folder = platformdirs.user_cache_path("patchbank") / name
    except RuntimeError:  # the account has no home
        return None
    return None if refusal_of(folder) else folder


def has_own_settings() -> bool:
    """Say whether programs can keep settings in this account's home."""
    try:
        return os.access(platformdirs.user_config_path(), os.W_OK)
    except RuntimeError:
        return False


def refusal_of(folder: Path) -> str:
    """Return why a folder, made when missing, cannot hold a cache; nothing if it can."""
    if not folder.is_absolute() and str(folder).startswith("~"):
        return "this account has no home folder"
    folder = folder.absolute()
    # The name as given and where it leads: neither may be another's to change.
    for path in (folder, Path(os.path.realpath(folder))):
        for step in (path, *path.parents):
            if (reason := _in_other_hands(step)) is not None:
                return reason
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        return f"{folder}: {(error.strerror or str(error)).lower()}"
    return ""


def _in_other_hands(path: Path) -> str | None:
    """Return who else can change what lies at `path`; None if nobody, or if nothing is there."""
    try:
        found = path.lstat()
    except OSError:
        return None
    if found.st_uid not in (0, os.geteuid()):
        return f"{path} belongs to another account"
    if stat.S_ISLNK(found.st_mode) or found.st_mode & stat.S_ISVTX:
        return None
    if found.st_mode & _OTHERS or (found.st_mode & _GROUP and not _is_private(found.st_gid)):
        return f"other accounts can write {path}"
    return None


def _is_private(group: int) -> bool:
    """Say whether nobody but this account is in a group: root's, our own, or one without a name."""
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
