"""Prepare a memory bank for the neighbour search: components, row order, integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchbank.compiler import compiles
from patchbank.memory._matrices import FloatMatrix, typical_row
from patchbank.memory._parallel import TileWorker, for_tiles
from patchbank.memory._plain import PlainBank
from patchbank.memory.threads import one_blas_thread

if TYPE_CHECKING:
    from patchbank.memory._neighbour_kernels import Bank
    from patchbank.memory._projections import Panels, Projection

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Rows from which the leading components are estimated.
_SAMPLE = 2048
# Candidate numbers of components: odd, so that with the length of the rest they fill pairs.
_CHOICES = range(15, 128, 8)
# Trial queries, and rows to compare them with, when the number is chosen.
_TRIED_QUERIES, _TRIED_ROWS = 48, 2048
# Up to this many dimensions, all components are computed directly.
_SMALL = 512
# Pairs of a shortened row: eleven components and the length of the others. Shortening only pays for
# rows with at least twice as many.
_SHORT_PAIRS = 6
# Share of the row pairs then multiplied in full, plus a little for projecting the queries.
_WHOLE_AFTER_SHORT = 0.5
# Coordinates that determine the row order.
_ORDERED_BY = 12
# The length, relative to the median row, above which a row is shrunk before rounding.
_ROOM = 4.0


def laid_out(
    bank: FloatMatrix, groups: Integers | None
) -> tuple[Projection | None, Bank | PlainBank]:
    """Return a bank (m, d) and its groups (m,), prepared for the search."""
    groups = np.empty(0, np.int64) if groups is None else groups
    if not compiles():
        return None, PlainBank(bank, groups, np.ones(len(bank), np.bool_))
    from patchbank.memory import _integer_products as integer_products
    from patchbank.memory import _neighbour_kernels as kernels
    from patchbank.memory import _products as products
    from patchbank.memory import _projections as projections

    origin = typical_row(bank).astype(np.float64)
    squared = np.empty(len(bank))

    def make_worker() -> TileWorker:
        return lambda start, stop: products.squared_distances_to(bank, start, stop, origin, squared)

    for_tiles(len(bank), 2048, make_worker)
    longest = float(squared.max()) ** 0.5 or 1.0
    typical = float(np.median(squared)) ** 0.5 or longest
    # Threads gain little on such small matrices, and cost a hundredfold where others keep the cores
    # busy: each waits for the other to be given one.
    with one_blas_thread():
        basis = _leading_components(bank, origin, longest)
        basis = np.ascontiguousarray(basis[: _component_count(bank, origin, basis)])
        coordinates = _coordinates(bank, origin, basis[:_ORDERED_BY])
    projection = projections.Projection(
        origin,
        basis,
        integer_products.LONGEST / (_ROOM * typical),
        # Subtracting squares may lose half of a length's digits.
        4.0 * float(np.sqrt(bank.shape[1] * np.finfo(np.float64).eps)),
    )

    order = _cluster_order(coordinates, products.PANEL)
    panels, error, longest_integers = _rounded(bank, order, projection)
    return projection, kernels.Bank(
        bank,
        groups,
        order,
        panels,
        _shortened(panels),
        _centres(order, panels),
        error,
        longest_integers <= integer_products.LONGEST,
    )


def without_rows(bank: Bank | PlainBank, rows: Integers) -> Bank | PlainBank:
    """Return a bank without groups with `rows` removed; the others keep their numbers."""
    if isinstance(bank, PlainBank):
        present = bank.present.copy()
        present[rows] = False
        return bank._replace(present=present)
    # The last element is for empty positions, which have row -1.
    is_removed = np.zeros(len(bank.features) + 1, np.bool_)
    is_removed[rows] = True
    return bank._replace(order=np.where(is_removed[bank.order], -1, bank.order))


def with_rows(
    bank: Bank | PlainBank, projection: Projection | None, features: FloatMatrix
) -> Bank | PlainBank:
    """Return a bank without groups with rows added, using the same components.

    `features` (m + a, d) are the bank's m rows and the new ones. Bounds hold for any rows, but are
    tightest for the rows that the components were computed from.
    """
    if isinstance(bank, PlainBank):
        added = np.ones(len(features) - len(bank.features), np.bool_)
        return bank._replace(features=features, present=np.append(bank.present, added))
    assert projection is not None
    from patchbank.memory import _integer_products as integer_products
    from patchbank.memory import _products as products
    from patchbank.memory import _projections as projections

    # Refill a last panel that is not full; otherwise many small changes would leave many nearly
    # empty panels.
    last = bank.order[-products.PANEL :]
    kept = len(bank.order) - (0 if (last >= 0).all() else products.PANEL)
    refilled = bank.order[kept:]
    rows = np.concatenate([refilled[refilled >= 0], np.arange(len(bank.features), len(features))])
    leading = projection.basis[:_ORDERED_BY]
    order = _cluster_order(_coordinates(features[rows], projection.origin, leading), products.PANEL)
    order = np.where(order < 0, -1, rows[order])
    new, error, longest_integers = _rounded(features, order, projection)
    kept_panels = kept // products.PANEL
    order = np.concatenate([bank.order[:kept], order])
    panels = projections.Panels(
        np.concatenate([bank.panels.values[:kept_panels], new.values]),
        np.concatenate([bank.panels.half_norms[:kept], new.half_norms]),
    )
    return bank._replace(
        features=features,
        order=order,
        panels=panels,
        short=np.concatenate([bank.short[:kept_panels], _shortened(new)]),
        centres=_centres(order, panels),
        error=max(bank.error, error),
        whole=bank.whole and longest_integers <= integer_products.LONGEST,
    )


def _shortened(panels: Panels) -> npt.NDArray[np.int16]:
    """Return the panels' rows shortened, or without pairs if that would not pay."""
    from patchbank.memory import _products as products
    from patchbank.memory import _projections as projections

    count, pairs = panels.values.shape[:2]
    short_pairs = _SHORT_PAIRS if pairs >= 2 * _SHORT_PAIRS else 0
    short = np.zeros((count, short_pairs, products.PANEL, 2), np.int16)
    if short_pairs:
        projections.shorten_panels(panels.values, short)
    return short


