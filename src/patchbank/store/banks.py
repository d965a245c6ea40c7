"""Memory banks: versions as sets of rows, saved, changed and read in one transaction each."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchbank.errors import (
    BankReplacedError,
    CategoryExistsError,
    ParameterError,
)
from patchbank.store._bank_rows import (
    copy_patches_in,
    copy_references_in,
    upsert_images,
    write_scores,
)
from patchbank.store.bank_content import BankContent
from patchbank.store.bank_key import BankKey
from patchbank.store.bank_size import bytes_of
from patchbank.store.categories import checked_category_name, lock_category
from patchbank.store.indexes import Indexes
from patchbank.store.quarantine import release
from patchbank.store.reference_features import kept_bytes, write_features
from patchbank.store.stored_bank import (
    BankChange,
    active_bank,
    only_row,
)
from patchbank.store.stored_banks import StoredBanks
from patchbank.store.versions import (
    DEFAULT_RETENTION,
    Retention,
    active_of,
    begin_version,
    finish_version,
    insert_version,
)

if TYPE_CHECKING:
    from patchbank.store.sessions import Sessions

_log = logging.getLogger(__name__)


class Banks(StoredBanks):
    """The banks of a database."""

    def __init__(self, sessions: Sessions, retention: Retention = DEFAULT_RETENTION) -> None:
        super().__init__(sessions)
        self._indexes = Indexes(sessions)
        self._retention = retention

    def save(
        self,
        category: str,
        bank: BankContent,
        *,
        cause: str = "fit",
        only_new: bool = False,
        detail: Mapping[str, Any] | None = None,
        features: Sequence[npt.NDArray[np.float32]] = (),
    ) -> int:
        """Save `bank` as the active bank of the category; return its version.

        One transaction: readers see either the whole old bank or the whole new one. Saves to the
        same category wait for each other. The category is created if missing, the previous bank is
        retired, and versions beyond the retention lose their rows.

        Parameters
        ----------
        cause
            Name of the recorded event.
        only_new
            Refuse a category that already has a bank.
        detail
            What else the event records, as JSON values.
        features
            The patch features of each reference, float32 (n, d), to be kept; none by default.

        Raises
        ------
        ParameterError
            If the category name is not allowed.
        CategoryExistsError
            If `only_new` is set and the category has a bank.
        DiskFullError, DatabaseError
            If it cannot be saved; then nothing is changed.
        """
        category = checked_category_name(category)
        bank.check()
        kept = sum(kept_bytes(*rows.shape) for rows in features)
        self._sessions.check_room(bytes_of(bank) + kept)
        with self._sessions.connection(long=True) as connection:
            category_id = lock_category(connection, category)
            active = active_of(connection, category_id)
            if only_new and active is not None:
                raise CategoryExistsError(
                    f"category {category!r} already has a bank; use another name, or --replace to "
                    "make this its next version"
                )
            version = begin_version(connection, category_id)
            key = BankKey(category_id, version, version)
            insert_version(connection, key, bank, len(bank.features), len(bank.images))
            if bank.quantised_graph is not None:
                content = {"content": bank.quantised_graph}
                connection.execute(self._queries["insert_graph"], key.parameters() | content)
            images = list(bank.images)
            image_ids = upsert_images(connection, category_id, images)
            positions = np.arange(len(images))
            copy_references_in(connection, key, positions, image_ids, bank.embeddings)
            copy_patches_in(connection, key, np.arange(len(bank.features)), image_ids, bank)
            if features:
                write_features(connection, key, positions, features)
            write_scores(connection, key, positions, bank.scores)
            counts = {"images": len(images), "patches": len(bank.features), **(detail or {})}
            finish_version(connection, category, key, cause, counts, self._retention)
        _log_saved(category, version, cause, len(images), len(bank.features))
        self._indexes.drop_retired(category_id, key.generation)
        return version

    def change(
        self,
        category: str,
        key: BankKey,
        change: BankChange,
        *,
        cause: str,
        detail: Mapping[str, Any] | None = None,
        features: Sequence[npt.NDArray[np.float32]] = (),
        released: Sequence[str] = (),
    ) -> int:
        """Save a version that differs from the active one in a few rows; return its number.

        Only these rows are written, in one transaction as in `save`; HNSW indexes are kept.

        Parameters
        ----------
        key
            The bank to change, which must still be the active one.
        cause
            Name of the recorded event.
        detail
            What else the event records, as JSON values.
        features
            The patch features of each added reference, as in `save`.
        released
            SHA-256 of the pixels of images that thereby leave the quarantine.

        Raises
        ------
        BankReplacedError
            If the bank was replaced or removed in the meantime.
        DiskFullError, DatabaseError
            If it cannot be saved; then nothing is changed.
        """
        bank = change.bank
        self._sessions.check_room(bytes_of(bank))
        with self._sessions.connection(long=True) as connection:
            category_id = lock_category(connection, category)
            if active_of(connection, category_id) != key:
                raise _replaced_meanwhile(category)
            version = begin_version(connection, category_id)
            new = key._replace(version=version)
            parameters = new.parameters()
            statements = self._queries
            present = only_row(connection, "reference_rows", key)
            stay = np.setdiff1d(np.array(present[0], np.int64), change.removed_references)
            owners = dict(zip(*present, strict=True))
            for name, numbers in (
                ("close_patches", change.removed_patches),
                ("close_references", change.removed_references),
            ):
                connection.execute(statements[name], parameters | {"numbers": numbers.tolist()})
            last_ordinal, last_position = only_row(connection, "last_numbers", key)
            images = list(bank.images)
            new_ids = upsert_images(connection, category_id, images)
            positions = last_position + 1 + np.arange(len(images))
            ordinals = last_ordinal + 1 + np.arange(len(bank.features))
            image_ids = np.array(
                [*(owners[int(position)] for position in stay), *new_ids], np.int64
            )
            if len(images):
                copy_references_in(connection, new, positions, new_ids, bank.embeddings)
            if features:
                write_features(connection, new, positions, features)
            if len(ordinals):
                copy_patches_in(connection, new, ordinals, image_ids, bank)
            for name, numbers in (("open_patches", ordinals), ("open_references", positions)):
                connection.execute(statements[name], parameters | {"numbers": numbers.tolist()})
            write_scores(connection, new, np.concatenate([stay, positions]), bank.scores)
            patches, references = only_row(connection, "counts", key)
            patches += len(ordinals) - len(change.removed_patches)
            references += len(images) - len(change.removed_references)
            insert_version(connection, new, bank, patches, references)
            release(connection, category_id, released)
            counts = {"images": references, "patches": patches, **(detail or {})}
            finish_version(connection, category, new, cause, counts, self._retention)
        _log_saved(category, version, cause, references, patches)
        return version

    def activate(
        self, category: str, version: int, *, cause: str = "activate", key: BankKey | None = None
    ) -> int:
        """Save a version equal to an earlier one; return its number.

        The new version consists of the rows of the earlier one, none of which is copied. HNSW
        indexes are kept if the active bank is of the same generation.

        Parameters
        ----------
        cause
            Name of the recorded event.
        key
            The bank that must still be the active one; any by default.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            If there is no such category, or it has no bank.
        ParameterError
            If that version is the active one.
        BankGoneError
            If there is no such version, or it was pruned; then nothing is changed.
        BankReplacedError
            If the bank `key` was replaced in the meantime.
        DiskFullError, DatabaseError
            If it cannot be saved; then nothing is changed.
        """
        with self._sessions.connection(long=True) as connection:
            active_bank(connection, category)
            # Saves wait for each other: another version may be active by now.
            lock_category(connection, category)
            active = active_bank(connection, category)
            if key not in (None, active):
                raise _replaced_meanwhile(category)
            like = self._kept(connection, category, active, version)
            if like == active:
                raise ParameterError(
                    f"version {version} of category {category!r} is already the active one"
                )
            patches, images = only_row(connection, "counts", like)
            new = like._replace(version=begin_version(connection, like.category_id))
            parameters = {**new.parameters(), "like": version}
            # What came later goes, before what went comes again.
            for name in (
                "close_later_patches",
                "close_later_references",
                "close_later_scores",
                "reopen_patches",
                "reopen_references",
                "reopen_scores",
                "insert_like",
            ):
                connection.execute(self._queries[name], parameters)
            detail = {"images": images, "patches": patches, "activated": version}
            finish_version(connection, category, new, cause, detail, self._retention)
        _log_saved(category, new.version, cause, images, patches)
        self._indexes.drop_retired(new.category_id, new.generation)
        return new.version


def _replaced_meanwhile(category: str) -> BankReplacedError:
    return BankReplacedError(
        f"the bank of category {category!r} was replaced or removed in the meantime; "
        "nothing was changed, try again"
    )


def _log_saved(category: str, version: int, cause: str, images: int, patches: int) -> None:
    _log.info(
        "category %r: saved bank version %d by %s: %d images, %d patches",
        category, version, cause, images, patches,
    )  # fmt: skip
