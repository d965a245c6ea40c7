"""Paths in another account's folder: no link there may redirect root.

The home folder itself may be reached through links. Root follows its own links, and an account's
links to that account's own folders, so that no link gives anybody new rights.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from patchbank.errors import UnsafePathError

_MOST_LINKS = 40
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# With O_PATH (Linux), traversing a folder does not need the right to list it.
_PASSING: int = getattr(os, "O_PATH", os.O_RDONLY)


def account_name(uid: int) -> str:
    """Return the name of an account, or ``user 1234`` if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def resolve_trusted(path: Path) -> Path:
    """Return the path with links resolved, like ``Path.resolve``; its last parts may be missing.

    Raises
    ------
    UnsafePathError
        As root, if an account's link points to something that account does not own.
    """
    path = path.absolute()
    if os.geteuid() != 0:
        return path.resolve()
    current = Path(path.anchor)
    parts = list(reversed(path.parts[1:]))
    followed = 0
    while parts:
        part = parts.pop()
        if part == "..":
            current = current.parent
            continue
        step = current / part
        try:
            status = step.lstat()
        except FileNotFoundError:
            current = step
            continue
        if not stat.S_ISLNK(status.st_mode):
            current = step
            continue
        followed += 1
        target = step.readlink()
        if followed > _MOST_LINKS or not _may_follow(step, status.st_uid):
            raise UnsafePathError(
                f"{step} is a link owned by {account_name(status.st_uid)} to something they do not "
                f"own, and root does not follow it; if it is right, give {target} directly"
            )
        if target.is_absolute():
            current = Path(target.anchor)
        parts += reversed([part for part in target.parts if part != target.anchor])
    return current


def open_folder(path: Path, *, make: bool = False) -> int:
    """Return a descriptor of a folder, opened without following links.

    Parameters
    ----------
    path
        The folder, as `resolve_trusted` returned it.
    make
        Whether to create it and its parents if missing.
    """
    if make and os.geteuid() != 0:
        path.mkdir(parents=True, exist_ok=True)
    if os.geteuid() != 0:
        return _open(path, path)
    descriptor = os.open(path.anchor, _PASSING | os.O_DIRECTORY | os.O_CLOEXEC)
    current = Path(path.anchor)
    for part in path.parts[1:]:
        current /= part
        try:
            if make:
                try:
                    os.mkdir(part, dir_fd=descriptor)
                except FileExistsError:
                    pass
                except OSError as error:
                    raise OSError(error.errno, error.strerror, str(current)) from error
            inner = _open(part, current, within=descriptor)
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def path_of(descriptor: int, path: Path) -> Path:
    """Return a path to the open folder `path`; for root, one that nobody can redirect."""
    proc_path = Path("/proc/self/fd") / str(descriptor)
    return proc_path if os.geteuid() == 0 and os.path.lexists(proc_path) else path


def refuse_link(path: Path) -> UnsafePathError:
    """Return the error for a link where none is allowed."""
    return UnsafePathError(
        f"{path} is a link, and links are not allowed there; remove it "
        "(PATCHBANK_HOME itself may be a link, or be reached through one)"
    )


def refuse_kind(path: Path) -> UnsafePathError:
    """Return the error for something other than a regular file, such as a pipe."""
    return UnsafePathError(f"{path} is not a regular file; remove it")


def check_own_file(descriptor: int, path: Path, owner: tuple[int, int] | None) -> None:
    """Give an open file that we just created to its owner; refuse another account's file.

    Parameters
    ----------
    owner
        User and group id; None if new files belong to the right account anyway.

    Raises
    ------
    UnsafePathError
        If it is not a regular file, or belongs to another account.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise refuse_kind(path)
    if owner is None or status.st_uid == owner[0]:
        return
    # Otherwise it could be a file of root's that the account hard-linked here.
    if status.st_uid != os.geteuid() or status.st_nlink != 1 or status.st_size:
        raise UnsafePathError(
            f"{path} belongs to {account_name(status.st_uid)}, "
            f"not to {account_name(owner[0])}; remove it"
        )
    os.fchown(descriptor, *owner)


def _may_follow(link: Path, owner: int) -> bool:
    if owner in (0, os.geteuid()):
        return True
    try:
        return link.stat().st_uid == owner
    except OSError:
        return False


def _open(name: str | Path, path: Path, *, within: int | None = None) -> int:
    try:
        return os.open(name, _PASSING | _FOLDER, dir_fd=within)
    except OSError as error:
        if _is_link(name, within):
            raise refuse_link(path) from error
        raise OSError(error.errno, error.strerror, str(path)) from error


def _is_link(name: str | Path, within: int | None) -> bool:
    try:
        return stat.S_ISLNK(os.stat(name, dir_fd=within, follow_symlinks=False).st_mode)
    except OSError:
        return False
