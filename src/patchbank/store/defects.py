"""Defects: recorded anomalous images, and images flagged as synthetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchbank.errors import DatabaseError, NotFoundError, ParameterError
from patchbank.store import queries
from patchbank.store.bank_key import BankKey
from patchbank.store.categories import add_event, find_category
from patchbank.store.hnsw_index import OPERATORS, Metric
from patchbank.store.stored_bank import active_bank

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection
    from patchbank.store.sessions import Sessions


@dataclass(frozen=True, eq=False)
class DefectRegion:
    """Where a defect is in its image, and what is there.

    Attributes
    ----------
    box_xyxy
        x0, y0, x1, y1 in pixels, ends excluded.
    area_pixels, peak_score
        Its area in pixels, and the anomaly map's largest value in it.
    embedding
        float32 (d,).
    """

    box_xyxy: tuple[int, int, int, int]
    area_pixels: int
    peak_score: float
    embedding: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class StoredBook:
    """The defects that a bank can compare regions with, by name.

    Attributes
    ----------
    changes
        How often the category's defects had been changed; see `Banks.active_state`.
    names, labels, synthetic, sha256s
        Of each defect.
    owners
        int64 (regions,): the index of each region's defect, ascending.
    embeddings
        float32 (regions, d): of a defect's regions the strongest is first.
    """

    changes: int
    names: list[str]
    labels: list[str | None]
    synthetic: list[bool]
    sha256s: list[str]
    owners: npt.NDArray[np.int64]
    embeddings: npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class NewDefect:
    """An anomalous image to record.

    Attributes
    ----------
    name
        Unique within the category; a defect with a known name replaces the earlier one.
    label
        Defect type, for example crack, if known.
    synthetic
        Whether it was generated.
    sha256
        Of the content, in hexadecimal.
    width, height
        In pixels.
    thumbnail
        A small encoded picture.
    origin
        Absolute path of the file, if any.
    embedding
        float32 (e,), not centred.
    regions
        Where the defect is, the strongest first.
    """

    name: str
    label: str | None
    synthetic: bool
    sha256: str
    width: int
    height: int
    thumbnail: bytes
    origin: str | None
    embedding: npt.NDArray[np.float32]
    regions: Sequence[DefectRegion] = ()


@dataclass(frozen=True)
class StoredDefect:
    """A recorded defect; `comparable` if it has the extractor of the active bank.

    `boxes` are those of its regions, x0, y0, x1, y1 in pixels, the strongest first.
    """

    defect_id: int
    name: str
    label: str | None
    synthetic: bool
    sha256: str
    width: int
    height: int
    origin: str | None
    added_at: datetime
    comparable: bool
    boxes: list[list[int]]


@dataclass(frozen=True)
class SimilarDefect:
    """A recorded defect and how it compares with the query; see `SimilarImage`."""

    name: str
    similarity: float
    distance: float
    origin: str | None
    label: str | None
    synthetic: bool


class Defects:
    """The defects of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("defects")

    def add(self, category: str, extractor_fingerprint: str, defects: Sequence[NewDefect]) -> None:
        """Record defects, all or none.

        Parameters
        ----------
        extractor_fingerprint
            Of the extractor that made their embeddings.

        Raises
        ------
        UnknownCategoryError, NotFittedError
            When there is no such category, or no bank in it.
        """
        with self._sessions.connection() as connection:
            category_id = active_bank(connection, category).category_id
            for defect in defects:
                row = connection.execute(
                    self._queries["upsert"],
                    {
                        "category_id": category_id,
                        "name": defect.name,
                        "label": defect.label,
                        "synthetic": defect.synthetic,
                        "sha256": bytes.fromhex(defect.sha256),
                        "width": defect.width,
                        "height": defect.height,
                        "origin": defect.origin,
                        "thumbnail": defect.thumbnail,
                        "extractor_fingerprint": extractor_fingerprint,
                        "embedding": defect.embedding.tolist(),
                    },
                ).fetchone()
                assert row is not None
                self._set_regions(connection, category_id, row[0], defect.regions)
            connection.execute(self._queries["changed"], {"category_id": category_id})
            add_event(
                connection,
                category_id,
                "add defects",
                {
                    "names": [defect.name for defect in defects],
                    "synthetic": sum(defect.synthetic for defect in defects),
                },
            )

    def _set_regions(
        self,
        connection: Connection,
        category_id: int,
        defect_id: int,
        regions: Sequence[DefectRegion],
    ) -> None:
        key = {"category_id": category_id, "defect_id": defect_id}
        connection.execute(self._queries["clear_regions"], key)
        for number, region in enumerate(regions, start=1):
            connection.execute(
                self._queries["add_region"],
                {
                    **key,
                    "number": number,
                    **dict(zip(("x0", "y0", "x1", "y1"), region.box_xyxy, strict=True)),
                    "area_pixels": region.area_pixels,
                    "peak_score": region.peak_score,
                    "embedding": region.embedding.tolist(),
                },
            )

    def book(self, key: BankKey) -> StoredBook:
        """Return the defects with regions that were recorded with the bank's extractor.

        Raises
        ------
        DatabaseError
            If one of them is damaged.
        """
        with self._sessions.connection(snapshot=True) as connection:
            changes = connection.execute(self._queries["changes"], key.parameters()).fetchone()
            rows = connection.execute(
                self._queries["book"], key.parameters(), binary=True
            ).fetchall()
        names = [row[0] for row in rows]
        first = [
            number for number, name in enumerate(names) if name not in names[number - 1 : number]
        ]
        owners = np.zeros(len(rows), np.int64)
        owners[first] = 1
        # pgvector sends four bytes before the components.
        vectors = [np.frombuffer(row[4], ">f4", offset=4) for row in rows]
        for vector, (name, *_, dimensions, category) in zip(vectors, rows, strict=True):
            if len(vector) != dimensions:
                raise DatabaseError(
                    f"the recorded defect {name!r} of category {category!r} is damaged: a region "
                    f"of it has {len(vector)} numbers, expected {dimensions}; record it again "
                    f"after: patchbank defects remove {category} {name}"
                )
        return StoredBook(
            # A category that was removed just now has no row.
            changes=0 if changes is None else int(changes[0]),
            names=[rows[number][0] for number in first],
            labels=[rows[number][1] for number in first],
            synthetic=[rows[number][2] for number in first],
            sha256s=[rows[number][3] for number in first],
            owners=np.cumsum(owners) - 1,
            embeddings=np.stack(vectors).astype(np.float32)
            if rows
            else np.zeros((0, 0), np.float32),
        )

    def of_category(self, category: str) -> list[StoredDefect]:
        """Return a category's defects by name.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            rows = connection.execute(
                self._queries["list"], {"category_id": find_category(connection, category)}
            ).fetchall()
        return [StoredDefect(*row) for row in rows]

    def kept_with(self, category: str) -> dict[str, int]:
        """Return the inspections whose answer recorded defects, and whose images were kept.

        By the defects' names.

        Raises
        ------
        UnknownCategoryError
            When there is no such category.
        """
        with self._sessions.connection() as connection:
            key = {"category_id": find_category(connection, category)}
            rows = connection.execute(self._queries["kept_with"], key).fetchall()
        return dict(rows)

    def remove(
        self, category: str, names: Sequence[str] = (), *, synthetic: bool = False
    ) -> list[str]:
        """Remove the named defects, and all synthetic ones if `synthetic`; return their names.

        Raises
        ------
        UnknownCategoryError, ParameterError
            If there is no such category or defect; then nothing is removed.
        """
        return self._sessions.removing(lambda: self._remove(category, names, synthetic))

    def _remove(self, category: str, names: Sequence[str], synthetic: bool) -> list[str]:
        with self._sessions.connection() as connection:
            category_id = find_category(connection, category)
            rows = connection.execute(
                self._queries["remove"],
                {"category_id": category_id, "names": list(names), "synthetic": synthetic},
            ).fetchall()
            removed = sorted(name for (name,) in rows)
            missing = sorted(set(names) - set(removed))
            if missing:
                raise ParameterError(
                    f"category {category!r} has no defect {missing[0]!r}; "
                    f"`patchbank defects list {category}` lists them all"
                )
            if removed:
                connection.execute(self._queries["changed"], {"category_id": category_id})
                add_event(connection, category_id, "remove defects", {"names": removed})
        return removed

    def embedding(self, key: BankKey, name: str) -> npt.NDArray[np.float32] | None:
        """Return a defect's embedding, float32 (e,), centred on the bank's mean.

        None if there is no defect of that name.

        Raises
        ------
        ParameterError
            If its extractor is not the bank's.
        """
        with self._sessions.connection() as connection:
            row = connection.execute(
                self._queries["embedding"],
                {**key.parameters(), "name": name},
            ).fetchone()
        if row is None:
            return None
        if row[0] is None:
            raise ParameterError(
                f"the defect {name!r} was recorded with an extractor other than the active bank's; "
                "add it again"
            )
        return np.array(row[0], np.float32)

    def thumbnail(self, category: str, name: str) -> bytes:
        """Return a defect's thumbnail, an encoded picture.

        Raises
        ------
        UnknownCategoryError, NotFoundError
            If there is no such category or defect.
        """
        with self._sessions.connection() as connection:
            row = connection.execute(
                self._queries["thumbnail"],
                {"category_id": find_category(connection, category), "name": name},
                binary=True,
            ).fetchone()
        if row is None:
            raise NotFoundError(f"category {category!r} has no defect {name!r}")
        return bytes(row[0])

    def similar(
        self,
        key: BankKey,
        embedding: npt.NDArray[np.floating],
        *,
        top: int = 10,
        metric: Metric = "cosine",
        offset: npt.NDArray[np.float32] | None = None,
    ) -> list[SimilarDefect]:
        """Return the defects most similar to a centred embedding, best first, ties by name.

        Only defects with the bank's extractor; `offset` is as in `Images.similar`.
        """
        query = np.asarray(embedding, np.float32)
        shift = None if offset is None else offset.tolist()
        with self._sessions.connection() as connection:
            rows = connection.execute(
                queries.compose(self._queries["similar"], operator=OPERATORS[metric]),
                {
                    **key.parameters(),
                    "embedding": query.tolist(),
                    "offset": shift,
                    "top": top,
                },
            ).fetchall()
        return [SimilarDefect(*row) for row in rows]

    def counts(self, key: BankKey) -> tuple[int, int]:
        """Return how many defects are recorded, and how many of them the bank can compare."""
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["counts"], key.parameters()).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])
