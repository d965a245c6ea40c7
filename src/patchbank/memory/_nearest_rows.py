"""Compiled kernels that keep the nearest rows of a query."""

from __future__ import annotations

from typing import Any

from patchbank.memory._products import compiled


@compiled
def insert(distance: float, index: int, distances: Any, indices: Any, held: int) -> Any:
    """Insert a row into the sorted nearest rows (ties in row order); return how many are held.

    A row already among them is not inserted again.
    """
    k = distances.shape[0]
    at = held
    while at > 0 and (
        distances[at - 1] > distance or (distances[at - 1] == distance and indices[at - 1] > index)
    ):
        at -= 1
    if at == k or (at > 0 and indices[at - 1] == index):
        return held
    for rank in range(min(held, k - 1), at, -1):
        distances[rank] = distances[rank - 1]
        indices[rank] = indices[rank - 1]
    distances[at] = distance
    indices[at] = index
    return min(held + 1, k)


@compiled
def insert_of_two_groups(
    distance: float, index: int, groups: Any, distances: Any, indices: Any, held: int
) -> Any:
    """Insert a row into the nearest rows of two different groups; return how many are held.

    Inserting a row again changes nothing.
    """
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
def keep(
    distance: float,
    row: int,
    query: int,
    groups: Any,
    excluded: Any,
    two_groups: bool,
    distances: Any,
    indices: Any,
    held: int,
) -> Any:
    """Keep a row if it is among a query's nearest; return how many are held."""
    if excluded.shape[0] and groups[row] == excluded[query]:
        return held
    if two_groups:
        return insert_of_two_groups(distance, row, groups, distances[query], indices[query], held)
    return insert(distance, row, distances[query], indices[query], held)
