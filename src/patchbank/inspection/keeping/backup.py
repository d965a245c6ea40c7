"""Backups of the whole database."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.errors import BackupError, DatabaseUpgradeNeededError
from patchbank.files import new_file, writing
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.store.backup import (
    BackupContents,
    check_backup,
    contents,
    read_backup,
    write_backup,
)
from patchbank.store.psql import ClientPrograms


@dataclass(frozen=True)
class BackupReport:
    """What a backup has.

    Attributes
    ----------
    file, megabytes
        Its file and size.
    contents
        How much of what it has; None where the restored database must be upgraded first.
    remark
        What to do then.
    """

    file: Path
    megabytes: float
    contents: BackupContents | None
    remark: str | None = None

    @property
    def text(self) -> str:
        """What it has, in words."""
        found = self.contents
        if found is None:
            return f"{self.megabytes:,.1f} MB"
        return ", ".join(
            (
                counted(found.categories, "category", "categories"),
                counted(found.bank_versions, "bank version"),
                counted(found.references, "reference"),
                counted(found.inspections, "inspection"),
                f"{counted(found.inspection_images, 'image')} of inspections",
                counted(found.defects, "defect"),
                counted(found.keys, "key"),
                counted(found.sinks, "sink"),
                f"{self.megabytes:,.1f} MB",
            )
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the commands print."""
        return {
            "file": str(self.file),
            "megabytes": round(self.megabytes, 3),
            "contents": None if self.contents is None else self.contents._asdict(),
            "remark": self.remark,
        }


def backup(workspace: Workspace, file: Path, *, force: bool = False) -> BackupReport:
    """Write all of the database to a file, as of one moment, while others use it.

    Parameters
    ----------
    force
        Replace an existing file, once the new one is complete.

    Raises
    ------
    BackupError, DiskFullError
        If it cannot be written; then there is no such file, or still the old one.
    DatabaseError
        If a pooler is in between.
    """
    if file.is_dir():
        raise BackupError(f"{file}: is a folder; give a file name")
    if not file.parent.is_dir():
        raise BackupError(f"{file}: there is no folder {file.parent}; create it first")
    if file.exists() and not force:
        raise BackupError(f"{file}: already exists; give another name, or use --force")
    database = workspace.database
    programs = ClientPrograms(workspace.database_url, workspace.home)
    with (
        writing(file.name, file.parent, BackupError, "give another name or folder"),
        new_file(file) as draft,
    ):
        found = write_backup(database, programs, draft)
        size = draft.stat().st_size
    return BackupReport(file, size / 1e6, found)


def restore(workspace: Workspace, file: Path) -> BackupReport:
    """Read a backup into the database, which must be empty.

    Raises
    ------
    BackupError
        If the database is not empty, or the file is no backup or damaged; then nothing changes.
    DatabaseTooNewError
        If a newer patchbank wrote it.
    """
    if not file.is_file():
        raise BackupError(f"{file}: there is no such file; give one that `patchbank backup` wrote")
    there = contents(workspace.database)
    if any(there):
        categories = counted(there.categories, "category", "categories")
        others = f"{counted(there.keys, 'key')} and {counted(there.sinks, 'sink')}"
        raise BackupError(
            f"the database is not empty: it has {categories}, {others}; restore into a new one: "
            "set PATCHBANK_HOME to a new folder, or PATCHBANK_DATABASE_URL to a new database"
        )
    programs = ClientPrograms(workspace.database_url, workspace.home)
    check_backup(programs, file)
    read_backup(programs, file)
    size = file.stat().st_size / 1e6
    with Workspace(home=workspace.home, database_url=workspace.database_url) as reopened:
        try:
            return BackupReport(file, size, contents(reopened.database))
        except DatabaseUpgradeNeededError as error:
            return BackupReport(file, size, None, str(error))
