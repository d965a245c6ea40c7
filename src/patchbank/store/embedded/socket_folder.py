"""The folder of the embedded server's socket, and a short plain path to it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path

from patchbank.errors import EmbeddedServerError
from patchbank.links import refuse_link
from patchbank.store.embedded.site import Site

PORT = 5432

# A socket's address holds 107 bytes; its file is called .s.PGSQL.5432.
_MAX_FOLDER_BYTES = 90
# The server's settings know quoting and lists, and so do connection strings: stay clear of both.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


class SocketFolder:
    """The folder of one server's socket; nobody but the server's account and root can enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def renew(self, site: Site) -> None:
        """Make the folder anew, and empty."""
        site.folder.remove_folder(self.folder.name, site.account)
        site.folder.make(self.folder.name, site.account).close()

    def has_socket(self) -> bool:
        """Return whether a server's socket is there, alive or not."""
        return (self.folder / f".s.PGSQL.{PORT}").exists()

    def address(self) -> str:
        """Return a short plain path to the folder, by a link where its own is not.

        Raises
        ------
        EmbeddedServerError
            When something of another's is where the link should be.
        UnsafePathError
            When the folder itself is a link.
        """
        if self.folder.is_symlink():
            raise refuse_link(self.folder)
        link = self._link()
        if link is None:
            return str(self.folder)
        # Anybody can write there, so only a link of our own making is followed. The folder it leads
        # to is private; if the link is cleaned away, whoever comes next makes it again.
        with contextlib.suppress(FileExistsError):
            link.symlink_to(self.folder)
        if (
            link.lstat().st_uid != os.geteuid()
            or not link.is_symlink()
            or link.readlink() != self.folder
        ):
            raise EmbeddedServerError(
                f"{link} is in the way of the embedded database's socket; remove it, "
                "or set PATCHBANK_HOME to a shorter path"
            )
        return str(link)

    def remove_link(self) -> None:
        """Remove the link, if there is one and it is ours."""
        link = self._link()
        if link is not None and link.is_symlink() and link.lstat().st_uid == os.geteuid():
            link.unlink()

    def _link(self) -> Path | None:
        """Return where the link is, None when the folder needs none."""
        direct = os.fsencode(self.folder)
        if len(direct) <= _MAX_FOLDER_BYTES and _PLAIN_PATH.fullmatch(str(self.folder)):
            return None
        digest = hashlib.sha256(direct).hexdigest()[:16]
        temporary = tempfile.gettempdir()
        if len(os.fsencode(temporary)) > 40 or not _PLAIN_PATH.fullmatch(temporary):
            temporary = "/tmp"
        return Path(temporary) / f"patchbank-{os.geteuid()}-{digest}"
