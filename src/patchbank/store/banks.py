"""Memory banks: saved whole, read whole, replaced in one transaction."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import psycopg
from psycopg.types.json import Jsonb

from patchbank.errors import (
    BankGoneError,
    CategoryExistsError,
    DatabaseError,
    DatabaseUnreachableError,
    NotFittedError,
)
from patchbank.spelling import composed
from patchbank.store import queries
from patchbank.store._bank_copies import copy_patches_in, copy_references_in
from patchbank.store.bank_size import bytes_of
from patchbank.store.categories import (
    add_event,
    checked_category_name,
    find_category,
    lock_category,
    unknown_category,
)
from patchbank.store.copying import RowLayout
from patchbank.store.indexes import Indexes
from patchbank.store.new_bank import NewBank, NewImage
from patchbank.store.notices import announce

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions


# A connection that is lost sooner was cut; later, the server was silent.
_CUT_SECONDS = 1.0


@dataclass(frozen=True)
class ReferenceImage:
    """A reference image of a bank; `score` is its own, against the bank without its patches."""

    image_id: int
    name: str
    origin: str | None
    score: float


@dataclass(frozen=True, eq=False)
class StoredBank:
    """One version of a category's bank, read whole.

    Attributes
    ----------
    patch_count
        How many patches the coreset has, m.
    features
        The coreset in greedy order, float32 (m, d); (0, d) where it was not read.
    patch_image
        For each patch its image's index in `references`, int64 (m,); -1 where it is unknown.
    patch_row, patch_column
        Its position in the feature map, int16 (m,); -1 where its image is unknown.
    calibration
        None where there is none yet.
    covering_radius
        NaN where it is unknown.
    references
        The n reference images.
    embeddings
        Their embeddings, float32 (n, e).
    embedding_mean
        What was subtracted from each embedding, float32 (e,).
    quantised_graph
        The extractor's graph, where it was made for this bank.
    """

    category: str
    category_id: int
    version: int
    state: str
    extractor_fingerprint: str
    extractor: dict[str, Any]
    settings: dict[str, Any]
    calibration: dict[str, Any] | None
    coreset_ratio: float
    covering_radius: float
    created_at: datetime
    patch_count: int
    features: npt.NDArray[np.float32]
    patch_image: npt.NDArray[np.int64]
    patch_row: npt.NDArray[np.int16]
    patch_column: npt.NDArray[np.int16]
    references: list[ReferenceImage]
    embeddings: npt.NDArray[np.float32]
    embedding_mean: npt.NDArray[np.float32]
    quantised_graph: bytes | None


@dataclass(frozen=True)
class BankVersion:
    """A version of a bank in brief."""

    version: int
    state: str
    extractor_fingerprint: str
    coreset_ratio: float
    patch_count: int
    dimensions: int
    image_count: int
    created_at: datetime
    retired_at: datetime | None


class Banks:
    """The banks of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._indexes = Indexes(sessions)
        self._queries = queries.load("banks")

    def save(
        self,
        category: str,
        bank: NewBank,
        *,
        cause: str = "fit",
        replaces: tuple[int, int] | None = None,
        only_new: bool = False,
    ) -> int:
        """Make `bank` the active one of the category and return its version.

        One transaction: whoever reads sees the old bank whole or the new one whole. Saves of one
        category wait for one another. The category is made when missing; the bank before is
        retired and kept whole, older ones keep only what describes them. Known-good images that
        neither of the two refers to are removed.

        Parameters
        ----------
        cause
            What the record of events calls it.
        replaces
            The category's id and version of the bank this one was made from: saved only if that is
            the active one still.
        only_new
            Refuse a category that has a bank.

        Raises
        ------
        ParameterError
            When no category may have this name.
        BankGoneError, CategoryExistsError
            When it was not to take the place of the bank that is there.
        DiskFullError, DatabaseError
            When it could not be saved; then nothing was changed.
        """
        category = checked_category_name(category)
        self._sessions.check_room(bytes_of(bank))
        with self._sessions.connection(long=True) as connection:
            category_id = lock_category(connection, category)
            key = {"category_id": category_id}
            active = connection.execute(self._queries["active_of"], key).fetchone()
            if only_new and active is not None:
                raise CategoryExistsError(
                    f"category {category!r} has a bank already; give another name, or --replace to "
                    "make this one its next version"
                )
            if replaces is not None and (active is None or (category_id, active[0]) != replaces):
                raise BankGoneError(
                    f"the bank of category {category!r} was replaced or forgotten meanwhile; "
                    "nothing was changed: try again"
                )
            last = connection.execute(self._queries["last_version"], key).fetchone()
            assert last is not None
            version = int(last[0]) + 1
            key |= {"version": version}
            connection.execute(self._queries["retire"], key)
            self._insert(connection, key, bank)
            if bank.quantised_graph is not None:
                content = {"content": bank.quantised_graph}
                connection.execute(self._queries["insert_graph"], key | content)
            image_ids = _upsert_images(connection, category_id, bank)
            query = self._queries["copy_references_in"]
            copy_references_in(connection, query, key, image_ids, bank)
            copy_patches_in(connection, self._queries, key, image_ids, bank)
            connection.execute(self._queries["prune_patches"], key)
            connection.execute(self._queries["prune_references"], key)
            connection.execute(self._queries["prune_graphs"], key)
            connection.execute(self._queries["prune_images"], key)
            add_event(
                connection,
                category_id,
                cause,
                {"version": version, "images": len(bank.images), "patches": len(bank.features)},
            )
            announce(connection, category, version)
        self._indexes.drop_retired(category_id, version)
        return version

    def active(self, category: str, *, patches: bool = True) -> StoredBank:
        """Read the category's active bank, without its patches where these are not wanted.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            When there is no such category, or no bank in it.
        """
        with self._sessions.connection(long=True, snapshot=True) as connection:
            category_id, version = active_bank(connection, category)
            return self._read(connection, category, category_id, version, patches)

    def active_with_images(self, category: str) -> tuple[StoredBank, list[NewImage]]:
        """Read the category's active bank, and its reference images with all there is of them.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            When there is no such category, or no bank in it.
        """
        with self._sessions.connection(long=True, snapshot=True) as connection:
            category_id, version = active_bank(connection, category)
            stored = self._read(connection, category, category_id, version, patches=True)
            key = {"category_id": category_id, "version": version}
            rows = connection.execute(self._queries["whole_images"], key, binary=True).fetchall()
        return stored, [NewImage(*row) for row in rows]

    def active_version(self, category: str) -> int:
        """Return the version of the active bank: cheap, to see whether one at hand is current.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            When there is no such category, or no bank in it.
        """
        with self._sessions.connection() as connection:
            return active_bank(connection, category)[1]

    def active_key(self, category: str) -> tuple[int, int]:
        """Return the category's id and active version, which no other bank will ever have.

        A category that was forgotten and learned anew counts its versions from 1 again, under a new
        id: who keeps a bank at hand compares this.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            When there is no such category, or no bank in it.
        """
        begun = time.monotonic()
        try:
            with self._sessions.statement() as connection:
                return active_bank(connection, category)
        except DatabaseUnreachableError:
            if time.monotonic() - begun > _CUT_SECONDS:
                raise
        # The server was ending just then: a question may be asked again, of the one that follows.
        with self._sessions.statement() as connection:
            return active_bank(connection, category)

    def history(self, category: str) -> list[BankVersion]:
        """Return all versions the category had, the newest first.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["history"], {"category_id": find_category(connection, category)}
            ).fetchall()
        return [BankVersion(*row) for row in rows]

    def _insert(self, connection: Connection, key: dict[str, int], bank: NewBank) -> None:
        connection.execute(
            self._queries["insert"],
            {
                **key,
                "extractor_fingerprint": bank.extractor_fingerprint,
                "extractor": Jsonb(bank.extractor),
                "settings": Jsonb(bank.settings),
                "calibration": Jsonb(bank.calibration),
                "coreset_ratio": float(bank.coreset_ratio),
                "covering_radius": float(bank.covering_radius),
                "patch_count": bank.features.shape[0],
                "dimensions": bank.features.shape[1],
                "image_count": len(bank.images),
                "embedding_mean": bank.embedding_mean.tolist(),
            },
        )

    def _read(
        self,
        connection: Connection,
        category: str,
        category_id: int,
        version: int,
        patches: bool,
    ) -> StoredBank:
        key = {"category_id": category_id, "version": version}
        row = connection.execute(self._queries["read"], key).fetchone()
        assert row is not None
        patch_count, dimensions, image_count, created_at, mean, graph = row[8:]
        embedding_mean = np.array(mean, np.float32)
        images = connection.execute(self._queries["reference_images"], key).fetchall()
        references = [
            ReferenceImage(image_id=i, name=name, origin=origin, score=score)
            for _, i, name, origin, score in images
        ]
        reference_rows = _copy_out(
            connection,
            self._queries["copy_references_out"],
            key,
            RowLayout({"position": "i4", "embedding": len(embedding_mean)}),
        )
        patch_layout = RowLayout(
            {"ordinal": "i4", "image_id": "i8", "patch_row": "i2", "patch_column": "i2",
             "feature": dimensions}
        )  # fmt: skip
        wanted = patch_count if patches else 0
        patch_rows = (
            _copy_out(connection, self._queries["copy_patches_out"], key, patch_layout)
            if patches
            else patch_layout.empty()
        )
        # A reference counts only with its image.
        references_found = min(len(reference_rows), len(images))
        if len(patch_rows) != wanted or references_found != image_count:
            raise DatabaseError(
                f"bank {version} of category {category!r} is incomplete: {len(patch_rows)} of "
                f"{patch_count} patches, {references_found} of {image_count} references; "
                "fit the category again"
            )
        ordinal = patch_rows["ordinal"].astype(np.int64)
        features = np.empty((wanted, dimensions), np.float32)
        features[ordinal] = patch_rows["feature"]
        embeddings = np.empty((image_count, len(embedding_mean)), np.float32)
        embeddings[reference_rows["position"].astype(np.int64)] = reference_rows["embedding"]
        image_ids = np.array([reference.image_id for reference in references], np.int64)
        by_id = np.argsort(image_ids)
        owner_ids = patch_rows["image_id"].astype(np.int64)
        owners = np.full(wanted, -1)
        known = owner_ids > 0
        owners[known] = by_id[np.searchsorted(image_ids, owner_ids[known], sorter=by_id)]
        return StoredBank(
            category=category,
            category_id=category_id,
            version=version,
            state=row[1],
            extractor_fingerprint=row[2],
            extractor=row[3],
            settings=row[4],
            calibration=row[5],
            coreset_ratio=row[6],
            covering_radius=row[7],
            created_at=created_at,
            patch_count=patch_count,
            features=features,
            patch_image=_scattered(ordinal, owners, np.int64),
            patch_row=_scattered(ordinal, patch_rows["patch_row"], np.int16),
            patch_column=_scattered(ordinal, patch_rows["patch_column"], np.int16),
            references=references,
            embeddings=embeddings,
            embedding_mean=embedding_mean,
            quantised_graph=graph,
        )


def active_bank(connection: Connection, category: str) -> tuple[int, int]:
    """Return the category's id and its active version.

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
    category_id, version = row
    if version is None:
        raise NotFittedError(
            f"category {category!r} has no bank; run `patchbank fit` on images of it first"
        )
    return int(category_id), int(version)


