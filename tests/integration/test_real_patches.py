"""The memory on real patches: the demo set's cells, as the default extractor sees them."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.datasets.demo import demo_split
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.vision.extractor import Extractor

Floats = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def cells() -> Floats:
    """Return (784 * 12, 152) patches of eleven good cells and, last, a defective one."""
    samples = demo_split("mono")
    paths = [sample.path for sample in samples.train[:11]]
    paths.append(next(one.path for one in samples.test if one.label == "anomalous"))
    with Extractor() as extractor:
        found = [extractor.extract_one(path) for path in paths]
    return np.concatenate([one.patches.reshape(-1, 152) for one in found])


def test_choices_of_3000_patches_are_those_of_the_textbook_loop(cells: Floats) -> None:
    patches = cells[np.sort(np.random.default_rng(0).permutation(784 * 11)[:3000])]
    result = greedy_k_center(patches, 1500)
    wide = patches.astype(np.float64)
    squared = np.full(len(wide), np.inf)
    choice = int(result.indices[0])
    for number, chosen in enumerate(result.indices):
        assert chosen == choice, f"choice {number}"
        difference = wide - wide[choice]
        np.minimum(squared, np.einsum("ij,ij->i", difference, difference), out=squared)
        choice = int(squared.argmax())
    assert result.covering_radius == pytest.approx(np.sqrt(squared.max()), rel=1e-12)


def test_neighbours_are_those_of_brute_force(cells: Floats) -> None:
    patches = cells[: 784 * 10]
    index = NeighbourIndex(np.ascontiguousarray(patches[greedy_k_center(patches, 1568).indices]))
    bank = index.bank.astype(np.float64)
    for queries in (cells[784 * 10 : 784 * 11], cells[784 * 11 :]):
        found = index.nearest(queries, 3)
        distances = np.stack([np.linalg.norm(bank - query, axis=1) for query in queries])
        expected = np.argsort(distances, axis=1, kind="stable")[:, :3]
        assert (found.indices == expected).all()
        exact = np.take_along_axis(distances, expected, axis=1)
        np.testing.assert_allclose(found.distances, exact, rtol=1e-6, atol=0)
        assert found.computed < 0.05 * len(queries) * len(bank)
