"""Recorded inspections as series of numbers, and what to compare the first of them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from patchbank.store.bank_content import BankContent
from patchbank.store.conditions import Condition

Floats = NDArray[np.float64]
Quartiles = tuple[float, float, float]

SERIES = ("score", "brightness", "sharpness", "outside")
# Rows and columns of the zones of an image.
_ZONES = 3


@dataclass(frozen=True, eq=False)
class Trail:
    """Inspections by a bank, oldest first, as arrays of n numbers; NaN where not recorded.

    Parameters
    ----------
    rows
        The inspections.
    quartiles
        Of the calibration scores, by bank version.
    """

    rows: Sequence[Condition]
    quartiles: Mapping[int, Quartiles]

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def values(self) -> dict[str, Floats]:
        """The numbers that are compared, by series.

        A bank that was changed gives other scores: they are compared as distances from the median
        of the calibration scores of the version that judged, in units of their interquartile range.
        """
        scores = _numbers([row.score for row in self.rows])
        for version, quartiles in self.quartiles.items():
            own = self.versions == version
            scores[own] = standardised(scores[own], quartiles)
        scores[~np.isin(self.versions, list(self.quartiles))] = np.nan
        return {
            "score": scores,
            "brightness": _numbers([row.brightness for row in self.rows]),
            "sharpness": _numbers([row.sharpness for row in self.rows]),
            "outside": np.array([share_outside(row) for row in self.rows], np.float64),
        }

    @cached_property
    def versions(self) -> NDArray[np.int64]:
        """The version of the bank that judged each."""
        return np.array([row.bank_version for row in self.rows], np.int64)

    @cached_property
    def shares_of_limit(self) -> Floats:
        """Each score as a share of the score above which an image fails."""
        limits = _numbers([row.fail_above for row in self.rows])
        scores = _numbers([row.score for row in self.rows])
        limits[~(limits > 0)] = np.nan
        return np.asarray(scores / limits, np.float64)

    @cached_property
    def not_passed(self) -> NDArray[np.bool_]:
        """Which did not pass."""
        return np.array([row.verdict != "pass" for row in self.rows], np.bool_)

    def map_outside(self, chosen: slice) -> NDArray[np.float64] | None:
        """Return the share of images in which each patch is outside, (rows, columns).

        Only of images with the most frequent grid; None if there are none with a grid.
        """
        rows = [row for row in self.rows[chosen] if row.outside is not None]
        if not rows or self.grid is None:
            return None
        maps = [grid_outside(row) for row in rows if (row.grid_rows, row.grid_columns) == self.grid]
        return np.asarray(np.mean(maps, axis=0), np.float64) if maps else None

    @cached_property
    def grid(self) -> tuple[int, int] | None:
        """The most frequent rows and columns of patches."""
        grids = [
            (row.grid_rows, row.grid_columns)
            for row in self.rows
            if row.outside is not None
            and row.grid_rows is not None
            and row.grid_columns is not None
        ]
        return max(set(grids), key=grids.count) if grids else None


def references_of(bank: BankContent, quartiles: Quartiles | None) -> dict[str, Floats]:
    """Return what the first images are compared with: the numbers of a bank's references.

    There are none of patches outside, and none of the light in banks of earlier versions. Of a
    group of references, which depend on one another, one stands for all.
    """
    scores = bank.scores.rows(bank.scores.counts)
    grouped = scores.group >= 0
    chosen = ~grouped
    chosen[np.flatnonzero(grouped)[np.unique(scores.group[grouped], return_index=True)[1]]] = True
    counted = scores.score[chosen].astype(np.float64)
    images = bank.images
    if grouped.any():
        images = [images[slot] for slot in scores.image[chosen] if slot >= 0]
    return {
        "score": np.empty(0) if quartiles is None else standardised(counted, quartiles),
        "brightness": _known([image.brightness for image in images]),
        "sharpness": _known([image.sharpness for image in images]),
        "outside": np.empty(0),
    }


def standardised(scores: Floats, quartiles: Quartiles) -> Floats:
    """Return scores as distances from the median in units of the interquartile range."""
    low, middle, high = quartiles
    return (scores - middle) / ((high - low) or 1.0)


def grid_outside(row: Condition) -> NDArray[np.bool_]:
    """Return which patches of an image are outside, bool (rows, columns)."""
    assert row.outside is not None
    assert row.grid_rows is not None
    assert row.grid_columns is not None
    bits = np.unpackbits(np.frombuffer(row.outside, np.uint8))
    return bits[: row.grid_rows * row.grid_columns].reshape(row.grid_rows, row.grid_columns) > 0


def share_outside(row: Condition) -> float:
    """Return the share of an image's patches that are outside; NaN where not recorded."""
    if row.outside is None or not row.grid_rows or not row.grid_columns:
        return np.nan
    return int.from_bytes(row.outside, "big").bit_count() / (row.grid_rows * row.grid_columns)


def zones(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the means of a map over its nine zones, (3, 3)."""
    return np.array(
        [
            [part.mean() for part in np.array_split(band, _ZONES, axis=1)]
            for band in np.array_split(shares, _ZONES, axis=0)
        ]
    )


def _numbers(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], np.float64)


def _known(values: Sequence[float | None]) -> Floats:
    return np.array([value for value in values if value is not None], np.float64)
