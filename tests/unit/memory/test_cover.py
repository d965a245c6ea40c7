from __future__ import annotations

import numpy as np

from patchbank.memory.cover import greedy_cover


def test_the_image_that_covers_most_comes_first() -> None:
    # Image 3 has two clusters, 5 has one more; 7 repeats what 3 has.
    near = np.array([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0], [5.0, 0.1]], np.float32)
    far = np.array([[20.0, 0.0], [20.1, 0.0]], np.float32)
    patches = np.concatenate([near, far, near[:2]])
    images = np.array([3] * 5 + [5] * 2 + [7] * 2)
    assert greedy_cover(patches, images, 0.5, most=9) == [(3, 7), (5, 2)]
    assert greedy_cover(patches, images, 0.5, most=1) == [(3, 7)]
    assert greedy_cover(patches, images, 0.5, most=9, least_gain=0.3) == [(3, 7)]


def test_greedy_covers_at_least_its_share_of_the_best() -> None:
    from itertools import combinations

    random = np.random.default_rng(0)
    for _ in range(20):
        patches = random.random((24, 2)).astype(np.float32)
        images = np.repeat(np.arange(8), 3)
        distances = np.linalg.norm(patches[:, None] - patches[None], axis=2)
        covers = [(distances[images == name] <= 0.2).any(axis=0) for name in range(8)]
        best = max(
            sum(np.any([covers[a], covers[b]], axis=0)) for a, b in combinations(range(8), 2)
        )
        chosen = greedy_cover(patches, images, 0.2, most=2, least_gain=0.0)
        assert sum(count for _, count in chosen) >= 0.75 * best
