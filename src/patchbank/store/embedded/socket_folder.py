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

# A socket address holds 107 bytes; the file is called .s.PGSQL.5432.
_MAX_FOLDER_BYTES = 90
# Server settings and connection strings have quoting and lists: avoid special characters.
_PLAIN_PATH = re.compile(r"[A-Za-z0-9_./-]+")


class SocketFolder:
    """The folder of a server's socket; only the server's account and root can enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def renew(self, site: Site) -> None:
        """Recreate the folder, empty."""
        site.folder.remove_folder(self.folder.name, site.account)
        site.folder.make(self.folder.name, site.account).close()

    def has_socket(self) -> bool:
        """Return whether there is a socket, alive or not."""
        return (self.folder / f".s.PGSQL.{PORT}").exists()

    def address(self) -> str:
        """Return a short plain path to the folder, through a link if necessary.

        Raises
        ------
        EmbeddedServerError
            If another user's file is in the way of the link.
        UnsafePathError
            If the folder itself is a link.
        """
        if self.folder.is_symlink():
            raise refuse_link(self.folder)
        link = self._link()
        if link is None:
            return str(self.folder)
        # Anyone can write there, so only our own link is followed. Its target is private; if the
        # link is cleaned up, the next process creates it again.
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
        """Remove the link if it exists and is ours."""
        link = self._link()
        if link is not None and link.is_symlink() and link.lstat().st_uid == os.geteuid():
            link.unlink()

    def _link(self) -> Path | None:
        """Return the path of the link, None if the folder needs none."""
        direct = os.fsencode(self.folder)
        if len(direct) <= _MAX_FOLDER_BYTES and _PLAIN_PATH.fullmatch(str(self.folder)):
            return None
        digest = hashlib.sha256(direct).hexdigest()[:16]
        temporary = tempfile.gettempdir()
        if len(os.fsencode(temporary)) > 40 or not _PLAIN_PATH.fullmatch(temporary):
            temporary = "/tmp"
        return Path(temporary) / f"patchbank-{os.geteuid()}-{digest}"
