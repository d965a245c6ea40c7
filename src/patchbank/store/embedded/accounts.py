"""The system account of the embedded server, and its access to folders.

PostgreSQL refuses to run as root. An ordinary user's server runs as that user; root's runs as an
account without privileges, which may need access to folders that are closed to it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import stat
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from patchbank.errors import EmbeddedServerError
from patchbank.links import account_name, open_folder

SYSTEM_ACCOUNT = "patchbank"

_ACL = "system.posix_acl_access"
_ACL_VERSION = 2
_ACL_ENTRY = struct.Struct("<HHI")
_OWNER, _USER, _OWNING_GROUP, _GROUP, _MASK, _OTHER = 1, 2, 4, 8, 16, 32
_NO_ID = 0xFFFFFFFF
_TRAVERSE = 1


@dataclass(frozen=True)
class Account:
    """A user and group; `switch` if we are root and must switch to it."""

    uid: int
    gid: int
    switch: bool

    @property
    def owner(self) -> tuple[int, int] | None:
        """User and group for files created for the account; None if it is our own."""
        return (self.uid, self.gid) if self.switch else None


def account_for(
    home: Path, *, folder: os.stat_result | None = None, above: os.stat_result | None = None
) -> Account:
    """Return the account that runs the server of a home.

    Parameters
    ----------
    home
        The home folder, for messages.
    folder, above
        Status of the server's folder and of the home folder, if they exist.

    Raises
    ------
    EmbeddedServerError
        If the folder belongs to another user.
    """
    uid = os.geteuid()
    if uid != 0:
        if folder is not None and folder.st_uid != uid:
            raise EmbeddedServerError(
                f"the embedded database in {home} belongs to {account_name(folder.st_uid)}, not to "
                f"{account_name(uid)}; run patchbank as that user or set PATCHBANK_HOME to a "
                "folder of your own"
            )
        return Account(uid, os.getegid(), switch=False)
    # Existing folders decide: a recreated container may number its accounts differently.
    for found in (folder, above):
        if found is not None and found.st_uid != 0:
            return Account(found.st_uid, found.st_gid, switch=True)
    entry = _system_account()
    return Account(entry.pw_uid, entry.pw_gid, switch=True)


def check_entry(account: Account) -> None:
    """Check that the account has a name, which initdb needs.

    The server does not: an existing database can be used without one.

    Raises
    ------
    EmbeddedServerError
        If it has none.
    """
    try:
        pwd.getpwuid(account.uid)
    except KeyError:
        raise EmbeddedServerError(
            f"user id {account.uid} has no account on this machine, and PostgreSQL cannot create a "
            f"database without one; add it to /etc/passwd (`useradd --uid {account.uid} NAME`; for "
            "a container, in its image), run as another user, or set PATCHBANK_DATABASE_URL"
        ) from None


def let_reach(account: Account, paths: list[Path]) -> None:
    """Let the account enter or execute each path, granting as little as possible.

    Only parents that are closed to the account are changed. They are opened for traversal, not for
    listing: for this account only if the file system has access control lists, else for all.

    Raises
    ------
    EmbeddedServerError
        If a path cannot be made accessible.
    """
    if not account.switch:
        return
    for path in paths:
        if _reaches(account, path):
            continue
        for parent in reversed(path.parents):
            if not _reaches(account, parent):
                _open_for_passing(parent, account.uid)
        if not _reaches(account, path):
            raise EmbeddedServerError(
                f"the account {account_name(account.uid)!r}, which runs the embedded database for "
                f"root, cannot reach {path}; give it access or run patchbank as an ordinary user"
            )


def name_of_current(folder: Path, account: Account) -> str:
    """Return a path by which the account's process can access `folder`, its current folder.

    PostgreSQL keeps opening files by full path. Root's home may be closed to the account at any
    time; the kernel's name for the current folder needs no rights on the parents.
    """
    current = "/proc/self/cwd"
    return current if account.switch and os.path.lexists(current) else str(folder)


def _system_account() -> pwd.struct_passwd:
    """Return our system account, created if missing; `nobody` if it cannot be created."""
    try:
        return pwd.getpwnam(SYSTEM_ACCOUNT)
    except KeyError:
        pass
    useradd = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if useradd is not None:
        # Another process may create it at the same time, which does no harm.
        subprocess.run(
            [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent",
             "--shell", "/usr/sbin/nologin", SYSTEM_ACCOUNT],
            capture_output=True,
            check=False,
        )  # fmt: skip
    for name in (SYSTEM_ACCOUNT, "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise EmbeddedServerError(
        "PostgreSQL does not run as root and no other account could be created; "
        "run patchbank as an ordinary user or set PATCHBANK_DATABASE_URL"
    )


def _reaches(account: Account, path: Path) -> bool:
    """Return whether the account can access the path, as the kernel sees it."""
    test = subprocess.run(
        ["/bin/sh", "-c", 'test -x "$1"', "sh", str(path)],
        user=account.uid,
        group=account.gid,
        extra_groups=[],
        cwd="/",
        check=False,
    )
    return test.returncode == 0


def _open_for_passing(folder: Path, uid: int) -> None:
    # The owner of a parent folder may replace this one with a link.
    passing = open_folder(folder)
    try:
        descriptor = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=passing)
    finally:
        os.close(passing)
    try:
        mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
        try:
            if hasattr(os, "setxattr"):
                os.setxattr(descriptor, _ACL, _acl_with(uid, _read_acl(descriptor, mode)))
                return
        except OSError:
            # No access control lists on this file system.
            pass
        os.fchmod(descriptor, mode | stat.S_IXOTH)
    finally:
        os.close(descriptor)


def _read_acl(folder: int, mode: int) -> list[tuple[int, int, int]]:
    """Return entries (tag, permissions, id), from the mode if the folder has no list."""
    try:
        raw = os.getxattr(folder, _ACL)
    except OSError:
        return [
            (_OWNER, mode >> 6 & 7, _NO_ID),
            (_OWNING_GROUP, mode >> 3 & 7, _NO_ID),
            (_OTHER, mode & 7, _NO_ID),
        ]
    return list(_ACL_ENTRY.iter_unpack(raw[4:]))


def _acl_with(uid: int, entries: list[tuple[int, int, int]]) -> bytes:
    """Return the list with the right to traverse for `uid`, and no change for others."""
    mask = next((allowed for tag, allowed, _ in entries if tag == _MASK), 7)
    masked = (_USER, _OWNING_GROUP, _GROUP)
    # The mask is widened below, so apply the old one to the entries first.
    kept = [(t, a & mask if t in masked else a, i) for t, a, i in entries if t != _MASK]
    ours = next((a for t, a, i in kept if (t, i) == (_USER, uid)), 0) | _TRAVERSE
    kept = [entry for entry in kept if (entry[0], entry[2]) != (_USER, uid)]
    kept.append((_USER, ours, uid))
    widened = 0
    for tag, allowed, _ in kept:
        if tag in masked:
            widened |= allowed
    kept.append((_MASK, widened, _NO_ID))
    kept.sort(key=lambda entry: (entry[0], entry[2]))
    return struct.pack("<I", _ACL_VERSION) + b"".join(_ACL_ENTRY.pack(*entry) for entry in kept)
