"""HNSW indexes of a bank: built, and measured against the exact scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import (
    BankGoneError,
    DatabaseError,
    DiskFullError,
    NotFittedError,
    ParameterError,
    UnknownCategoryError,
)
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.store.hnsw_index import (
    DEFAULT_EF_SEARCH,
    MAX_EF_SEARCH,
    HnswIndex,
    Indexed,
    Metric,
    VectorType,
    fitting_type,
)
from patchbank.store.stored_bank import StoredBank

_NEIGHBOURS = 10
_SAMPLE = 100
_POOR_RECALL = 0.95
# Of the distance to the tenth neighbour: what float32 cannot tell apart.
_TIE = 1e-6


@dataclass(frozen=True)
class IndexReport:
    """An index that was built.

    Attributes
    ----------
    rows
        How many vectors it holds.
    size_bytes
        On the server's disk.
    recall
        Mean share of the ten exact neighbours that the index finds, for `queries` stored vectors
        spread over the bank, each without itself; None if there was nothing to search for.
    seconds
        The build's time, without the measurement.
    """

    category: str
    bank_version: int
    index: HnswIndex
    rows: int
    size_bytes: int
    recall: float | None
    queries: int
    seconds: float

    @property
    def warning(self) -> str | None:
        """What to do about a poor recall, None where it is good or unknown."""
        if self.recall is None or self.recall >= _POOR_RECALL:
            return None
        ef_search = self.index.least_ef_search
        more = min(MAX_EF_SEARCH, 4 * ef_search)
        raise_it = f"rebuild it with --ef-search {more}, or " if more > ef_search else ""
        return (
            f"the index finds only {self.recall:.0%} of the nearest neighbours: "
            f"{raise_it}remove it with --remove for exact searches"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {
            "category": self.category,
            "bank_version": self.bank_version,
            "on": self.index.on,
            "type": self.index.type,
            "metric": self.index.metric,
            "dimensions": self.index.dimensions,
            "name": self.index.name,
            "rows": self.rows,
            "size_megabytes": round(self.size_bytes / 1e6, 1),
            "recall_at_10": None if self.recall is None else round(self.recall, 4),
            "recall_queries": self.queries,
            "ef_search": self.index.least_ef_search,
            "warning": self.warning,
            "seconds": round(self.seconds, 2),
        }


def build_index(
    workspace: Workspace,
    category: str,
    *,
    on: str = "images",
    type_: str | None = None,
    metric: str = "cosine",
    ef_search: int = DEFAULT_EF_SEARCH,
    progress: Progress = silent,
) -> IndexReport:
    """Build an HNSW index over a category's active bank while others work, and measure its recall.

    Parameters
    ----------
    on
        ``"images"`` or ``"patches"``.
    type_
        ``"vector"`` or ``"halfvec"``; by default the first that can hold vectors of that length.
    metric
        ``"cosine"`` or ``"l2"``.
    ef_search
        How many candidates searches keep at least, 1 to 1,000, stored with the index: more find
        more of the nearest, and take longer.

    Raises
    ------
    ParameterError
        If a parameter is out of its range, or the vectors are too long.
    PgvectorMissingError
        If the server's pgvector is older than 0.8.4.
    UnknownCategoryError, NotFittedError
        If there is no bank, or nothing in it to index.
    BankGoneError
        If a fit replaced the bank meanwhile; then no index is left.
    """
    target = _checked_on(on)
    if metric not in get_args(Metric):
        raise ParameterError(f"metric {metric!r}: must be cosine or l2")
    if type_ is not None and type_ not in get_args(VectorType):
        raise ParameterError(f"type {type_!r}: must be vector or halfvec")
    if not 1 <= ef_search <= MAX_EF_SEARCH:
        raise ParameterError(f"ef_search {ef_search}: must be 1 to {MAX_EF_SEARCH}")
    bank = workspace.database.banks.active(category, patches=False)
    if target == "images":
        rows, dimensions = bank.content.embeddings.shape
    else:
        rows, dimensions = bank.patch_count, bank.content.features.shape[1]
    if not rows:
        raise NotFittedError(
            f"category {category!r} has no {target} to index, because its bank was imported "
            f"without any; add them with patchbank calibrate {category} GOOD_IMAGES..., or use "
            f"index --on patches"
        )
    chosen = fitting_type(dimensions) if type_ is None else type_
    index = HnswIndex(
        on=target,
        category_id=bank.key.category_id,
        generation=bank.key.generation,
        type="halfvec" if chosen == "halfvec" else "vector",
        dimensions=dimensions,
        metric="l2" if metric == "l2" else "cosine",
        least_ef_search=ef_search,
    )
    watch = Stopwatch()
    with watch.stage("build"):
        workspace.database.indexes.build(index, rows, progress=progress)
    active = workspace.database.banks.active_key(category)
    if active[:2] != bank.key[:2]:
        workspace.database.indexes.drop_retired(bank.key.category_id, active.generation)
        raise BankGoneError(
            f"category {category!r}: bank version {bank.version} was replaced while its index "
            f"was being built; build the index again"
        )
    recall, queries = _recall(workspace, bank, index, rows, progress)
    index = replace(index, recall=recall)
    workspace.database.indexes.record(index)
    stored = workspace.database.indexes.of_category(bank.key.category_id)
    return IndexReport(
        category=category,
        bank_version=bank.version,
        index=index,
        rows=rows,
        size_bytes=sum(
            stored_item.size_bytes for stored_item in stored if stored_item.index == index
        ),
        recall=recall,
        queries=queries,
        seconds=watch.seconds["build"],
    )


def drop_indexes(workspace: Workspace, category: str, on: str | None = None) -> list[HnswIndex]:
    """Remove a category's indexes, all of them or those on images or patches; return which.

    Raises
    ------
    UnknownCategoryError, NotFittedError, ParameterError
        If there is no bank, or `on` is neither.
    """
    category_id = workspace.database.banks.active_key(category).category_id
    return workspace.database.indexes.drop(category_id, None if on is None else _checked_on(on))


def indexes_of(workspace: Workspace, category: str) -> list[HnswIndex]:
    """Return the finished indexes of a category's active bank; none if there is no bank."""
    try:
        key = workspace.database.banks.active_key(category)
    except (UnknownCategoryError, NotFittedError):
        return []
    return [
        stored.index
        for stored in workspace.database.indexes.of_category(key.category_id)
        if stored.valid and stored.index.generation == key.generation
    ]


