"""Lay a memory bank out for the neighbour search: components, order of the rows, integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from patchbank.compiler import compiles
from patchbank.memory._matrices import FloatMatrix, typical_row
from patchbank.memory._parallel import TileWorker, for_tiles
from patchbank.memory._plain import PlainBank

if TYPE_CHECKING:
    from patchbank.memory._neighbour_kernels import Bank
    from patchbank.memory._projections import Panels, Projection

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

# Rows that the leading components are estimated from.
_SAMPLE = 2048
# Numbers of components to choose from: with the length of the rest, they fill pairs.
_CHOICES = range(15, 128, 8)
# Rows that play queries, and rows they meet, when the number is chosen.
_TRIED_QUERIES, _TRIED_ROWS = 48, 2048
# Up to here, all components are found at once.
_SMALL = 512
# Pairs of a shortened row: eleven components and the length of the others. Where a row has not even
# twice as many, shortening does not pay.
_SHORT_PAIRS = 6
# Share of the pairs that are then multiplied whole, and a little for projecting the queries.
_WHOLE_AFTER_SHORT = 0.5
# Coordinates by which rows are put in order.
_ORDERED_BY = 12
# How long a row may be before it is moved to be rounded, in those of the median row.
_ROOM = 4.0


def laid_out(
    bank: FloatMatrix, groups: Integers | None
) -> tuple[Projection | None, Bank | PlainBank]:
    """Return a bank (m, d) and its groups (m,) as the search wants them."""
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
    basis = _leading_components(bank, origin, longest)
    basis = np.ascontiguousarray(basis[: _component_count(bank, origin, basis)])
    projection = projections.Projection(
        origin,
        basis,
        integer_products.LONGEST / (_ROOM * typical),
        # Of a length that is left when squares are subtracted, half of the digits may be lost.
        4.0 * float(np.sqrt(bank.shape[1] * np.finfo(np.float64).eps)),
    )

    order = _cluster_order(_coordinates(bank, origin, basis[:_ORDERED_BY]), products.PANEL)
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
    """Return a bank without groups whose `rows` are gone; the others keep their numbers."""
    if isinstance(bank, PlainBank):
        present = bank.present.copy()
        present[rows] = False
        return bank._replace(present=present)
    # The last is for the -1 of no row.
    is_gone = np.zeros(len(bank.features) + 1, np.bool_)
    is_gone[rows] = True
    return bank._replace(order=np.where(is_gone[bank.order], -1, bank.order))


def with_rows(
    bank: Bank | PlainBank, projection: Projection | None, features: FloatMatrix
) -> Bank | PlainBank:
    """Return a bank without groups that has more rows, on the components it has.

    `features` (m + a, d) are the bank's m rows and those that come. Bounds hold for any rows; they
    are tightest for those that the components were chosen by.
    """
    if isinstance(bank, PlainBank):
        added = np.ones(len(features) - len(bank.features), np.bool_)
        return bank._replace(features=features, present=np.append(bank.present, added))
    assert projection is not None
    from patchbank.memory import _integer_products as integer_products
    from patchbank.memory import _products as products
    from patchbank.memory import _projections as projections

    # A last panel that is not full is laid out again with what comes, or many small changes would
    # leave as many panels that hold next to nothing.
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
    """Return the rows of panels shortened, or without pairs where that would not pay."""
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
    """Return the rows' coordinates, to float32, without a float64 copy of the whole bank."""
    starts = range(0, len(bank), 2048)
    parts = [(bank[at : at + 2048] - origin) @ basis.T for at in starts]
    return np.concatenate(parts, dtype=np.float32)


