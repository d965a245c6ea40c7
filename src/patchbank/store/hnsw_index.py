"""HNSW indexes of banks, and search with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.store import queries

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection

Metric = Literal["cosine", "l2"]
Indexed = Literal["images", "patches"]
VectorType = Literal["vector", "halfvec"]

OPERATORS: dict[Metric, str] = {"cosine": "<=>", "l2": "<->"}
# pgvector's limits for an HNSW index.
MAX_DIMENSIONS: dict[VectorType, int] = {"vector": 2_000, "halfvec": 4_000}
DEFAULT_EF_SEARCH = 100
MAX_EF_SEARCH = 1_000


@dataclass(frozen=True)
class HnswIndex:
    """An index over the embeddings or the features of one generation of a bank.

    `least_ef_search` and the measured `recall` (None if not measured) are ignored in comparisons.
    """

    on: Indexed
    category_id: int
    generation: int
    type: VectorType
    dimensions: int
    metric: Metric
    least_ef_search: int = field(default=DEFAULT_EF_SEARCH, compare=False)
    recall: float | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        """Its name in the database."""
        return (
            f"hnsw_{self.on}_{self.category_id}_{self.generation}_"
            f"{self.type}{self.dimensions}_{self.metric}"
        )

    def candidates(self, top: int) -> int:
        """Return how many rows to fetch by the index, to be ranked again by full vectors."""
        return 2 * top

    def ef_search(self, top: int) -> int:
        """Return how many candidates pgvector keeps during a search."""
        return min(MAX_EF_SEARCH, max(self.least_ef_search, 4 * top))

    def can_find(self, vector: npt.NDArray[np.floating]) -> bool:
        """Return whether the index can be searched for a vector.

        Cosine indexes hold no zero vectors; half precision ends at 65,504.
        """
        if self.metric == "cosine" and not np.any(vector):
            return False
        if self.type == "vector":
            return True
        with np.errstate(over="ignore"):
            half = np.asarray(vector, np.float32).astype(np.float16)
        return bool(np.isfinite(half).all()) and (self.metric == "l2" or bool(half.any()))

    def prepare(self, connection: Connection, top: int) -> None:
        """Make this transaction use the index."""
        connection.execute(
            queries.load("indexes")["prepare_search"], {"ef_search": str(self.ef_search(top))}
        )

    def query(self, statement: bytes) -> bytes:
        """Return a ``similar_by_index`` statement for this index."""
        return queries.compose(
            statement,
            category_id=self.category_id,
            generation=self.generation,
            type=self.type,
            dimensions=self.dimensions,
            operator=OPERATORS[self.metric],
        )


def nearest_rows(
    connection: Connection,
    statements: Mapping[str, bytes],
    metric: Metric,
    index: HnswIndex | None,
    parameters: Mapping[str, object],
    top: int,
) -> list[tuple[Any, ...]]:
    """Return the `top` nearest rows by ``similar``, or ``similar_by_index`` if there is an index.

    An index may find fewer rows, or none.
    """
    if index is None:
        statement = queries.compose(statements["similar"], operator=OPERATORS[metric])
        return connection.execute(statement, {**parameters, "top": top}).fetchall()
    index.prepare(connection, top)
    return connection.execute(
        index.query(statements["similar_by_index"]),
        {**parameters, "top": top, "candidates": index.candidates(top)},
    ).fetchall()


def check_dimensions(type_: VectorType, dimensions: int) -> None:
    """Raise ParameterError if an HNSW index cannot hold vectors of that length."""
    if dimensions <= MAX_DIMENSIONS[type_]:
        return
    remedy = (
        "use --type halfvec"
        if dimensions <= MAX_DIMENSIONS["halfvec"]
        else "search without an index, which is exact, or fit with fewer layers"
    )
    raise ParameterError(
        f"vectors of {dimensions} dimensions are too long for an HNSW index of type {type_}, whose "
        f"limit is {MAX_DIMENSIONS[type_]}; {remedy}"
    )


def fitting_type(dimensions: int) -> VectorType:
    """Return the most precise index type for vectors of that length.

    Raises
    ------
    ParameterError
        When none can.
    """
    type_: VectorType = "vector" if dimensions <= MAX_DIMENSIONS["vector"] else "halfvec"
    check_dimensions(type_, dimensions)
    return type_
