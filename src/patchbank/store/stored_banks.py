"""Stored banks, read: whole versions, changes since a version, and their history."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchbank.errors import BankGoneError, DatabaseUnreachableError, ParameterError
from patchbank.store import queries
from patchbank.store.bank_key import BankKey
from patchbank.store.categories import find_category
from patchbank.store.stored_bank import (
    BankChange,
    BankVersion,
    StoredBank,
    active_bank,
    active_state,
    only_row,
    read_bank,
)

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions

# A connection lost sooner was cut; lost later, the server was silent.
_CUT_SECONDS = 1.0


class StoredBanks:
    """The banks of a database, to be read."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("banks")

    def active(
        self, category: str, *, patches: bool = True, thumbnails: bool = False
    ) -> StoredBank:
        """Read the category's active bank.

        Parameters
        ----------
        patches
            Whether to read its patches.
        thumbnails
            Whether to read the thumbnails of its references.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            If there is no such category, or it has no bank.
        """
        with self._sessions.connection(long=True, snapshot=True) as connection:
            key = active_bank(connection, category)
            return read_bank(connection, category, key, patches=patches, thumbnails=thumbnails)

    def version(self, category: str, version: int, *, patches: bool = True) -> StoredBank:
        """Read any version of the category's bank.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            If there is no such category, or it has no bank.
        BankGoneError
            If there is no such version, or it was pruned.
        """
        with self._sessions.connection(long=True, snapshot=True) as connection:
            active = active_bank(connection, category)
            key = self._kept(connection, category, active, version)
            return read_bank(connection, category, key, patches=patches)

    def changes_since(
        self, category: str, before: BankKey, *, patches: bool = True
    ) -> tuple[StoredBank, BankChange] | None:
        """Read what was added and removed since a version, to update it to the active one.

        Returns
        -------
        The active bank with only the added patches and images, and the change; None if it must be
        read whole: it shares no rows with that version, or rows came back with an earlier version.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            If there is no such category, or it has no bank.
        """
        with self._sessions.connection(snapshot=True) as connection:
            key = active_bank(connection, category)
            if (
                key[:2] != before[:2]
                or only_row(connection, "reopened", key, since=before.version)[0]
            ):
                return None
            now = read_bank(connection, category, key, patches=patches, since=before.version)
            removed = only_row(connection, "gone", key, since=before.version)
        return now, BankChange(now.content, *(np.array(numbers, np.int64) for numbers in removed))

    def next_numbers(self, key: BankKey) -> tuple[int, int]:
        """Return the ordinal and the position that the next patch and reference will get."""
        with self._sessions.connection(snapshot=True) as connection:
            ordinal, position = only_row(connection, "last_numbers", key)
        return ordinal + 1, position + 1

    def textures(self, key: BankKey) -> dict[int, bytes]:
        """Return the textures of a version's references that have one, by position."""
        with self._sessions.connection() as connection:
            rows = connection.execute(self._queries["textures"], key.parameters(), binary=True)
            return dict(rows.fetchall())

    def version_without(
        self,
        key: BankKey,
        patches: npt.NDArray[np.int64],
        references: npt.NDArray[np.int64],
    ) -> int | None:
        """Return the latest kept version that equals a bank without some of its rows, if any.

        Parameters
        ----------
        patches, references
            int64, the ordinals and positions of the rows it does not have.
        """
        with self._sessions.connection(snapshot=True) as connection:
            patch_count, image_count = only_row(connection, "counts", key)
            found = connection.execute(
                self._queries["same_rows"],
                {
                    **key.parameters(),
                    "patches": patches.tolist(),
                    "references": references.tolist(),
                    "patch_count": patch_count - len(patches),
                    "image_count": image_count - len(references),
                },
            ).fetchone()
        return None if found is None else found[0]

    def active_version(self, category: str) -> int:
        """Return the version of the active bank.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            If there is no such category, or it has no bank.
        """
        return self.active_key(category).version

    def active_key(self, category: str) -> BankKey:
        """Return the key of the active bank; see `active_state`."""
        return self.active_state(category)[0]

    def active_state(self, category: str) -> tuple[BankKey, int]:
        """Return the key of the active bank, and how often the category's defects were changed.

        It is a cheap way to check whether anything changed. A category that was removed and learned
        again counts its versions from 1 under a new id, so callers that cache a bank compare the
        whole key.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            If there is no such category, or it has no bank.
        """
        begun = time.monotonic()
        try:
            with self._sessions.statement() as connection:
                return active_state(connection, category)
        except DatabaseUnreachableError:
            if time.monotonic() - begun > _CUT_SECONDS:
                raise
        # The server was just stopping: a read may be repeated on the next one.
        with self._sessions.statement() as connection:
            return active_state(connection, category)

    def history(self, category: str) -> list[BankVersion]:
        """Return all versions of the category's bank, newest first.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["history"], {"category_id": find_category(connection, category)}
            ).fetchall()
        return [_brief(row) for row in rows]

    def _kept(
        self, connection: Connection, category: str, active: BankKey, version: int
    ) -> BankKey:
        """Return the key of a version that can still judge, or raise."""
        if type(version) is not int:
            raise ParameterError(f"bank version {version!r}: must be a whole number")
        row = connection.execute(
            self._queries["version"], {"category_id": active.category_id, "version": version}
        ).fetchone()
        if row is None:
            raise BankGoneError(
                f"category {category!r} has no bank version {version}; its latest version is "
                f"{active.version}"
            )
        generation, state = row
        if state == "pruned":
            rows = connection.execute(
                self._queries["history"], {"category_id": active.category_id}
            ).fetchall()
            kept = sorted(bank.version for bank in map(_brief, rows) if bank.state != "pruned")
            raise BankGoneError(
                f"bank version {version} of category {category!r} was pruned and can no longer "
                f"judge; kept are {', '.join(map(str, kept))} (see PATCHBANK_KEEP_VERSIONS, "
                "PATCHBANK_KEEP_DAYS)"
            )
        return BankKey(active.category_id, generation, version)


def _brief(row: tuple[Any, ...]) -> BankVersion:
    return BankVersion(*row)
