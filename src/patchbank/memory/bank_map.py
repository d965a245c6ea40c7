"""A memory bank as a map: its patches in the plane, and how well each is covered by others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from patchbank.memory.neighbours import NeighbourIndex


class BankMap(NamedTuple):
    """Some rows of a bank on its two leading principal components.

    Attributes
    ----------
    rows
        int64 (n,), ascending: which rows of the bank.
    positions
        float64 (n, 2): coordinates on the components, the leading one first, about their mean.
    explained
        float64 (2,): the share of the rows' variance that each component has.
    distances
        float32 (n,): to the nearest row of another image; infinite without another image.
    """

    rows: npt.NDArray[np.int64]
    positions: npt.NDArray[np.float64]
    explained: npt.NDArray[np.float64]
    distances: npt.NDArray[np.float32]


def map_of_bank(
    features: npt.NDArray[np.float32],
    images: npt.NDArray[np.int64],
    *,
    most: int,
    seed: int = 0,
) -> BankMap:
    """Return a map of a bank: principal component analysis (Pearson 1901), exact distances.

    Parameters
    ----------
    features
        float32 (m, d).
    images
        int64 (m,): the image of each row; -1 where it is unknown, each then counting as its own.
    most
        So many rows at most, drawn with the seed; the components are those of these rows, and the
        distances to all rows.
    """
    count = len(features)
    random = np.random.default_rng(seed)
    rows = np.arange(count)
    if count > most:
        rows = np.sort(random.choice(count, most, replace=False))
    positions, explained = _principal(features[rows].astype(np.float64), random)
    groups = np.where(images < 0, images.max(initial=0) + 1 + np.arange(count), images)
    distances = np.full(len(rows), np.inf, np.float32)
    if (groups != groups[0]).any():
        index = NeighbourIndex(features, groups)
        found = index.nearest(features[rows], exclude_group=groups[rows])
        distances = found.distances[:, 0]
    return BankMap(rows, positions, explained, distances)


def _principal(
    features: npt.NDArray[np.float64], random: np.random.Generator
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return coordinates on the two leading components, and their shares of the variance."""
    # Imported here because it takes a fifth of a second.
    from scipy.sparse.linalg import svds

    centred = features - features.mean(axis=0)
    positions, explained = np.zeros((len(features), 2)), np.zeros(2)
    total = float((centred**2).sum())
    known = min(2, min(centred.shape) - 1)
    if total > 0 and known > 0:
        begin = random.normal(size=min(centred.shape))
        _, singular, components = svds(centred, k=known, v0=begin)
        # In ascending order. The direction of a component is arbitrary: its largest value is made
        # positive.
        components = components[::-1].T
        largest = np.abs(components).argmax(axis=0)
        components = components * np.sign(components[largest, range(known)])
        positions[:, :known] = centred @ components
        explained[:known] = singular[::-1] ** 2 / total
    return positions, explained