def _rounded(
    features: FloatMatrix, order: Integers, projection: Projection
) -> tuple[Panels, float, float]:
    """Return rows as panels, the largest rounding error and the largest length."""
    from patchbank.memory import _products as products
    from patchbank.memory import _projections as projections

    count = len(order) // products.PANEL
    components = len(projection.basis)
    panels = projections.Panels(
        np.zeros((count, projections.pairs_of(components), products.PANEL, 2), np.int16),
        np.empty(len(order), np.int32),
    )
    found: list[tuple[float, float]] = []

    def make_worker() -> TileWorker:
        work = projections.work_for(products.PANEL, projection)
        return lambda start, stop: found.append(
            projections.pack_panels(features, order, projection, start, stop, panels, work)
        )

    for_tiles(count, 16, make_worker)
    errors, lengths = zip(*found, strict=True)
    return panels, max(errors), max(lengths)


def _cluster_order(coordinates: FloatMatrix, size: int) -> Integers:
    """Return an order in which each `size` rows are near one another, filled up with -1.

    A k-d tree: rows are halved at the median of the coordinate that spreads most, until they fit.
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
    """Return orthonormal rows that span about the bank's leading principal components.

    Any orthonormal rows give a true bound; these give a tight one.
    """
    # Squares of the extremes of float32 stay within float64, products of four need not.
    sample = (bank[:: max(1, len(bank) // _SAMPLE)] - origin) / longest
    dimensions = bank.shape[1]
    count = min(_CHOICES[-1], dimensions)
    if dimensions <= _SMALL:
        vectors: Floats = np.linalg.eigh(sample.T @ sample).eigenvectors
        return np.ascontiguousarray(vectors[:, ::-1][:, :count].T)
    # Subspace iteration, quick in any number of dimensions; its last step sorts the components.
    start = np.random.default_rng(0).standard_normal((dimensions, count))
    basis = np.linalg.qr(start).Q
    for _ in range(3):
        basis = np.linalg.qr(sample.T @ (sample @ basis) + 1e-12 * start).Q
    inside = sample @ basis
    turn = np.linalg.eigh(inside.T @ inside).eigenvectors[:, ::-1]
    return np.ascontiguousarray(np.linalg.qr(basis @ turn).Q.T)


def _component_count(bank: FloatMatrix, origin: Floats, basis: Floats) -> int:
    """Return how many components make the search of this bank cheapest.

    A component more costs every pair a little and rules out more pairs. How many are left is tried
    with some rows of the bank as queries of some others, which are farther from them than good
    patches are from the whole bank: as far as those of a defect. Only speed depends on it.
    """
    from patchbank.memory._projections import pairs_of

    rows = bank[:: -(-len(bank) // _TRIED_ROWS)] - origin
    queries = rows[:: -(-len(rows) // _TRIED_QUERIES)]
    query_norms, row_norms = np.square(queries).sum(axis=1), np.square(rows).sum(axis=1)
    squared = query_norms[:, None] + row_norms - 2 * queries @ rows.T
    squared[squared < 1e-9 * row_norms.max()] = np.inf
    nearest = squared.min(axis=1, initial=row_norms.max())
    left, right = queries @ basis.T, rows @ basis.T
    # What is left of the squared lengths after so many components.
    rests = np.maximum(query_norms - np.cumsum(np.square(left), axis=1).T, 0.0)
    row_rests = np.maximum(row_norms - np.cumsum(np.square(right), axis=1).T, 0.0)
    limits = (query_norms - nearest)[:, None] + row_norms
    best, least = len(basis), np.inf
    for count in [count for count in _CHOICES if count <= len(basis)]:
        products = left[:, :count] @ right[:, :count].T
        products += np.outer(np.sqrt(rests[count - 1]), np.sqrt(row_rests[count - 1]))
        share = float((2 * products > limits).mean())
        # Cycles of a pair, as measured on AVX-512: a component 1/32, of a third to a half of the
        # pairs where shortened rows rule out the others; in full 40, and 0.65 for a dimension.
        shortened = pairs_of(count) >= 2 * _SHORT_PAIRS
        whole = _WHOLE_AFTER_SHORT if shortened else 1.0
        cost = whole * count / 32 + share * (40 + 0.65 * bank.shape[1])
        if cost < least:
            best, least = count, cost
    return best
