"""Patches of a bank, found by name and by similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from patchbank.errors import BankGoneError, ParameterError
from patchbank.store import queries
from patchbank.store.bank_key import BankKey
from patchbank.store.copying import RealArray
from patchbank.store.hnsw_index import HnswIndex, Metric, nearest_rows

if TYPE_CHECKING:
    from patchbank.store.sessions import Sessions


@dataclass(frozen=True)
class SimilarPatch:
    """A patch of a bank and how it compares with the query.

    Attributes
    ----------
    name
        Image name and position: ``leather/train/good/012.png#r14c03``; ``#17`` for the 18th patch
        in greedy order if the image is unknown.
    similarity
        1 - cosine distance of the features, from -1 to 1.
    distance
        Their Euclidean distance.
    origin, image, row, column
        Its image's origin and name, and its position in the feature map; None if unknown.
    """

    name: str
    similarity: float
    distance: float
    origin: str | None
    image: str | None
    row: int | None
    column: int | None


class Patches:
    """The patches of a database."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions
        self._queries = queries.load("patches")

    def feature(
        self, key: BankKey, image: str, row: int, column: int
    ) -> npt.NDArray[np.float32] | None:
        """Return the feature of a patch, float32 (d,); None if it is not in the bank."""
        with self._sessions.statement() as connection:
            found = connection.execute(
                self._queries["find"],
                {**key.parameters(), "image": image, "row": row,
                 "column": column},
            ).fetchone()  # fmt: skip
        return None if found is None else np.array(found[1], np.float32)

    def feature_at(self, key: BankKey, ordinal: int) -> npt.NDArray[np.float32] | None:
        """Return the feature with this ordinal, float32 (d,); None if no patch has it."""
        with self._sessions.statement() as connection:
            found = connection.execute(
                self._queries["at"],
                {**key.parameters(), "ordinal": ordinal},
            ).fetchone()
        return None if found is None else np.array(found[0], np.float32)

    def positions(self, key: BankKey, image: str) -> list[tuple[int, int]]:
        """Return row and column of all patches of an image in a bank."""
        with self._sessions.statement() as connection:
            return [
                (row, column)
                for row, column in connection.execute(
                    self._queries["positions"],
                    {**key.parameters(), "image": image},
                )
            ]

    def all_known(self, key: BankKey) -> bool:
        """Return whether the image of every patch of a bank is known."""
        with self._sessions.statement() as connection:
            row = connection.execute(self._queries["all_known"], key.parameters()).fetchone()
        assert row is not None
        return bool(row[0])

    def sample(
        self, key: BankKey, ordinals: Sequence[int]
    ) -> list[tuple[str, npt.NDArray[np.float32]]]:
        """Return names and features of the patches with these ordinals."""
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["sample"],
                {**key.parameters(), "ordinals": list(ordinals)},
            ).fetchall()
        return [(name, np.array(feature, np.float32)) for name, feature in rows]

    def similar(
        self,
        key: BankKey,
        feature: npt.NDArray[np.floating],
        *,
        top: int = 10,
        metric: Metric = "cosine",
        index: HnswIndex | None = None,
    ) -> list[SimilarPatch]:
        """Return the patches of a bank nearest to a feature, nearest first, ties in greedy order.

        Parameters
        ----------
        feature
            Shape (d,).
        top
            How many to return at most, at least 1.
        metric
            The measure of distance.
        index
            Search by this index, approximately, which can find fewer than there are, or none;
            without it the scan is exact.

        Raises
        ------
        ParameterError
            When `top` is below 1.
        BankGoneError
            When the bank was removed, or is not kept any more.
        """
        if top < 1:
            raise ParameterError(f"top is {top}; ask for at least 1 similar patch")
        parameters = {
            **key.parameters(),
            "feature": np.asarray(feature, np.float32).tolist(),
        }
        with self._sessions.connection() as connection:
            rows = nearest_rows(connection, self._queries, metric, index, parameters, top)
        if not rows and index is None:
            raise BankGoneError
        return [SimilarPatch(*row) for row in rows]

    def nearest(
        self,
        key: BankKey,
        features: npt.NDArray[np.float32],
        count: int = 1,
        *,
        index: HnswIndex | None = None,
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return Euclidean distances and ordinals of the nearest patches of each feature.

        Both of shape (features, count), nearest first, ties in greedy order. Without an index, or
        if an index finds fewer than `count` for any feature, the result is exact.

        Parameters
        ----------
        features
            float32 (q, d).
        count
            At most the number of patches.
        index
            A Euclidean index of the patches for an approximate search.

        Raises
        ------
        BankGoneError
            When the bank was removed, or is not kept any more.
        """
        parameters: dict[str, object] = {
            **key.parameters(),
            "features": RealArray(features),
            "queries": len(features),
            "dimensions": features.shape[1],
            "count": count,
        }
        rows: list[tuple[Any, ...]] = []
        if index is not None and index.can_find(features):
            with self._sessions.connection(long=True) as connection:
                index.prepare(connection, count)
                rows = connection.execute(
                    index.query(self._queries["nearest_by_index"]),
                    {**parameters, "candidates": index.candidates(count)},
                    binary=True,
                ).fetchall()
        if len(rows) != len(features) * count:
            # A separate transaction, without the settings for a search by index.
            with self._sessions.connection(long=True) as connection:
                connection.execute(self._queries["keep_queries_in_memory"])
                rows = connection.execute(
                    self._queries["nearest" if count == 1 else "nearest_some"],
                    parameters,
                    binary=True,
                ).fetchall()
        if len(rows) != len(features) * count:
            raise BankGoneError
        shape = (len(features), count)
        ordinals = np.array([row[1] for row in rows], np.int64).reshape(shape)
        return np.array([row[2] for row in rows], np.float32).reshape(shape), ordinals

    def features(self, key: BankKey, ordinals: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return the features of the patches with these ordinals, in their order, float32 (n, d).

        Raises
        ------
        BankGoneError
            When the bank was removed, or is not kept any more.
        """
        with self._sessions.statement() as connection:
            rows = connection.execute(
                self._queries["features"],
                {**key.parameters(), "ordinals": ordinals.tolist()},
            ).fetchall()
        if len(rows) != len(ordinals):
            raise BankGoneError
        return np.array([feature for (feature,) in rows], np.float32)
