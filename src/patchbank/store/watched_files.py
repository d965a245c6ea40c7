"""The files of watched folders: which were judged, and what is left to do with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from psycopg import errors

from patchbank.errors import JudgedElsewhereError
from patchbank.store import queries
from patchbank.store.categories import find_category

if TYPE_CHECKING:
    from patchbank.store.inspections import InspectionRecord, Receipt
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions


class WatchedFile(NamedTuple):
    """A state of a file: another size or another time of its last change is another file.

    Attributes
    ----------
    folder
        The id of the watched folder.
    name
        In that folder.
    size
        In bytes.
    modified_ns
        In nanoseconds since 1970.
    """

    folder: str
    name: str
    size: int
    modified_ns: int


class HandledFile(NamedTuple):
    """A file that was judged or refused, with what is recorded of its inspection."""

    folder: str
    name: str
    size: int
    modified_ns: int
    inspection_id: int | None
    inspected_at: datetime
    refused: str
    image: str | None
    verdict: str | None
    score: float | None
    pass_below: float | None
    fail_above: float | None
    p_value: float | None
    bank_version: int | None
    sha256: str | None
    part: str | None
    station: str | None

    @property
    def file(self) -> WatchedFile:
        """The state of the file that was judged."""
        return WatchedFile(*self[:4])


def insert_watched(
    connection: Connection,
    inspections: Sequence[InspectionRecord],
    receipts: Sequence[Receipt],
) -> None:
    """Record from which files of watched folders these inspections, just recorded, came.

    Raises
    ------
    JudgedElsewhereError
        If one of the files was judged already.
    """
    for inspection, receipt in zip(inspections, receipts, strict=True):
        if inspection.watched is not None:
            _insert(connection, inspection.category_id, inspection.watched, *receipt, None)


def _insert(
    connection: Connection,
    category_id: int,
    file: WatchedFile,
    inspection_id: int | None,
    inspected_at: datetime | None,
    refused: str | None,
) -> None:
    try:
        connection.execute(
            queries.load("watched_files")["insert"],
            {
                "category_id": category_id,
                **file._asdict(),
                "inspection_id": inspection_id,
                "inspected_at": inspected_at,
                "refused": refused,
            },
        )
    except errors.UniqueViolation as error:
        raise JudgedElsewhereError(
            f"{file.name}: another process has judged it; watch a folder with one process"
        ) from error


class WatchedFiles:
    """The files of watched folders in a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("watched_files")

    def known(self, category: str, folder: str) -> set[WatchedFile]:
        """Return the files of a folder that were judged or refused.

        Raises
        ------
        UnknownCategoryError
            If there is no such category; so do the other methods.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["known"],
                {"category_id": find_category(connection, category), "folder": folder},
            )
            return {WatchedFile(*row) for row in rows}

    def refuse(self, category: str, file: WatchedFile, reason: str) -> None:
        """Record why a file cannot be judged."""
        with self._sessions.connection() as connection:
            _insert(connection, find_category(connection, category), file, None, None, reason)

    def pending(self, category: str, folder: str, limit: int, skip: int = 0) -> list[HandledFile]:
        """Return files with which something is left to do, oldest first, after the first few."""
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["pending"],
                {
                    "category_id": find_category(connection, category),
                    "folder": folder,
                    "limit": limit,
                    "skip": skip,
                },
            ).fetchall()
        return [HandledFile(*row) for row in rows]

    def finish(self, category: str, files: Sequence[WatchedFile]) -> None:
        """Record that nothing is left to do with files that stay in the folder."""
        self._change("finish", category, files)

    def forget(self, category: str, files: Sequence[WatchedFile]) -> None:
        """Forget files that are in the folder no longer."""
        self._change("forget", category, files)

    def _change(self, statement: str, category: str, files: Sequence[WatchedFile]) -> None:
        if not files:
            return
        with self._sessions.connection() as connection:
            parameters: dict[str, Any] = {
                "category_id": find_category(connection, category),
                "folder": files[0].folder,
                "names": [file.name for file in files],
                "sizes": [file.size for file in files],
                "modified": [file.modified_ns for file in files],
            }
            connection.execute(self._queries[statement], parameters)
