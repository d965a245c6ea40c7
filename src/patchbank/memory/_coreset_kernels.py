"""Compiled kernels for the coreset and for putting patches back."""

from __future__ import annotations

from typing import Any

import numpy as np

from patchbank.memory._products import (
    BLOCK,
    PANEL,
    compiled,
    pack_blocks,
    panel_below,
    panel_bounds,
    raised,
    squared_distance,
)


@compiled
def lower_minima(
    features: Any,
    rows: Any,
    start: int,
    stop: int,
    origin: Any,
    scale: Any,
    shrink: float,
    centres: Any,
    panels: Any,
    minima: Any,
    blocks: Any,
    norms: Any,
    limits: Any,
    masks: Any,
) -> None:
    """Lower the squared distances ``minima[rows[start:stop]]`` by the distances to `centres`."""
    pack_blocks(features, rows, start, stop, origin, scale, blocks, norms)
    depth = features.shape[1] + 1
    count = stop - start
    block_count = (count + BLOCK - 1) // BLOCK
    square = np.float64(scale) * np.float64(scale)
    for i in range(block_count * BLOCK):
        limits[i] = np.float32(-np.inf)
        if i < count:
            limits[i] = raised(minima[rows[start + i]] * square - shrink * norms[i])
    for p in range((centres.shape[0] + PANEL - 1) // PANEL):
        for b in range(block_count):
            if panel_below(
                blocks,
                b * depth * BLOCK,
                panels,
                p * depth * PANEL,
                depth,
                limits,
                b * BLOCK,
                masks,
            ):
                for i in range(BLOCK):
                    mask = masks[i]
                    if mask == 0:
                        continue
                    row = rows[start + b * BLOCK + i]
                    least = minima[row]
                    j = p * PANEL
                    while mask:
                        if mask & 1:
                            least = min(
                                least, squared_distance(features[row], features[centres[j]])
                            )
                        mask >>= 1
                        j += 1
                    if least < minima[row]:
                        minima[row] = least
                        position = b * BLOCK + i
                        limits[position] = raised(least * square - shrink * norms[position])


@compiled
def mutual_bounds(
    blocks: Any, panels: Any, first_block: int, last_block: int, panel_count: int, bounds: Any
) -> None:
    """Write the product of blocks ``first_block:last_block`` with all panels into `bounds`."""
    depth = panels.shape[1]
    stride = bounds.shape[1]
    for p in range(panel_count):
        for b in range(first_block, last_block):
            panel_bounds(
                blocks,
                b * depth * BLOCK,
                panels,
                p * depth * PANEL,
                depth,
                bounds,
                b * BLOCK * stride + p * PANEL,
                stride,
            )


@compiled
def choose_in_pool(
    features: Any,
    pool: Any,
    bounds: Any,
    norms: Any,
    square: float,
    shrink: float,
    floor: float,
    floor_row: int,
    limit: int,
    minima: Any,
    limits: Any,
    accepted: Any,
    squared_radii: Any,
) -> int:
    """Make greedy choices among the rows of `pool` while none outside can be farther.

    A choice is certain while it precedes ``(floor, floor_row)``: the largest squared distance
    outside the pool and the first row that has it. Return the number of certain choices.
    """
    count = pool.shape[0]
    for i in range(count):
        limits[i] = raised(minima[pool[i]] * square)
    for step in range(limit):
        best = 0
        for i in range(1, count):
            if minima[pool[i]] > minima[pool[best]]:
                best = i
        row = pool[best]
        largest = minima[row]
        if largest <= 0.0 or largest < floor or (largest == floor and row >= floor_row):
            return step
        accepted[step] = row
        squared_radii[step] = largest
        norm = np.float32(shrink * norms[best])
        for i in range(count):
            if bounds[best, i] + norm < limits[i]:
                distance = squared_distance(features[pool[i]], features[row])
                if distance < minima[pool[i]]:
                    minima[pool[i]] = distance
                    limits[i] = raised(distance * square)
    return limit


@compiled
def cover(features: Any, rows: Any, minima: Any, squared_radius: float, added: Any) -> Any:
    """Add the farthest of `rows` until none is farther than the radius; return how many.

    `minima` (rows,) are the squared distances to the existing rows.
    """
    count = 0
    while True:
        worst = 0
        for i in range(1, rows.shape[0]):
            if minima[i] > minima[worst]:
                worst = i
        if not minima[worst] > squared_radius:
            return count
        row = rows[worst]
        added[count] = row
        count += 1
        for i in range(rows.shape[0]):
            minima[i] = min(minima[i], squared_distance(features[rows[i]], features[row]))


@compiled
def lower_directly(features: Any, start: int, stop: int, centres: Any, minima: Any) -> None:
    """Lower the squared distances ``minima[start:stop]`` by those to `centres`, (c, d)."""
    for i in range(start, stop):
        for c in range(centres.shape[0]):
            minima[i] = min(minima[i], squared_distance(features[i], centres[c]))