def restore_indexes(
    workspace: Workspace,
    category: str,
    indexes: Sequence[HnswIndex],
    progress: Progress = silent,
) -> list[str]:
    """Build the indexes of the bank before on the active one, where it lost them.

    Returns
    -------
    A remark for each. An index that cannot be built is no error: the bank is stored, and searches
    are exact without it.
    """
    kept, remarks = indexes_of(workspace, category), []
    for index in indexes:
        if index in kept:
            continue
        try:
            report = build_index(
                workspace,
                category,
                on=index.on,
                type_="halfvec" if index.type == "halfvec" else None,
                metric=index.metric,
                ef_search=index.least_ef_search,
                progress=progress,
            )
        except (DatabaseError, DiskFullError, NotFittedError, ParameterError) as error:
            remarks.append(
                f"the HNSW index on {index.on} of the previous bank could not be built again "
                f"({error}); searches are exact; to build it: patchbank index {category} "
                f"--on {index.on} --metric {index.metric}"
            )
        else:
            recall = "not measured" if report.recall is None else f"{report.recall:.4f}"
            remarks.append(
                f"the HNSW index on {index.on} was built again for this version, in "
                f"{report.seconds:.1f} s, recall {recall}"
            )
    return remarks


def _checked_on(on: str) -> Indexed:
    if on not in get_args(Indexed):
        raise ParameterError(f"on {on!r}: must be images or patches")
    return "images" if on == "images" else "patches"


def _recall(
    workspace: Workspace, bank: StoredBank, index: HnswIndex, rows: int, progress: Progress
) -> tuple[float | None, int]:
    """Return the mean recall of the ten nearest (None without a query), and of how many queries.

    The index does not hold vectors of zeros where it is one by cosine: these are no queries.
    """
    database, key = workspace.database, bank.key
    places = np.unique(np.linspace(0, rows - 1, min(rows, _SAMPLE)).astype(int)).tolist()
    source = database.images if index.on == "images" else database.patches
    sample = [item for item in source.sample(key, places) if index.can_find(item[1])]

    def ask(vector: NDArray[np.float32], by: HnswIndex | None) -> list[tuple[str, float]]:
        found = source.similar(key, vector, top=_NEIGHBOURS + 1, metric=index.metric, index=by)
        cosine = index.metric == "cosine"
        return [
            (found_item.name, 1 - found_item.similarity if cosine else found_item.distance)
            for found_item in found
        ]

    shares = []
    for done, (name, vector) in enumerate(sample, start=1):
        exact = [item for item in ask(vector, None) if item[0] != name][:_NEIGHBOURS]
        found = [item for item in ask(vector, index) if item[0] != name][:_NEIGHBOURS]
        if exact:
            # Rows as near as the last one are as good.
            limit = exact[-1][1] + _TIE * max(1.0, exact[-1][1])
            shares.append(sum(distance <= limit for _, distance in found) / len(exact))
        progress("recall", done, len(sample))
    return (float(np.mean(shares)) if shares else None), len(shares)
