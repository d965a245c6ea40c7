"""Patch features with the structure of real ones."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.memory._neighbour_kernels import Bank
from patchbank.memory.living_index import LivingIndex
from patchbank.memory.neighbours import NeighbourIndex


def patch_features(
    images: int = 5, side: int = 28, dimensions: int = 152, seed: int = 0
) -> npt.NDArray[np.float32]:
    """Return (images, side, side, dimensions) features that resemble those of a network.

    They imitate photographs of one kind of object: each position has a typical feature,
    neighbouring patches are similar, each image has its own tone, the spectrum falls quickly,
    values are rectified, and a few patches differ from all others.
    """
    from scipy.ndimage import gaussian_filter

    random = np.random.default_rng(seed)
    strength = (1.0 + np.arange(dimensions)) ** -0.7
    mixing = np.linalg.qr(random.standard_normal((dimensions, dimensions))).Q
    typical = gaussian_filter(random.standard_normal((side, side, dimensions)), (3, 3, 0)) * 8
    tone = random.standard_normal((images, 1, 1, dimensions)) * 0.5
    own = random.standard_normal((images, side, side, dimensions))
    own = gaussian_filter(own, (0, 1, 1, 0)) * 2
    odd = random.random((images, side, side, 1)) < 0.01
    values = (typical + tone + own * (1 + 3 * odd)) * strength @ mixing * 20
    rectified: npt.NDArray[np.float64] = np.maximum(values + 5, 0)
    return rectified.astype(np.float32)


def compiled_bank(index: NeighbourIndex | LivingIndex) -> Bank:
    """Return the bank of an index, as the compiled kernels search it."""
    assert isinstance(index._packed, Bank)
    return index._packed


@pytest.fixture(scope="session")
def patches() -> npt.NDArray[np.float32]:
    """Return (3920, 152) features of five images."""
    return patch_features().reshape(-1, 152)
