"""The open folder of an embedded server, and its account."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from patchbank.locks import FileLock
from patchbank.store.embedded.accounts import Account, account_for
from patchbank.store.embedded.folders import Folder

FOLDER = "postgres"
DATA = "data"
LOG = "server.log"


class Site:
    """A server's open folder and the account that runs the server."""

    def __init__(self, folder: Folder, account: Account) -> None:
        self.folder = folder
        self.account = account
        # Whether the reserve was released, so that the server must be tidied up first.
        self.is_short = False

    def lock(self, name: str) -> FileLock:
        """Return one of the server's locks."""
        return FileLock(
            self.folder.path / name, owner=self.account.owner, within=self.folder.descriptor
        )

    @contextlib.contextmanager
    def data(self) -> Iterator[Folder]:
        """Yield the open data folder.

        Raises
        ------
        FileNotFoundError
            If there is no database yet.
        """
        with self.folder.inner(DATA, self.account) as data:
            yield data

    def version(self) -> int | None:
        """Return the PostgreSQL version of the database, None before it is created."""
        return self._number("PG_VERSION")

    def pid(self) -> int | None:
        """Return the process id in the server's pid file, dead or alive."""
        return self._number("postmaster.pid")

    def is_ready(self) -> bool:
        """Return whether the server's pid file says that it accepts connections."""
        lines = self._lines("postmaster.pid")
        return len(lines) > 7 and lines[7].strip() == "ready"

    def keeper_pid(self) -> int | None:
        """Return the process id of the keeper, None if none is alive."""
        if not self.lock("keeper.lock").is_held():
            return None
        try:
            return int(self.folder.read("keeper.lock") or b"")
        except ValueError:
            return None

    def size(self) -> int:
        """Return the bytes of the database files."""
        try:
            with self.data() as data:
                return data.size()
        except FileNotFoundError:
            return 0

    def log_size(self) -> int:
        """Return the bytes of the server's message log."""
        found = self.folder.look(LOG)
        return 0 if found is None else found.st_size

    def log_since(self, position: int | None = None) -> str:
        """Return the server's message log after a position, or its last 8 kB."""
        messages = self.folder.read(LOG, start=position) or b""
        return (messages if position is not None else messages[-8192:]).decode(errors="replace")

    def _number(self, name: str) -> int | None:
        try:
            return int(self._lines(name)[0])
        except (IndexError, ValueError):
            return None

    def _lines(self, name: str) -> list[str]:
        try:
            with self.data() as data:
                content = data.read(name)
        except FileNotFoundError:
            return []
        return (content or b"").decode(errors="replace").splitlines()


@contextlib.contextmanager
def open_site(home: Path, *, make: bool) -> Iterator[Site | None]:
    """Yield the server's folder of a resolved home; None if it does not exist and `make` is false.

    Raises
    ------
    EmbeddedServerError, UnsafePathError
        If the folder belongs to another user, or is a link.
    OSError
        If it cannot be created or opened.
    """
    try:
        above = Folder.open(home, make=make)
    except (FileNotFoundError, NotADirectoryError):
        if make:
            raise
        yield None
        return
    with above:
        found = above.look(FOLDER)
        if found is None and not make:
            yield None
            return
        account = account_for(home, folder=found, above=above.status)
        opened = above.make(FOLDER, account) if make else above.inner(FOLDER, account)
    with opened:
        # An empty folder may not belong to the account yet: leave it as it is.
        yield None if not make and opened.is_empty() else Site(opened, account)
