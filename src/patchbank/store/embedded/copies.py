"""Copy the embedded database before its schema is changed."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from patchbank.errors import DiskFullError, EmbeddedServerError
from patchbank.store.embedded.processes import server_environment
from patchbank.store.embedded.room import complains_of_disk
from patchbank.store.embedded.site import Site

# Numbers are written as compressed text. 4,000 vectors of normally distributed numbers took 0.93
# (1,000 dimensions) to 1.23 times their table (2,000 dimensions, where a row fills a page).
_COPY_TO_TABLES = 4 / 3
# The schema itself.
_LEAST_BYTES = 2**20


def most_bytes_of_copy(tables: int) -> int:
    """Return how many bytes a copy of `tables` bytes may take."""
    return int(tables * _COPY_TO_TABLES) + _LEAST_BYTES


def write_copy(site: Site, programs: Path, conninfo: str, name: str) -> Path:
    """Write all data of patchbank to a file for pg_restore; remove older copies.

    Parameters
    ----------
    programs
        Folder of the server's programs.
    conninfo
        How to connect to the running server.
    name
        Name of the file in the server's folder: ``before-*.dump``.

    Raises
    ------
    DiskFullError, EmbeddedServerError
        If it cannot be written; then there is no such file.
    """
    draft = f"{name}.new"
    command = [
        str(programs / "pg_dump"), "--format=custom", "--compress=1", "--schema=patchbank",
        "--no-owner", "--no-privileges", f"--dbname={conninfo}",
    ]  # fmt: skip
    site.folder.remove(draft)
    try:
        with site.folder.appending(draft, site.account) as descriptor:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=descriptor,
                stderr=subprocess.PIPE,
                text=True,
                errors="replace",
                check=False,
                # Ctrl-C reaches only us, and we discard the draft.
                start_new_session=True,
                env=server_environment(),
            )
            os.fsync(descriptor)
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["it ended without a message"])[-1]
            if complains_of_disk(reason):
                raise DiskFullError(
                    f"no space left on the disk of {site.folder.path} for a copy of the database; "
                    "free some space there"
                )
            raise EmbeddedServerError(
                f"the copy of the database in {site.folder.path} could not be written before the "
                f"upgrade: {reason}"
            )
        with os.scandir(site.folder.descriptor) as entries:
            names = [entry.name for entry in entries]
        for other in names:
            if other.startswith("before-") and other.endswith(".dump"):
                site.folder.remove(other)
        site.folder.rename(draft, name)
    finally:
        site.folder.remove(draft)
    return site.folder.path / name