def _upsert_images(
    connection: Connection, category_id: int, bank: NewBank
) -> npt.NDArray[np.int64]:
    """Return the image ids in the order of `bank.images`."""
    rows = connection.execute(
        queries.load("images")["upsert"],
        {
            "category_id": category_id,
            "names": [image.name for image in bank.images],
            "sha256s": [bytes.fromhex(image.sha256) for image in bank.images],
            "pixels_sha256s": [
                None if image.pixels_sha256 is None else bytes.fromhex(image.pixels_sha256)
                for image in bank.images
            ],
            "widths": [image.width for image in bank.images],
            "heights": [image.height for image in bank.images],
            "labels": [image.label for image in bank.images],
            "origins": [image.origin for image in bank.images],
            "thumbnails": [image.thumbnail for image in bank.images],
        },
    ).fetchall()
    ids: dict[str, int] = dict(rows)
    return np.array([ids[image.name] for image in bank.images], np.int64)


def _copy_out(
    connection: Connection, query: bytes, key: dict[str, int], layout: RowLayout
) -> npt.NDArray[np.void]:
    # COPY takes no parameters on the server, so they are put in here.
    with psycopg.ClientCursor(connection).copy(query, key) as copy:
        return layout.decode(b"".join(copy))


def _scattered(
    ordinal: npt.NDArray[np.int64], values: npt.NDArray[Any], kind: type[np.integer]
) -> npt.NDArray[Any]:
    """Return `values` in the order of the coreset."""
    result = np.empty(len(ordinal), kind)
    result[ordinal] = values
    return result
