"""Paths below a folder that belongs to somebody else: no link of theirs leads root anywhere.

The home folder itself may be reached by links. Root follows those of its own, and those of an
account that lead to that account's own folders: no link gives anybody more than they have.
"""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from patchbank.errors import UnsafePathError

_MOST_LINKS = 40
_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
# To pass through a folder the right to list it is not needed, where the system knows a difference.
_PASSING: int = getattr(os, "O_PATH", os.O_RDONLY)


def account_name(uid: int) -> str:
    """Return the name of an account, for people."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def resolve_trusted(path: Path) -> Path:
    """Return the path without links, as ``Path.resolve`` does; missing folders may end it.

    Raises
    ------
    UnsafePathError
        For root, where an account's link leads to what is not that account's.
    OSError
        When the path cannot be looked up.
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
            found = step.lstat()
        except FileNotFoundError:
            current = step
            continue
        if not stat.S_ISLNK(found.st_mode):
            current = step
            continue
        followed += 1
        target = step.readlink()
        if followed > _MOST_LINKS or not _may_follow(step, found.st_uid):
            raise UnsafePathError(
                f"{step} is a link that {account_name(found.st_uid)} made, to what is not theirs, "
                f"and root does not follow it; if it is right, give {target} itself"
            )
        if target.is_absolute():
            current = Path(target.anchor)
        parts += reversed([part for part in target.parts if part != target.anchor])
    return current


def open_folder(path: Path, *, make: bool = False) -> int:
    """Return a descriptor to pass through a folder, which no link on the way replaced.

    Parameters
    ----------
    path
        The folder, as `resolve_trusted` returned it.
    make
        Whether to make it, and the folders above it, where they are missing.

    Raises
    ------
    UnsafePathError
        Where a link has come into the path.
    OSError
        When there is no such folder, or it cannot be opened.
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
    """Return a path to the open folder `path`: for root one that nobody can lead elsewhere."""
    kernels = Path("/proc/self/fd") / str(descriptor)
    return kernels if os.geteuid() == 0 and os.path.lexists(kernels) else path


def refuse_link(path: Path) -> UnsafePathError:
    """Return the error that names a link."""
    return UnsafePathError(
        f"{path} is a link, and nothing there may be one; remove it "
        "(PATCHBANK_HOME itself may be a link, or lie behind one)"
    )


def refuse_kind(path: Path) -> UnsafePathError:
    """Return the error that names what is neither a file nor a folder, such as a pipe."""
    return UnsafePathError(f"{path} is no ordinary file; remove it")


def check_own_file(descriptor: int, path: Path, owner: tuple[int, int] | None) -> None:
    """Give an open file to its owner if we have just made it, and refuse what is another's.

    Parameters
    ----------
    owner
        User and group id; None where the files made are the right account's anyway.

    Raises
    ------
    UnsafePathError
        When it is no regular file, or another's.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise refuse_kind(path)
    if owner is None or found.st_uid == owner[0]:
        return
    # A second name would be a file of root's that the account has linked to here.
    if found.st_uid != os.geteuid() or found.st_nlink != 1 or found.st_size:
        raise UnsafePathError(
            f"{path} belongs to {account_name(found.st_uid)}, "
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
