"""The map of a bank against reference computations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist
from sklearn.decomposition import PCA

from patchbank.memory.bank_map import map_of_bank


def _bank(count: int, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(3)
    scale = np.linspace(5, 1, dimensions)
    features = (random.normal(0, 1, (count, dimensions)) * scale + 7).astype(np.float32)
    return features, random.integers(0, 9, count)


def test_positions_are_the_principal_components_and_distances_those_of_brute_force() -> None:
    features, images = _bank(300, 24)
    found = map_of_bank(features, images, most=1000)
    reference = PCA(n_components=2, svd_solver="full").fit(features.astype(np.float64))
    wanted = reference.transform(features.astype(np.float64))
    assert found.rows.tolist() == list(range(300))
    for axis in range(2):
        # A component may point either way.
        sign = np.sign(wanted[:, axis] @ found.positions[:, axis])
        np.testing.assert_allclose(found.positions[:, axis], sign * wanted[:, axis], atol=1e-8)
    np.testing.assert_allclose(found.explained, reference.explained_variance_ratio_, rtol=1e-9)
    distances = cdist(features.astype(np.float64), features.astype(np.float64))
    distances[images[:, None] == images] = np.inf
    np.testing.assert_allclose(found.distances, distances.min(axis=1), rtol=1e-6)


def test_a_large_bank_is_sampled_and_compared_with_all_of_it() -> None:
    features, images = _bank(500, 16)
    found = map_of_bank(features, images, most=60)
    again = map_of_bank(features, images, most=60)
    assert len(set(found.rows.tolist())) == 60
    np.testing.assert_array_equal(found.rows, again.rows)
    np.testing.assert_array_equal(found.positions, again.positions)
    whole = map_of_bank(features, images, most=500)
    np.testing.assert_array_equal(found.distances, whole.distances[found.rows])


def test_patches_of_unknown_images_are_images_of_their_own() -> None:
    features, _ = _bank(40, 8)
    found = map_of_bank(features, np.full(40, -1), most=40)
    distances = cdist(features.astype(np.float64), features.astype(np.float64))
    np.fill_diagonal(distances, np.inf)
    np.testing.assert_allclose(found.distances, distances.min(axis=1), rtol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_bank_of_one_image_or_of_equal_patches_has_a_map(count: int) -> None:
    features = np.ones((count, 6), np.float32)
    found = map_of_bank(features, np.zeros(count, np.int64), most=10)
    assert np.isinf(found.distances).all()
    assert found.explained.tolist() == [0.0, 0.0]
    np.testing.assert_allclose(found.positions, 0.0, atol=1e-12)
