"""Compiled kernels: squared distances, either proved too large or computed directly.

A register-blocked matrix product in float32, for the coreset. For a block of `BLOCK` rows x and a
panel of `PANEL` rows y it computes a lower bound of ``|x - y|^2`` and marks, one bit per pair, the
pairs that may be below a row's limit. Only those are computed by direct difference in float64. The
expansion ``|x|^2 + |y|^2 - 2xy`` thus only saves work and affects no result.

Two constant components carry the norms through the product: rows are packed as ``(-2x, 1)`` and
panels as ``(y, shrink |y|^2)``. The product ``shrink |y|^2 - 2xy`` is compared with
``limit^2 - shrink |x|^2``. `shrink` is one minus the largest relative rounding error of the product
(see `shrink_for`), so that the bound holds in float32.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from typing import Any, TypeVar

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from patchbank import compiled as kernels

Function = TypeVar("Function", bound=Callable[..., Any])

# Allow reordering of sums, to fill vector registers, but nothing that breaks infinities.
_SUMS_MAY_BE_REORDERED = {"reassoc", "contract", "nsz"}


def compiled(function: Function) -> Function:
    """Compile a kernel whose sums may be reordered."""
    return kernels.compiled(function, fastmath=_SUMS_MAY_BE_REORDERED)


def _register_shape() -> tuple[int, int]:
    """Return the block rows and the float32 lanes per vector that fill this CPU's registers.

    The accumulators (block rows times two vectors) must leave room for two vectors and a broadcast.
    """
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 12, 16
    if features.get("avx2"):
        return 6, 8
    if platform.machine().lower() in {"arm64", "aarch64"}:
        return 12, 4
    return 6, 4


VECTORS = 2
BLOCK, LANES = _register_shape()
PANEL = VECTORS * LANES


def shrink_for(depth: int) -> float:
    """Return the factor for the norms that makes the float32 bound of `depth` components hold.

    The relative error of `depth` chained fused multiply-adds is at most ``depth u`` of the sum of
    magnitudes, itself at most ``2 (|x|^2 + |y|^2)``; rounding inputs and norms adds a few u.
    """
    unit_roundoff = 2.0**-24
    return 1.0 - (2 * depth + 32) * unit_roundoff


def _accumulate(context: Any, builder: Any, signature: Any, args: Any) -> list[Any]:
    """Emit the product of a block and a panel; return its accumulators row by row."""
    single, index = ir.FloatType(), ir.IntType(64)
    vector = ir.VectorType(single, LANES)
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
    sums = [builder.phi(vector) for _ in range(BLOCK * VECTORS)]
    for total in sums:
        total.add_incoming(ir.Constant(vector, [0.0] * LANES), entry)

    row = builder.gep(panel, [builder.mul(component, index(PANEL))])
    column = builder.gep(block, [builder.mul(component, index(BLOCK))])
    right = []
    for position in range(VECTORS):
        address = builder.gep(row, [index(position * LANES)])
        value = builder.load(builder.bitcast(address, vector.as_pointer()))
        value.align = 4
        right.append(value)
    updated = []
    for position in range(BLOCK):
        left = splat(builder, vector, builder.load(builder.gep(column, [index(position)])))
        for register, value in enumerate(right):
            product = builder.fmul(left, value, flags=("contract",))
            total = sums[position * VECTORS + register]
            updated.append(builder.fadd(product, total, flags=("contract",)))
    following = builder.add(component, index(1))
    component.add_incoming(following, loop)
    for total, value in zip(sums, updated, strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, depth), loop, done)
    builder.position_at_end(done)
    return updated


def splat(builder: Any, vector: Any, scalar: Any) -> Any:
    undefined = ir.Constant(vector, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
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
    """Write a bit mask per row of the panel's rows below its limit; return the OR of all."""
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
            bound = splat(builder, ir.VectorType(ir.FloatType(), LANES), scalar)
            bits = wide(0)
            for register in range(VECTORS):
                below = builder.fcmp_ordered("<", sums[position * VECTORS + register], bound)
                part = builder.zext(builder.bitcast(below, ir.IntType(LANES)), wide)
                bits = builder.or_(bits, builder.shl(part, wide(register * LANES)))
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
        pointer = ir.VectorType(ir.FloatType(), LANES).as_pointer()
        for position in range(BLOCK):
            row = builder.gep(output, [builder.mul(args[7], wide(position))])
            for register in range(VECTORS):
                address = builder.bitcast(builder.gep(row, [wide(register * LANES)]), pointer)
                builder.store(sums[position * VECTORS + register], address).align = 4
        return context.get_dummy_value()

    return signature, generate


# Numba supplies the first argument, so a type checker would complain.
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
    """Round a limit up to float32, so that rounding never excludes a row."""
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
    """Pack ``rows[start:stop]`` as ``(-2x, 1)``, with x centred and scaled; write ``|x|^2``.

    `blocks` is (at least the needed blocks, depth + 1, BLOCK); rows past the end are zero.
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
                # Scale before subtracting, so that extreme float32 values cannot overflow.
                value = features[row, j] * scale - origin[j]
                blocks[b, j, i] = np.float32(-2.0) * value
                norm += np.float64(value) * np.float64(value)
            blocks[b, depth, i] = np.float32(1.0)
            norms[position] = norm


@compiled
def pack_panels(
    features: Any, rows: Any, origin: Any, scale: Any, shrink: float, panels: Any
) -> None:
    """Pack `rows` as ``(y, shrink |y|^2)``; positions past the end are infinitely far away.

    `panels` is (at least the needed panels, depth + 1, PANEL).
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