def _centres(order: Integers, panels: Panels) -> Panels:
    """Return the rounded mean of each panel's rows, in panels."""
    from patchbank.memory import _products as products
    from patchbank.memory import _projections as projections

    count = -(-len(order) // products.PANEL**2)
    centres = projections.Panels(
        np.zeros((count, *panels.values.shape[1:]), np.int16),
        np.zeros(count * products.PANEL, np.int32),
    )
    projections.average_panels(order, panels, centres)
    return centres


def _coordinates(bank: FloatMatrix, origin: Floats, basis: Floats) -> FloatMatrix:
    """Return the rows' float32 coordinates without a float64 copy of the whole bank."""
    starts = range(0, len(bank), 2048)
    parts = [(bank[start : start + 2048] - origin) @ basis.T for start in starts]
    return np.concatenate(parts, dtype=np.float32)


def _rounded(
    features: FloatMatrix, order: Integers, projection: Projection
) -> tuple[Panels, float, float]:
    """Return rows in panels, the largest rounding error and the largest length."""
    from patchbank.memory import _products as products
    from patchbank.memory import _projections as projections

    count = len(order) // products.PANEL
    components = len(projection.basis)
    panels = projections.Panels(
        np.zeros((count, projections.pairs_of(components), products.PANEL, 2), np.int16),
        np.empty(len(order), np.int32),
    )
    results: list[tuple[float, float]] = []

    def make_worker() -> TileWorker:
        work = projections.work_for(products.PANEL, projection)
        return lambda start, stop: results.append(
            projections.pack_panels(features, order, projection, start, stop, panels, work)
        )

    for_tiles(count, 16, make_worker)
    errors, lengths = zip(*results, strict=True)
    return panels, max(errors), max(lengths)


def _cluster_order(coordinates: FloatMatrix, size: int) -> Integers:
    """Return an order in which each `size` rows are close together, padded with -1.

    This is a k-d tree: rows are split at the median of the coordinate with the largest spread until
    they fit.
    """
    order: list[Integers] = []
    waiting = [np.arange(len(coordinates))]
    while waiting:
        rows = waiting.pop()
        pieces = -(-len(rows) // size)
        if pieces == 1:
            order.append(rows)
            continue
        part = coordinates[rows]
        axis = int((part.max(axis=0) - part.min(axis=0)).argmax())
        half = pieces // 2 * size
        sides = np.argpartition(part[:, axis], half - 1)
        waiting += [rows[sides[half:]], rows[sides[:half]]]
    order.append(np.full(-len(coordinates) % size, -1))
    return np.concatenate(order)


def _leading_components(bank: FloatMatrix, origin: Floats, longest: float) -> Floats:
    """Return orthonormal rows that approximate the bank's leading principal components.

    Any orthonormal rows give a valid bound; these give a tight one.
    """
    # Squares of extreme float32 values fit into float64, but fourth powers may not.
    sample = (bank[:: max(1, len(bank) // _SAMPLE)] - origin) / longest
    dimensions = bank.shape[1]
    count = min(_CHOICES[-1], dimensions)
    if dimensions <= _SMALL:
        vectors: Floats = np.linalg.eigh(sample.T @ sample).eigenvectors
        return np.ascontiguousarray(vectors[:, ::-1][:, :count].T)
    # Subspace iteration, fast in any number of dimensions; the last step sorts the components.
    start = np.random.default_rng(0).standard_normal((dimensions, count))
    basis = np.linalg.qr(start).Q
    for _ in range(3):
        basis = np.linalg.qr(sample.T @ (sample @ basis) + 1e-12 * start).Q
    inside = sample @ basis
    rotation = np.linalg.eigh(inside.T @ inside).eigenvectors[:, ::-1]
    return np.ascontiguousarray(np.linalg.qr(basis @ rotation).Q.T)


def _component_count(bank: FloatMatrix, origin: Floats, basis: Floats) -> int:
    """Return the number of components that makes searching this bank fastest.

    Each component adds a little cost to every pair and rules out more pairs. The effect is measured
    with some rows of the bank as queries for some others. They are farther away than patches of
    good parts are from the whole bank, about as far as those of a defect. Only speed depends on it.
    """
    from patchbank.memory._projections import pairs_of

    rows = bank[:: -(-len(bank) // _TRIED_ROWS)] - origin
    queries = rows[:: -(-len(rows) // _TRIED_QUERIES)]
    query_norms, row_norms = np.square(queries).sum(axis=1), np.square(rows).sum(axis=1)
    squared = query_norms[:, None] + row_norms - 2 * queries @ rows.T
    squared[squared < 1e-9 * row_norms.max()] = np.inf
    nearest = squared.min(axis=1, initial=row_norms.max())
    left, right = queries @ basis.T, rows @ basis.T
    # What remains of the squared lengths after each number of components.
    rests = np.maximum(query_norms - np.cumsum(np.square(left), axis=1).T, 0.0)
    row_rests = np.maximum(row_norms - np.cumsum(np.square(right), axis=1).T, 0.0)
    limits = (query_norms - nearest)[:, None] + row_norms
    best, least = len(basis), np.inf
    for count in [count for count in _CHOICES if count <= len(basis)]:
        products = left[:, :count] @ right[:, :count].T
        products += np.outer(np.sqrt(rests[count - 1]), np.sqrt(row_rests[count - 1]))
        share = float((2 * products > limits).mean())
        # Cycles per pair, measured on AVX-512: 1/32 per component, for only a third to a half of
        # the pairs if shortened rows rule out the others; in full, 40 plus 0.65 per dimension.
        shortened = pairs_of(count) >= 2 * _SHORT_PAIRS
        whole = _WHOLE_AFTER_SHORT if shortened else 1.0
        cost = whole * count / 32 + share * (40 + 0.65 * bank.shape[1])
        if cost < least:
            best, least = count, cost
    return best
