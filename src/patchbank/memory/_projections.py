"""Compiled kernels: project rows of features to short vectors of 16-bit integers."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from patchbank.memory._integer_products import LONGEST
from patchbank.memory._products import PANEL, compiled

# Half the squared length of an empty position: so large that it rarely looks promising.
_NO_ROW = 2**30


class Projection(NamedTuple):
    """A projection of rows to short integer vectors.

    Attributes
    ----------
    origin
        float64 (d,): subtracted first.
    basis
        float64 (components, d), orthonormal rows: the components kept, besides the length of the
        rest.
    factor
        The scale from features to integers.
    slack
        Largest error of the float64 computation, as a share of a row's length.
    """

    origin: npt.NDArray[np.float64]
    basis: npt.NDArray[np.float64]
    factor: float
    slack: float


class Panels(NamedTuple):
    """Rounded rows, in panels.

    Attributes
    ----------
    values
        int16 (panels, pairs, PANEL, 2).
    half_norms
        int32 (panels * PANEL,): half of each squared length, rounded down.
    """

    values: npt.NDArray[np.int16]
    half_norms: npt.NDArray[np.int32]


class Work(NamedTuple):
    """The buffers for projecting rows."""

    centred: npt.NDArray[np.float64]
    projected: npt.NDArray[np.float64]
    lengths: npt.NDArray[np.float64]


def work_for(rows: int, projection: Projection) -> Work:
    """Return buffers for projecting up to `rows` rows at once."""
    components, dimensions = projection.basis.shape
    rows = -(-rows // 4) * 4
    return Work(np.zeros((rows, dimensions)), np.zeros((rows, components + 1)), np.zeros(rows))


def pairs_of(components: int) -> int:
    """Return the number of integer pairs for the components and the length of the rest."""
    return components // 2 + 1


@compiled
def project(features: Any, rows: Any, projection: Any, work: Any) -> None:
    """Write the rows' coordinates and the lengths of the rest, in integer units, into `work`.

    Distances between these vectors are at most those between the rows: by the triangle inequality,
    the rests differ by at least the difference of their lengths. Negative numbers in `rows` are
    empty positions.
    """
    centred, projected = work.centred, work.projected
    dimensions = features.shape[1]
    count = projection.basis.shape[0]
    for i in range(rows.shape[0]):
        norm = 0.0
        if rows[i] >= 0:
            for j in range(dimensions):
                value = np.float64(features[rows[i], j]) - projection.origin[j]
                value *= projection.factor
                centred[i, j] = value
                norm += value * value
        work.lengths[i] = np.sqrt(norm)
    # Four rows at a time, so that each component is read once for all four.
    for i in range(0, rows.shape[0], 4):
        for k in range(count):
            a = b = c = d = 0.0
            for j in range(dimensions):
                component = projection.basis[k, j]
                a += component * centred[i, j]
                b += component * centred[i + 1, j]
                c += component * centred[i + 2, j]
                d += component * centred[i + 3, j]
            projected[i, k] = a
            projected[i + 1, k] = b
            projected[i + 2, k] = c
            projected[i + 3, k] = d
    for i in range(rows.shape[0]):
        inside = 0.0
        for k in range(count):
            inside += projected[i, k] * projected[i, k]
        projected[i, count] = np.sqrt(max(0.0, work.lengths[i] ** 2 - inside))


@compiled
def write_rounded(
    projected: Any, length: float, slack: float, values: Any, width: int, at: int
) -> Any:
    """Round a vector into position `at` of a block or panel `width` wide, `values` (flat).

    A vector longer than `LONGEST` is first shrunk to that length: projecting onto a convex set does
    not increase distances, so lower bounds remain valid.

    Return the squared length of the integers and the largest rounding error.
    """
    shrink = min(1.0, LONGEST / max(length, 1.0))
    error = 0.0
    squared_length = 0.0
    for k in range(projected.shape[0]):
        exact = projected[k] * shrink
        rounded = np.rint(exact)
        values[(k // 2) * 2 * width + 2 * at + k % 2] = np.int16(rounded)
        error += (exact - rounded) ** 2
        squared_length += rounded * rounded
    return squared_length, np.sqrt(error) + slack * length * shrink


@compiled
def pack_panels(
    features: Any,
    order: Any,
    projection: Any,
    first_panel: int,
    last_panel: int,
    panels: Any,
    work: Any,
) -> Any:
    """Pack rows ``features[order]`` into panels; return the largest rounding error and length.

    Negative numbers in `order` (panels * PANEL,) are empty positions.
    """
    largest_error, largest_length = 0.0, 0.0
    for p in range(first_panel, last_panel):
        values = panels.values[p].reshape(-1)
        project(features, order[p * PANEL : (p + 1) * PANEL], projection, work)
        for i in range(PANEL):
            position = p * PANEL + i
            panels.half_norms[position] = _NO_ROW
            if order[position] < 0:
                continue
            length = work.lengths[i]
            squared, error = write_rounded(
                work.projected[i], length, projection.slack, values, PANEL, i
            )
            panels.half_norms[position] = np.int32(np.floor(squared / 2))
            largest_error = max(largest_error, error)
            largest_length = max(largest_length, length)
    return largest_error, largest_length


@compiled
def shorten(values: Any, width: int, at: int, short: Any) -> None:
    """Write the leading components of a rounded vector and the length of the others into `short`.

    Both are blocks or panels `width` wide (flat), with the vector at position `at`. By the
    Cauchy-Schwarz inequality, and because the length is rounded up, the inner product of two
    shortened vectors is at least that of the full ones.
    """
    kept = short.shape[0] // width - 1
    rest = np.int64(0)
    for k in range(values.shape[0] // width):
        value = np.int64(values[(k // 2) * 2 * width + 2 * at + k % 2])
        if k < kept:
            short[(k // 2) * 2 * width + 2 * at + k % 2] = value
        else:
            rest += value * value
    short[(kept // 2) * 2 * width + 2 * at + kept % 2] = np.int16(np.ceil(np.sqrt(rest)))


@compiled
def shorten_panels(panels: Any, short: Any) -> None:
    """Shorten all rows of the panels into `short`, int16 (panels, pairs, PANEL, 2)."""
    for p in range(panels.shape[0]):
        for i in range(PANEL):
            shorten(panels[p].reshape(-1), PANEL, i, short[p].reshape(-1))


@compiled
def average_panels(order: Any, panels: Any, centres: Any) -> None:
    """Write the mean of each panel's rows into `centres`, which are zero.

    The centre of a panel without rows is as far away as an empty position.
    """
    flat = centres.values.reshape(-1)
    pairs = panels.values.shape[1]
    for p in range(panels.values.shape[0]):
        count = 0
        for i in range(PANEL):
            count += order[p * PANEL + i] >= 0
        if count == 0:
            centres.half_norms[p] = _NO_ROW
            continue
        at = (p // PANEL) * pairs * PANEL * 2 + 2 * (p % PANEL)
        squared = np.int64(0)
        for k in range(2 * pairs):
            total = np.int64(0)
            for i in range(PANEL):
                if order[p * PANEL + i] >= 0:
                    total += np.int64(panels.values[p, k // 2, i, k % 2])
            mean = total // count
            flat[at + (k // 2) * PANEL * 2 + k % 2] = mean
            squared += mean * mean
        centres.half_norms[p] = squared // 2
