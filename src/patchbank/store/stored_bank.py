"""Stored banks: a version read whole, or its changes since an earlier version."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchbank.errors import DamagedBankError, NotFittedError
from patchbank.spelling import composed
from patchbank.store import queries
from patchbank.store._bank_rows import read_patches, read_references, read_scores
from patchbank.store.bank_content import BankContent
from patchbank.store.bank_key import BankKey
from patchbank.store.categories import unknown_category

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection

_NO_ROWS = np.empty(0, np.int64)


@dataclass(frozen=True, eq=False)
class StoredBank:
    """A version of a category's bank.

    Attributes
    ----------
    patch_count
        Number of its patches, m, whether they were read or not.
    content
        Its content; without patches, (0, d), or thumbnails if these were not read.
    ordinals
        The number of each patch in its generation, int64 (m,), ascending.
    positions
        The number of each reference image in its generation, int64 (n,), ascending.
    likeness_intact
        Whether what likeness to recorded defects adds is still what was stored.
    """

    category: str
    key: BankKey
    state: str
    created_at: datetime
    patch_count: int
    content: BankContent
    ordinals: npt.NDArray[np.int64]
    positions: npt.NDArray[np.int64]
    likeness_intact: bool = True

    @property
    def version(self) -> int:
        """Its version."""
        return self.key.version


@dataclass(frozen=True, eq=False)
class BankChange:
    """The difference between a version of a bank and an earlier one of the same generation.

    Attributes
    ----------
    bank
        The later version with only the added patches and images. Its `scores` are complete: of the
        images that stayed, in order, followed by the added ones. `patch_image` counts images the
        same way.
    removed_patches, removed_references
        Ordinals and positions of removed rows, int64.
    """

    bank: BankContent
    removed_patches: npt.NDArray[np.int64] = field(default_factory=lambda: _NO_ROWS)
    removed_references: npt.NDArray[np.int64] = field(default_factory=lambda: _NO_ROWS)


@dataclass(frozen=True)
class BankVersion:
    """A summary of a bank version.

    `cause` is the event that made it and `actor` who did, None if not recorded; `same_as` the
    earlier version that was activated as this one, None for all others. `came` and `went` are the
    names of references, compared with the version before, unless all were exchanged; `screened`
    are the images that a fit left out by itself; `thresholds` those that were set, and `likeness`
    how likeness to recorded defects was switched, where the version did just that.
    """

    version: int
    state: str
    extractor_fingerprint: str
    coreset_ratio: float
    patch_count: int
    dimensions: int
    image_count: int
    created_at: datetime
    retired_at: datetime | None
    cause: str | None
    same_as: int | None
    actor: str | None = None
    came: Sequence[str] = ()
    went: Sequence[str] = ()
    screened: Sequence[Mapping[str, Any]] = ()
    thresholds: Mapping[str, float] | None = None
    likeness: Mapping[str, Any] | None = None


def active_bank(connection: Connection, category: str) -> BankKey:
    """Return the key of the category's active bank; see `active_state`."""
    return active_state(connection, category)[0]


def active_state(connection: Connection, category: str) -> tuple[BankKey, int]:
    """Return the key of the category's active bank, and how often its defects were changed.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        When there is no such category, or no bank in it.
    """
    row = connection.execute(
        queries.load("banks")["active_version"], {"category": composed(category)}
    ).fetchone()
    if row is None:
        raise unknown_category(connection, category)
    if row[2] is None:
        raise NotFittedError(f"category {category!r} has no bank; run `patchbank fit` first")
    *key, book_changes = row
    return BankKey(*key), int(book_changes)


def damaged_bank(
    category: str, key: BankKey, reason: object, remedy: str = "fit the category again"
) -> DamagedBankError:
    """Return the error that says that what is stored of a bank is damaged."""
    return DamagedBankError(
        f"bank {key.version} of category {category!r} is damaged: {reason}; {remedy}"
    )


@contextlib.contextmanager
def _damage_said(category: str, key: BankKey) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise damaged_bank(category, key, error) from error


def _owners(
    image_ids: npt.NDArray[np.int64], references: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    """Return the index of each patch's image among the references; -1 if it is not one."""
    owners = np.full(len(image_ids), -1)
    by_id = np.argsort(references)
    known = np.isin(image_ids, references)
    owners[known] = by_id[np.searchsorted(references, image_ids[known], sorter=by_id)]
    return owners


def read_bank(
    connection: Connection,
    category: str,
    key: BankKey,
    *,
    patches: bool,
    thumbnails: bool = False,
    since: int | None = None,
) -> StoredBank:
    """Read a version of a bank, or what was added after the version `since`.

    Raises
    ------
    DamagedBankError
        If rows are missing or hold invalid values.
    """
    row = only_row(connection, "read", key)
    mean = np.array(row[9], np.float32)
    patch_count, dimensions, image_count = row[6:9]
    with _damage_said(category, key):
        for name, document in (("extractor", row[2]), ("settings", row[3])):
            if not isinstance(document, dict):
                raise ValueError(f"its {name} are {document!r:.40}, expected names and values")
        if not isinstance(row[3].get("image_score"), str):
            raise ValueError("its settings name no image_score")
        references = read_references(connection, key, len(mean), since, thumbnails=thumbnails)
        found = read_patches(connection, key, dimensions, since) if patches else None
    if since is None:
        read = patch_count if found is None else len(found.ordinal)
        # A reference counts only with its image.
        images = min(len(references.position), len(references.embedding))
        if (read, images) != (patch_count, image_count):
            raise DamagedBankError(
                f"bank {key.version} of category {category!r} is incomplete: {read} of "
                f"{patch_count} patches, {images} of {image_count} references; "
                "fit the category again"
            )
    present = references.position
    if since is not None:
        present = np.array(only_row(connection, "reference_rows", key)[0], np.int64)
    # After the check that all are there: the scores of a missing reference are another's.
    with _damage_said(category, key):
        scores = read_scores(connection, key, present)
    content = BankContent(
        extractor_fingerprint=row[1],
        extractor=row[2],
        settings=row[3],
        coreset_ratio=row[4],
        covering_radius=row[5],
        features=np.empty((0, dimensions), np.float32) if found is None else found.feature,
        patch_image=_NO_ROWS if found is None else _owners(found.image_id, references.image_id),
        patch_row=np.empty(0, np.int16) if found is None else found.row,
        patch_column=np.empty(0, np.int16) if found is None else found.column,
        images=references.images,
        embeddings=references.embedding,
        embedding_mean=mean,
        scores=scores,
        quantised_graph=row[11],
        likeness=row[13],
    )
    return StoredBank(
        category=category,
        key=key,
        state=row[0],
        created_at=row[10],
        patch_count=patch_count,
        content=content,
        ordinals=_NO_ROWS if found is None else found.ordinal,
        positions=references.position,
        likeness_intact=row[12] == (None if row[13] is None else sha256(row[13]).digest()),
    )


def only_row(
    connection: Connection, query: str, key: BankKey, **parameters: int
) -> tuple[Any, ...]:
    """Return the single row of a statement in `banks.sql` for a bank."""
    row = connection.execute(queries.load("banks")[query], key.parameters() | parameters).fetchone()
    assert row is not None
    return row
