"""Compiled kernels of the neighbour search."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchbank.memory._integer_products import (
    LONGEST,
    block_scores,
    lowest_bit,
    panel_reach,
    query_scores,
)
from patchbank.memory._nearest_rows import keep
from patchbank.memory._products import BLOCK, PANEL, compiled, squared_distance
from patchbank.memory._projections import (
    Panels,
    Projection,
    Work,
    pairs_of,
    project,
    shorten,
    work_for,
    write_rounded,
)

#: Clusters searched for a query's first neighbours.
CLUSTERS = 4
_SMALLEST, _LARGEST = -(2**31), 2**31 - 1


class Bank(NamedTuple):
    """A memory bank prepared for the search.

    Attributes
    ----------
    features
        float32 (m, d).
    groups
        int64 (m,), or empty.
    order
        int64 (panels * PANEL,): the row at each position of the panels, -1 if empty or removed. The
        rows of a panel are close together.
    panels
        The rounded rows.
    short
        int16 (panels, fewer pairs, PANEL, 2): the rows shortened, or no pairs if that would not
        pay. They rule out most panels for most blocks without a full product.
    centres
        The rounded mean of each panel's rows.
    error
        Largest rounding error of a row, in integer units.
    whole
        Whether no row was shrunk before rounding.
    """

    features: npt.NDArray[np.float32]
    groups: npt.NDArray[np.int64]
    order: npt.NDArray[np.int64]
    panels: Panels
    short: npt.NDArray[np.int16]
    centres: Panels
    error: float
    whole: bool


class Buffers(NamedTuple):
    """The buffers of a search thread."""

    blocks: npt.NDArray[np.int16]
    short: npt.NDArray[np.int16]
    thresholds: npt.NDArray[np.int32]
    masks: npt.NDArray[np.int64]
    near: npt.NDArray[np.int32]
    scores: npt.NDArray[np.int32]
    clusters: npt.NDArray[np.int64]
    rows: npt.NDArray[np.int64]
    lengths: npt.NDArray[np.float64]
    held: npt.NDArray[np.int64]
    work: Work


def buffers_for(queries: int, projection: Projection, bank: Bank) -> Buffers:
    """Return buffers for a tile of `queries`, a multiple of `BLOCK`."""
    components = len(projection.basis)
    return Buffers(
        np.zeros((queries // BLOCK, pairs_of(components), BLOCK, 2), np.int16),
        np.zeros((queries // BLOCK, bank.short.shape[1], BLOCK, 2), np.int16),
        np.empty(queries, np.int32),
        np.empty(BLOCK, np.int64),
        np.empty((BLOCK, len(bank.centres.half_norms)), np.int32),
        np.empty(CLUSTERS * PANEL, np.int32),
        np.empty(CLUSTERS, np.int64),
        np.empty(BLOCK, np.int64),
        np.empty((queries, 3)),
        np.empty(queries, np.int64),
        work_for(BLOCK, projection),
    )


@compiled
def threshold_for(squared: float, factor: float, lengths: Any, error: float) -> Any:
    """Return the lowest score of rows that may be within a query's squared distance.

    `lengths` are the query's squared length in integers, its rounding error, and the part of its
    squared distance to any bank row that the integers do not represent. `error` is the rows'
    rounding error. Integers x and y of rows no farther than r have ``|x - y| <= r + errors``.
    """
    distance = np.sqrt(max(0.0, squared * factor * factor * (1.0 + 1e-9) - lengths[2]))
    reach = distance + lengths[1] + error
    return np.int32(max(np.floor((lengths[0] - reach * reach) / 2), _SMALLEST))


@compiled
def write_block(
    queries: Any, start: int, stop: int, projection: Any, whole: bool, buffers: Any, block: int
) -> None:
    """Round queries ``start:stop`` into a block; store their lengths for `threshold_for`."""
    for i in range(BLOCK):
        buffers.rows[i] = start + i if start + i < stop else -1
    project(queries, buffers.rows, projection, buffers.work)
    values = buffers.blocks[block].reshape(-1)
    for i in range(min(BLOCK, stop - start)):
        length = buffers.work.lengths[i]
        squared, error = write_rounded(
            buffers.work.projected[i], length, projection.slack, values, BLOCK, i
        )
        if buffers.short.shape[1]:
            shorten(values, BLOCK, i, buffers.short[block].reshape(-1))
        lengths = buffers.lengths[block * BLOCK + i]
        lengths[0] = squared
        lengths[1] = error
        # A query q outside the ball is rounded as its projection p onto it. For any point b in the
        # ball, the angle at p is not acute: |q - b|^2 >= |p - b|^2 + |q - p|^2.
        lengths[2] = max(0.0, length * (1.0 - 1e-9) - LONGEST) ** 2 if whole else 0.0


@compiled
def search_clusters(
    queries: Any,
    query: int,
    offset: int,
    near: Any,
    bank: Any,
    excluded: Any,
    two_groups: bool,
    buffers: Any,
    distances: Any,
    indices: Any,
) -> Any:
    """Compute a query's most promising pairs; return the numbers of held and computed neighbours.

    The pairs come from the panels with the largest centre scores, `near`. `offset` is the position
    of the query's integers in the blocks.
    """
    panels = bank.panels
    pairs = panels.values.shape[1]
    clusters = buffers.clusters
    count = min(CLUSTERS, panels.values.shape[0])
    for c in range(panels.values.shape[0]):
        if c < count or near[c] > near[clusters[count - 1]]:
            at = min(c, count - 1)
            while at > 0 and near[c] > near[clusters[at - 1]]:
                clusters[at] = clusters[at - 1]
                at -= 1
            clusters[at] = c
    for c in range(count):
        query_scores(
            buffers.blocks,
            offset,
            panels.values,
            clusters[c] * pairs * PANEL * 2,
            pairs,
            panels.half_norms,
            clusters[c] * PANEL,
            buffers.scores,
            c * PANEL,
            0,
        )
    held, computed = 0, 0
    while held < distances.shape[1]:
        best = 0
        for i in range(1, count * PANEL):
            if buffers.scores[i] > buffers.scores[best]:
                best = i
        if buffers.scores[best] == _SMALLEST:
            break
        buffers.scores[best] = _SMALLEST
        row = bank.order[clusters[best // PANEL] * PANEL + best % PANEL]
        if row < 0:
            continue
        distance = squared_distance(queries[query], bank.features[row])
        held = keep(
            distance, row, query, bank.groups, excluded, two_groups, distances, indices, held
        )
        computed += 1
    return held, computed


@compiled
def search(
    queries: Any,
    start: int,
    stop: int,
    projection: Any,
    bank: Any,
    excluded: Any,
    two_groups: bool,
    buffers: Any,
    distances: Any,
    indices: Any,
) -> int:
    """Find the nearest bank rows of queries ``start:stop``; return how many pairs were computed.

    `distances` (float64, squared) and `indices` are (queries, k). With `excluded` (queries,), bank
    rows of a query's excluded group are ignored. With `two_groups`, k is 2 and the second neighbour
    is the nearest row of another group (at infinite distance without one).
    """
    tile = len(buffers.held)
    computed = 0
    for first in range(start, stop, tile):
        computed += search_tile(
            queries,
            first,
            min(first + tile, stop),
            projection,
            bank,
            excluded,
            two_groups,
            buffers,
            distances,
            indices,
        )
    return computed


@compiled
def search_tile(
    queries: Any,
    start: int,
    stop: int,
    projection: Any,
    bank: Any,
    excluded: Any,
    two_groups: bool,
    buffers: Any,
    distances: Any,
    indices: Any,
) -> int:
    """Find the nearest bank rows of as many queries as the buffers are for; see `search`."""
    panels, centres = bank.panels, bank.centres
    pairs = panels.values.shape[1]
    size = pairs * BLOCK * 2
    short_pairs = bank.short.shape[1]
    block_count = (stop - start + BLOCK - 1) // BLOCK
    computed = 0
    factor = projection.factor
    for b in range(block_count):
        filled = min(BLOCK, stop - start - b * BLOCK)
        write_block(queries, start + b * BLOCK, stop, projection, bank.whole, buffers, b)
        # No score reaches the threshold of a position without a query.
        buffers.thresholds[b * BLOCK : (b + 1) * BLOCK] = _LARGEST
        for p in range(centres.values.shape[0]):
            block_scores(
                buffers.blocks,
                b * size,
                centres.values,
                p * pairs * PANEL * 2,
                pairs,
                centres.half_norms,
                p * PANEL,
                buffers.near,
                p * PANEL,
                buffers.near.shape[1],
            )
        for i in range(filled):
            at = b * BLOCK + i
            query = start + at
            for neighbour in range(distances.shape[1]):
                distances[query, neighbour] = np.inf
                indices[query, neighbour] = -1
            buffers.held[at], searched = search_clusters(
                queries,
                query,
                b * size + 2 * i,
                buffers.near[i],
                bank,
                excluded,
                two_groups,
                buffers,
                distances,
                indices,
            )
            computed += searched
            buffers.thresholds[at] = threshold_for(
                distances[query, -1], factor, buffers.lengths[at], bank.error
            )
    for p in range(panels.values.shape[0]):
        for b in range(block_count):
            if short_pairs and not panel_reach(
                buffers.short,
                b * short_pairs * BLOCK * 2,
                bank.short,
                p * short_pairs * PANEL * 2,
                short_pairs,
                panels.half_norms,
                p * PANEL,
                buffers.thresholds,
                b * BLOCK,
                buffers.masks,
            ):
                continue
            if not panel_reach(
                buffers.blocks,
                b * size,
                panels.values,
                p * pairs * PANEL * 2,
                pairs,
                panels.half_norms,
                p * PANEL,
                buffers.thresholds,
                b * BLOCK,
                buffers.masks,
            ):
                continue
            for i in range(BLOCK):
                mask = buffers.masks[i]
                if mask == 0:
                    continue
                at = b * BLOCK + i
                query = start + at
                before = distances[query, -1]
                while mask:
                    row = bank.order[p * PANEL + lowest_bit(mask)]
                    mask &= mask - 1
                    if row < 0:
                        continue
                    distance = squared_distance(queries[query], bank.features[row])
                    computed += 1
                    if distance <= distances[query, -1]:
                        buffers.held[at] = keep(
                            distance,
                            row,
                            query,
                            bank.groups,
                            excluded,
                            two_groups,
                            distances,
                            indices,
                            buffers.held[at],
                        )
                if distances[query, -1] < before:
                    buffers.thresholds[at] = threshold_for(
                        distances[query, -1], factor, buffers.lengths[at], bank.error
                    )
    return computed
