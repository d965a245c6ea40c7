"""Exactness on patches of real photographs, against textbook code in float64."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.datasets.demo import demo_split
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.vision.extractor import Extraction, Extractor

Patches = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def patches() -> tuple[Patches, Patches]:
    """6,272 patches of eight good cells, and 784 each of two defective ones."""
    samples = demo_split("mono")
    defective = [sample for sample in samples.test if sample.kind != "good"]
    paths = [sample.path for sample in (*samples.train[:8], *defective[:2])]
    with Extractor() as extractor:
        maps = [one.patches for one in extractor.extract_many(paths) if isinstance(one, Extraction)]
    assert len(maps) == 10
    flat = np.stack(maps).reshape(10, -1, maps[0].shape[-1])
    return flat[:8].reshape(-1, flat.shape[-1]), flat[8:].reshape(-1, flat.shape[-1])


def test_the_coreset_is_the_textbook_loops(patches: tuple[Patches, Patches]) -> None:
    features = np.ascontiguousarray(patches[0][:3000])
    found = greedy_k_center(features, 1500, seed=5)
    exact = features.astype(np.float64)
    chosen = [int(found.indices[0])]
    distances = np.linalg.norm(exact - exact[chosen[0]], axis=1)
    for _ in range(1499):
        chosen.append(int(distances.argmax()))
        distances = np.minimum(distances, np.linalg.norm(exact - exact[chosen[-1]], axis=1))
    assert found.indices.tolist() == chosen
    assert found.covering_radius == pytest.approx(float(distances.max()), rel=1e-5)


def test_distances_are_those_of_brute_force(patches: tuple[Patches, Patches]) -> None:
    bank, queries = patches
    found = NeighbourIndex(bank).nearest(queries)
    exact_bank, exact = bank.astype(np.float64), queries.astype(np.float64)
    distances = np.array([np.linalg.norm(exact_bank - query, axis=1).min() for query in exact])
    np.testing.assert_allclose(found.distances[:, 0], distances, rtol=1e-4)
    # In fact to float32's own rounding.
    np.testing.assert_allclose(found.distances[:, 0], distances, rtol=1e-6)
