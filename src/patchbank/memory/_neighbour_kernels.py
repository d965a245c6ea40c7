"""Compiled kernels of the neighbour search."""

from __future__ import annotations

from typing import Any

import numpy as np

from patchbank.memory._products import (
    BLOCK,
    PANEL,
    compiled,
    panel_bounds,
    raised,
    squared_distance,
)


@compiled
def project(
    features: Any,
    row: int,
    origin: Any,
    scale: float,
    basis: Any,
    centred: Any,
    projected: Any,
) -> float:
    """Write a centred row's coordinates and the length of the rest; return its squared norm.

    `basis` is float64 (p, d) with orthonormal rows, `projected` float64 (p + 1,). Distances between
    such vectors are at most those between the rows: by the triangle inequality the rests differ by
    at least the difference of their lengths.
    """
    norm = 0.0
    for j in range(centred.shape[0]):
        value = (np.float64(features[row, j]) - origin[j]) * scale
        centred[j] = value
        norm += value * value
    inside = 0.0
    count = basis.shape[0]
    for k in range(count):
        total = 0.0
        for j in range(centred.shape[0]):
            total += basis[k, j] * centred[j]
        projected[k] = total
        inside += total * total
    projected[count] = np.sqrt(max(0.0, norm - inside))
    return norm


@compiled
def pack_projected_panels(
    features: Any,
    first_panel: int,
    last_panel: int,
    origin: Any,
    scale: float,
    shrink: float,
    basis: Any,
    panels: Any,
    centred: Any,
    projected: Any,
) -> None:
    """Pack the projections of all rows of these panels as `pack_panels` packs the rows."""
    depth = basis.shape[0] + 1
    for p in range(first_panel, last_panel):
        for i in range(PANEL):
            row = p * PANEL + i
            if row >= features.shape[0]:
                for j in range(depth):
                    panels[p, j, i] = np.float32(0.0)
                panels[p, depth, i] = np.float32(np.inf)
                continue
            norm = project(features, row, origin, scale, basis, centred, projected)
            for j in range(depth):
                panels[p, j, i] = np.float32(projected[j])
            panels[p, depth, i] = np.float32(shrink * norm)


@compiled
def insert(distance: float, index: int, distances: Any, indices: Any, held: int) -> Any:
    """Insert into the sorted nearest so far (first row first among equals); return how many."""
    k = distances.shape[0]
    if held == k and (
        distance > distances[k - 1] or (distance == distances[k - 1] and index > indices[k - 1])
    ):
        return held
    at = min(held, k - 1)
    while at > 0 and (
        distances[at - 1] > distance or (distances[at - 1] == distance and indices[at - 1] > index)
    ):
        distances[at] = distances[at - 1]
        indices[at] = indices[at - 1]
        at -= 1
    distances[at] = distance
    indices[at] = index
    return min(held + 1, k)


@compiled
def insert_of_two_groups(
    distance: float, index: int, groups: Any, distances: Any, indices: Any, held: int
) -> Any:
    """Insert into the nearest rows of two different groups found so far; return how many."""
    group = groups[index]
    if held == 0 or distance < distances[0] or (distance == distances[0] and index < indices[0]):
        if held > 0 and groups[indices[0]] != group:
            distances[1] = distances[0]
            indices[1] = indices[0]
            held = 2
        distances[0] = distance
        indices[0] = index
        return max(held, 1)
    if groups[indices[0]] == group:
        return held
    if held == 1 or distance < distances[1] or (distance == distances[1] and index < indices[1]):
        distances[1] = distance
        indices[1] = index
    return 2


@compiled
def search_block(
    queries: Any,
    start: int,
    stop: int,
    bank: Any,
    origin: Any,
    scale: float,
    shrink: float,
    basis: Any,
    panels: Any,
    groups: Any,
    excluded: Any,
    two_groups: bool,
    block: Any,
    bounds: Any,
    least: Any,
    centred: Any,
    projected: Any,
    distances: Any,
    indices: Any,
) -> int:
    """Find the nearest bank rows of at most `BLOCK` queries; return how many were computed in full.

    `distances` (float64, squared) and `indices` are (queries, k). With `excluded` (queries,), bank
    rows of a query's excluded group are not seen; with `two_groups`, k is 2 and the second nearest
    is that of another group than the nearest (infinitely far where there is none). `block`,
    `bounds` (BLOCK, panels * PANEL), `least` (panels,), `centred` and `projected` are buffers.
    """
    depth = basis.shape[0] + 2
    norms = np.zeros(BLOCK)
    block[:] = np.float32(0.0)
    for i in range(stop - start):
        norms[i] = project(queries, start + i, origin, scale, basis, centred, projected)
        for j in range(depth - 1):
            block[0, j, i] = np.float32(-2.0 * projected[j])
        block[0, depth - 1, i] = np.float32(1.0)
    stride = bounds.shape[1]
    for p in range(panels.shape[0]):
        panel_bounds(block, 0, panels, p * depth * PANEL, depth, bounds, p * PANEL, stride)

    computed = 0
    k = distances.shape[1]
    square = scale * scale
    for i in range(stop - start):
        query = start + i
        row = bounds[i]
        if excluded.shape[0]:
            for j in range(bank.shape[0]):
                if groups[j] == excluded[query]:
                    row[j] = np.float32(np.inf)
        best_panel = 0
        for p in range(panels.shape[0]):
            smallest = row[p * PANEL]
            for j in range(p * PANEL + 1, (p + 1) * PANEL):
                smallest = min(smallest, row[j])
            least[p] = smallest
            if smallest < least[best_panel]:
                best_panel = p
        # The most promising rows come first: their distances rule out nearly all others.
        held = 0
        for neighbour in range(k):
            distances[query, neighbour] = np.inf
            indices[query, neighbour] = -1
        limit = np.float32(np.inf)
        for turn in range(-1, panels.shape[0]):
            p = best_panel if turn < 0 else turn
            if not least[p] < limit or turn == best_panel:
                continue
            if k == 1 and turn < 0:
                best = p * PANEL
                for j in range(p * PANEL + 1, (p + 1) * PANEL):
                    if row[j] < row[best]:
                        best = j
                distance = squared_distance(queries[query], bank[best])
                held = insert(distance, best, distances[query], indices[query], held)
                computed += 1
                row[best] = np.float32(np.inf)
                limit = raised(distances[query, 0] * square - shrink * norms[i])
            for j in range(p * PANEL, (p + 1) * PANEL):
                if row[j] < limit:
                    distance = squared_distance(queries[query], bank[j])
                    if two_groups:
                        held = insert_of_two_groups(
                            distance, j, groups, distances[query], indices[query], held
                        )
                    else:
                        held = insert(distance, j, distances[query], indices[query], held)
                    computed += 1
                    if held == k:
                        limit = raised(distances[query, k - 1] * square - shrink * norms[i])
    return computed
