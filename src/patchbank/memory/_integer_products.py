"""Compiled kernels: integer inner products that rule out pairs of rows.

Coordinates rounded to 16-bit integers are multiplied in pairs and summed in 32 bits: two products
in the time of one in float32. Integer sums are exact in any order, so the only error is the
rounding of the coordinates, which is known for every row.

A *block* holds `BLOCK` queries and a *panel* `PANEL` bank rows, both int16 as ``[pair of
components][row][two components]``. For a query x and a row y the kernels compute the *score*
``xy - floor(|y|^2 / 2)``. The larger the score, the nearer the row:
``|x - y|^2 >= |x|^2 - 2 score - 1``.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from patchbank.memory._products import BLOCK, LANES, PANEL, VECTORS, splat

#: Largest length of a rounded row; scores and their partial sums then fit into 32 bits.
LONGEST = 32_000

_HALF, _WORD, _WIDE = ir.IntType(16), ir.IntType(32), ir.IntType(64)
_HALVES = ir.VectorType(_HALF, 2 * LANES)
_WORDS = ir.VectorType(_WORD, LANES)


def _sums_of_pairs(builder: Any, left: Any, right: Any) -> Any:
    """Emit products of 16-bit integers, each pair added into a 32-bit integer.

    LLVM emits a single instruction if there is one, including the addition that follows (AVX-512
    VNNI: vpdpwssd) or not (SSE2 to AVX-512: pmaddwd).
    """
    wide = ir.VectorType(_WORD, 2 * LANES)
    products = builder.mul(builder.sext(left, wide), builder.sext(right, wide))
    undefined = ir.Constant(wide, ir.Undefined)
    first, second = (
        ir.Constant(_WORDS, [2 * lane + part for lane in range(LANES)]) for part in (0, 1)
    )
    return builder.add(
        builder.shuffle_vector(products, undefined, first),
        builder.shuffle_vector(products, undefined, second),
    )


def _scores(context: Any, builder: Any, signature: Any, args: Any, rows: int) -> list[Any]:
    """Emit the scores of `rows` queries of a block and a panel, query by query."""
    blocks, block_offset, panels, panel_offset, pairs, half_norms, norm_offset = args[:7]
    data = [
        context.make_array(kind)(context, builder, value).data
        for kind, value in zip(
            (signature.args[0], signature.args[2], signature.args[5]),
            (blocks, panels, half_norms),
            strict=True,
        )
    ]
    block = builder.bitcast(builder.gep(data[0], [block_offset]), _WORD.as_pointer())
    panel = builder.gep(data[1], [panel_offset])
    norms = builder.gep(data[2], [norm_offset])

    def load(pointer: Any, kind: Any, alignment: int) -> Any:
        value = builder.load(builder.bitcast(pointer, kind.as_pointer()))
        value.align = alignment
        return value

    zero = ir.Constant(_WORDS, [0] * LANES)
    first = [
        builder.sub(zero, load(builder.gep(norms, [_WIDE(register * LANES)]), _WORDS, 4))
        for register in range(VECTORS)
    ]
    entry = builder.block
    loop = builder.append_basic_block("pair")
    done = builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    pair = builder.phi(_WIDE)
    pair.add_incoming(_WIDE(0), entry)
    sums = [builder.phi(_WORDS) for _ in range(rows * VECTORS)]
    for position, total in enumerate(sums):
        total.add_incoming(first[position % VECTORS], entry)
    row = builder.gep(panel, [builder.mul(pair, _WIDE(2 * PANEL))])
    column = builder.gep(block, [builder.mul(pair, _WIDE(BLOCK))])
    right = [
        load(builder.gep(row, [_WIDE(register * 2 * LANES)]), _HALVES, 2)
        for register in range(VECTORS)
    ]
    updated = []
    for position in range(rows):
        query_pair = load(builder.gep(column, [_WIDE(position)]), _WORD, 4)
        left = builder.bitcast(splat(builder, _WORDS, query_pair), _HALVES)
        for register, value in enumerate(right):
            total = sums[position * VECTORS + register]
            updated.append(builder.add(total, _sums_of_pairs(builder, left, value)))
    following = builder.add(pair, _WIDE(1))
    pair.add_incoming(following, loop)
    for total, value in zip(sums, updated, strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", following, pairs), loop, done)
    builder.position_at_end(done)
    return updated


def _panel_reach(
    typing: Any,
    blocks: Any,
    block_offset: Any,
    panels: Any,
    panel_offset: Any,
    pairs: Any,
    half_norms: Any,
    norm_offset: Any,
    thresholds: Any,
    threshold_offset: Any,
    masks: Any,
) -> Any:
    """Write a bit mask per query of the panel's rows that reach its threshold; return their OR.

    The arguments are arrays with element offsets, and the number of component pairs.
    """
    signature = types.int64(
        *(blocks, types.intp, panels, types.intp, types.intp, half_norms, types.intp),
        *(thresholds, types.intp, masks),
    )

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        scores = _scores(context, builder, signature, args, BLOCK)
        threshold = context.make_array(signature.args[7])(context, builder, args[7]).data
        threshold = builder.gep(threshold, [args[8]])
        mask = context.make_array(signature.args[9])(context, builder, args[9]).data
        union = _WIDE(0)
        for position in range(BLOCK):
            scalar = builder.load(builder.gep(threshold, [_WIDE(position)]))
            least = splat(builder, _WORDS, scalar)
            bits = _WIDE(0)
            for register in range(VECTORS):
                reached = builder.icmp_signed(">=", scores[position * VECTORS + register], least)
                part = builder.zext(builder.bitcast(reached, ir.IntType(LANES)), _WIDE)
                bits = builder.or_(bits, builder.shl(part, _WIDE(register * LANES)))
            builder.store(bits, builder.gep(mask, [_WIDE(position)]))
            union = builder.or_(union, bits)
        return union

    return signature, generate


def _scores_into(rows: int) -> Any:
    def panel_scores(
        typing: Any,
        blocks: Any,
        block_offset: Any,
        panels: Any,
        panel_offset: Any,
        pairs: Any,
        half_norms: Any,
        norm_offset: Any,
        scores: Any,
        score_offset: Any,
        score_stride: Any,
    ) -> Any:
        """Write the scores of a block's queries and a panel's rows."""
        signature = types.void(
            *(blocks, types.intp, panels, types.intp, types.intp, half_norms, types.intp),
            *(scores, types.intp, types.intp),
        )

        def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            values = _scores(context, builder, signature, args, rows)
            output = context.make_array(signature.args[7])(context, builder, args[7]).data
            output = builder.gep(output, [args[8]])
            for position in range(rows):
                row = builder.gep(output, [builder.mul(args[9], _WIDE(position))])
                for register in range(VECTORS):
                    address = builder.gep(row, [_WIDE(register * LANES)])
                    address = builder.bitcast(address, _WORDS.as_pointer())
                    value = values[position * VECTORS + register]
                    builder.store(value, address).align = 4
            return context.get_dummy_value()

        return signature, generate

    return panel_scores


def _lowest_bit(typing: Any, bits: Any) -> Any:
    """Return the number of the lowest set bit."""

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), generate


# Numba supplies the first argument, so a type checker would complain.
lowest_bit: Any = intrinsic(_lowest_bit)
panel_reach: Any = intrinsic(_panel_reach)
#: Scores of all queries of a block, and of the single query at the block's offset.
block_scores: Any = intrinsic(_scores_into(BLOCK))
query_scores: Any = intrinsic(_scores_into(1))
