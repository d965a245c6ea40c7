from __future__ import annotations

import numpy as np
import pytest

from patchbank.memory.similarity import SimilarityIndex


@pytest.mark.parametrize("dimensions", [1, 3, 608])
def test_equal_to_brute_force(dimensions: int) -> None:
    random = np.random.default_rng(3)
    embeddings = random.normal(size=(300, dimensions)).astype(np.float32)
    index = SimilarityIndex(embeddings)
    for scale in (1e-18, 1.0, 1e18):
        query = (random.normal(size=dimensions) * scale).astype(np.float32)
        wide, q = embeddings.astype(np.float64), query.astype(np.float64)
        expected = wide @ q / np.linalg.norm(wide, axis=1) / np.linalg.norm(q)
        indices, similarities = index.most_similar(query, 10)
        np.testing.assert_allclose(similarities, np.sort(expected)[::-1][:10], atol=1e-6)
        np.testing.assert_allclose(expected[indices], similarities, atol=1e-6)


def test_ties_are_sorted_by_index_and_zeros_are_similar_to_nothing() -> None:
    embeddings = np.array([[0, 0], [1, 0], [2, 0], [-1, 0], [0, 1]], np.float32)
    indices, similarities = SimilarityIndex(embeddings).most_similar(np.array([3.0, 0.0]), 5)
    assert indices.tolist() == [1, 2, 0, 4, 3]
    assert similarities.tolist() == [1, 1, 0, 0, -1]
    indices, similarities = SimilarityIndex(embeddings).most_similar(np.zeros(2), 2)
    assert indices.tolist() == [0, 1]
    assert similarities.tolist() == [0, 0]


def test_fewer_than_requested() -> None:
    indices, similarities = SimilarityIndex(np.ones((2, 3), np.float32)).most_similar(np.ones(3), 9)
    assert len(indices) == len(similarities) == 2
