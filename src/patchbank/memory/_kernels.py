"""Compiled kernels: squared distances that are either proved too large or computed directly.

One register-blocked matrix product serves the coreset and the neighbour search. For a block of
`BLOCK` rows x and a panel of `PANEL` rows y it computes a lower bound of ``|x - y|^2`` and says,
one bit per pair, which pairs may lie below each row's limit. Only those are computed by direct
difference in float64. The expansion ``|x|^2 + |y|^2 - 2xy`` therefore decides nothing: it only
spares work.

Two constant components carry the norms through the product: rows are packed as ``(-2x, 1)`` and
panels as ``(y, shrink |y|^2)``, so that the product is ``shrink |y|^2 - 2xy``, to be compared with
``limit^2 - shrink |x|^2``. `shrink` is one minus the largest relative rounding error of the product
(see `shrink_for`), which makes the bound hold in float32.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, TypeVar, cast

import llvmlite.binding
import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

Function = TypeVar("Function", bound=Callable[..., Any])

# Sums may be reordered (to fill vector registers), nothing else: infinities keep their meaning.
_SUMS_MAY_BE_REORDERED = {"reassoc", "contract", "nsz"}


def compiled(function: Function) -> Function:
    """Compile a kernel on first use, keep it on disk and let other threads run beside it."""
    decorator = numba.njit(nogil=True, cache=True, fastmath=_SUMS_MAY_BE_REORDERED)
    return cast(Function, decorator(function))


def _register_shape() -> tuple[int, int]:
    """Return the rows of a block and the float32 lanes of a vector that fill this CPU's registers.

    A block times two vectors of accumulators has to leave room for two vectors and a broadcast.
    """
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 12, 16
    if features.get("avx2"):
        return 6, 8
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return 12, 4
    return 6, 4


_VECTORS = 2
BLOCK, _LANES = _register_shape()
PANEL = _VECTORS * _LANES


def shrink_for(depth: int) -> float:
    """Return the factor for the norms that makes the float32 bound of `depth` components hold.

    A chain of `depth` fused multiply-adds errs by at most ``depth u`` of the sum of magnitudes,
    which is at most ``2 (|x|^2 + |y|^2)``; rounding the inputs and norms adds a few u more.
    """
    unit_roundoff = 2.0**-24
    return 1.0 - (2 * depth + 32) * unit_roundoff


def _accumulate(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """Emit the product of a block and a panel; return its accumulators, a row after another."""
    single, index = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(single, _LANES)
    block_type, _, panel_type, _, _ = signature.args[:5]
    blocks, block_offset, panels, panel_offset, depth = args[:5]
    block = context.make_array(block_type)(context, builder, blocks).data
    panel = context.make_array(panel_type)(context, builder, panels).data
    block = builder.gep(block, [block_offset])
    panel = builder.gep(panel, [panel_offset])

    entry = builder.block
    loop = builder.append_basic_block("component")
    done = builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    component = builder.phi(index)
    component.add_incoming(index(0), entry)
    sums = [builder.phi(vector) for _ in range(BLOCK * _VECTORS)]
    for total in sums:
        total.add_incoming(ir.Constant(vector, [0.0] * _LANES), entry)

    row = builder.gep(panel, [builder.mul(component, index(PANEL))])
    column = builder.gep(block, [builder.mul(component, index(BLOCK))])
    right = []
    for position in range(_VECTORS):
        address = builder.gep(row, [index(position * _LANES)])
        value = builder.load(builder.bitcast(address, vector.as_pointer()))
        value.align = 4
        right.append(value)
    updated = []
    for position in range(BLOCK):
        left = _splat(builder, vector, builder.load(builder.gep(column, [index(position)])))
        for other, value in enumerate(right):
            product = builder.fmul(left, value, flags=("contract",))
            total = sums[position * _VECTORS + other]
            updated.append(builder.fadd(product, total, flags=("contract",)))
    following = builder.add(component, index(1))
    component.add_incoming(following, loop)
    for total, value in zip(sums, updated, strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)
    builder.position_at_end(done)
    return updated


def _splat(builder: Any, vector: Any, scalar: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), _LANES), [0] * _LANES)
    return builder.shuffle_vector(first, undefined, zeros)


def _panel_below(
    typing: Any,
    blocks: Any,
    block_offset: Any,
    panels: Any,
    panel_offset: Any,
    depth: Any,
    limits: Any,
    limit_offset: Any,
    masks: Any,
) -> Any:
    """Write each row's bits of the panel's rows below its limit; return the OR of all."""
    arguments = (blocks, types.intp, panels, types.intp, types.intp, limits, types.intp, masks)
    signature = types.int64(*arguments)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums = _accumulate(context, builder, signature, args)
        wide = ir.IntType(64)
        limit_type, _, mask_type = signature.args[5:]
        limit = context.make_array(limit_type)(context, builder, args[5]).data
        limit = builder.gep(limit, [args[6]])
        mask = context.make_array(mask_type)(context, builder, args[7]).data
        union = wide(0)
        for position in range(BLOCK):
            scalar = builder.load(builder.gep(limit, [wide(position)]))
            bound = _splat(builder, ir.VectorType(ir.FloatType(), _LANES), scalar)
            bits = wide(0)
            for other in range(_VECTORS):
                below = builder.fcmp_ordered("<", sums[position * _VECTORS + other], bound)
                part = builder.zext(builder.bitcast(below, ir.IntType(_LANES)), wide)
                bits = builder.or_(bits, builder.shl(part, wide(other * _LANES)))
            builder.store(bits, builder.gep(mask, [wide(position)]))
            union = builder.or_(union, bits)
        return union

    return signature, generate


def _panel_bounds(
    typing: Any,
    blocks: Any,
    block_offset: Any,
    panels: Any,
    panel_offset: Any,
    depth: Any,
    bounds: Any,
    bound_offset: Any,
    bound_stride: Any,
) -> Any:
    """Write the product of a block and a panel into `bounds`."""
    integers = (types.intp, types.intp)
    signature = types.void(blocks, types.intp, panels, *integers, bounds, *integers)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        sums = _accumulate(context, builder, signature, args)
        wide = ir.IntType(64)
        output = context.make_array(signature.args[5])(context, builder, args[5]).data
        output = builder.gep(output, [args[6]])
        pointer = ir.VectorType(ir.FloatType(), _LANES).as_pointer()
        for position in range(BLOCK):
            row = builder.gep(output, [builder.mul(args[7], wide(position))])
            for other in range(_VECTORS):
                address = builder.bitcast(builder.gep(row, [wide(other * _LANES)]), pointer)
                builder.store(sums[position * _VECTORS + other], address).align = 4
        return context.get_dummy_value()

    return signature, generate


# Numba supplies the first argument, which a type checker cannot know.
panel_below: Any = intrinsic(_panel_below)
panel_bounds: Any = intrinsic(_panel_bounds)


@compiled
def squared_distance(a: Any, b: Any) -> float:
    """Return the squared distance of two float32 vectors, by direct difference in float64."""
    total = 0.0
    for j in range(a.shape[0]):
        difference = np.float64(a[j]) - np.float64(b[j])
        total += difference * difference
    return total


@compiled
def squared_distances_to(features: Any, start: int, stop: int, point: Any, out: Any) -> None:
    """Write the squared distances of rows ``start:stop`` to `point` into ``out[start:stop]``."""
    for i in range(start, stop):
        out[i] = squared_distance(features[i], point)


@compiled
def raised(value: float) -> Any:
    """Round to float32, upwards, so that a limit is never lost to rounding."""
    return np.float32(value + abs(value) * 1.2e-7 + 1e-37)


@compiled
def pack_blocks(
    features: Any,
    rows: Any,
    start: int,
    stop: int,
    origin: Any,
    scale: Any,
    blocks: Any,
    norms: Any,
) -> None:
    """Pack rows ``rows[start:stop]`` as ``(-2x, 1)``, x centred and scaled, and give ``|x|^2``.

    `blocks` is (at least the blocks needed, depth + 1, BLOCK); rows past the end are zero.
    """
    depth = features.shape[1]
    count = stop - start
    for b in range((count + BLOCK - 1) // BLOCK):
        for i in range(BLOCK):
            position = b * BLOCK + i
            if position >= count:
                for j in range(depth + 1):
                    blocks[b, j, i] = np.float32(0.0)
                norms[position] = 0.0
                continue
            row = rows[start + position]
            norm = 0.0
            for j in range(depth):
                # Scaled before the difference: the extremes of float32 then cannot overflow.
                value = features[row, j] * scale - origin[j]
                blocks[b, j, i] = np.float32(-2.0) * value
                norm += np.float64(value) * np.float64(value)
            blocks[b, depth, i] = np.float32(1.0)
            norms[position] = norm


@compiled
def pack_panels(
    features: Any, rows: Any, origin: Any, scale: Any, shrink: float, panels: Any
) -> None:
    """Pack `rows` as ``(y, shrink |y|^2)``; what is past the end lies infinitely far away.

    `panels` is (at least the panels needed, depth + 1, PANEL).
    """
    depth = features.shape[1]
    count = rows.shape[0]
    for p in range((count + PANEL - 1) // PANEL):
        for i in range(PANEL):
            position = p * PANEL + i
            if position >= count:
                for j in range(depth):
                    panels[p, j, i] = np.float32(0.0)
                panels[p, depth, i] = np.float32(np.inf)
                continue
            row = rows[position]
            norm = 0.0
            for j in range(depth):
                value = features[row, j] * scale - origin[j]
                panels[p, j, i] = value
                norm += np.float64(value) * np.float64(value)
            panels[p, depth, i] = np.float32(shrink * norm)


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
def play_pool(
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
    """Play the greedy choice among the rows of `pool`, as long as it cannot lie outside of it.

    A choice stands while it comes before ``(floor, floor_row)``: the largest squared distance
    outside of the pool and the first row that has it. Returns how many choices stand.
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
        own = np.float32(shrink * norms[best])
        for i in range(count):
            if bounds[best, i] + own < limits[i]:
                other = squared_distance(features[pool[i]], features[row])
                if other < minima[pool[i]]:
                    minima[pool[i]] = other
                    limits[i] = raised(other * square)
    return limit


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


@compiled
def cover(features: Any, rows: Any, minima: Any, squared_radius: float, added: Any) -> Any:
    """Add the farthest of `rows` until none is farther than the radius; return how many.

    `minima` (rows,) are the squared distances to what is there already.
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
    """Lower the squared distances ``minima[start:stop]`` of these rows by those to `centres`."""
    for i in range(start, stop):
        for centre in centres:
            minima[i] = min(minima[i], squared_distance(features[i], features[centre]))
