from __future__ import annotations

from functools import partial

import numpy as np
import pytest

from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.two_nearest import TwoNearest


def _same(index: NeighbourIndex) -> NeighbourIndex:
    return index


@pytest.mark.parametrize("seed", range(6))
def test_what_is_updated_equals_what_is_searched(seed: int) -> None:
    random = np.random.default_rng(seed)
    # Few distinct values, so that many distances are equal.
    everything = random.integers(0, 3, (400, 4)).astype(np.float32)
    owners = random.integers(-1, 9, len(everything))
    patches = random.integers(0, 3, (300, 4)).astype(np.float32) + 0.25
    ordinals = np.sort(random.choice(len(everything), 60, replace=False))
    index = NeighbourIndex(everything[ordinals], owners[ordinals])
    seen: list[tuple[int, int]] = []
    state = TwoNearest.searched(index, ordinals, patches, lambda _, *at: seen.append(at))
    assert seen[-1] == (len(patches), len(patches))
    for _ in range(8):
        stay = ordinals[random.random(len(ordinals)) < 0.9]
        came = random.choice(len(everything), random.integers(0, 20), replace=False)
        ordinals = np.union1d(stay, came)
        index = NeighbourIndex(everything[ordinals], owners[ordinals])
        rows = everything[ordinals], owners[ordinals]
        state = state.updated(partial(_same, index), ordinals, *rows, patches)
        expected = TwoNearest.searched(index, ordinals, patches)
        assert (state.bank == ordinals).all()
        assert (state.distances == expected.distances).all()
        assert (state.ordinals == expected.ordinals).all()


def test_rows_of_a_single_image_have_no_second() -> None:
    rows = np.arange(8, dtype=np.float32).reshape(4, 2)
    ordinals = np.array([3, 5, 8, 9])
    patches = rows + 0.1
    index = NeighbourIndex(rows[:2], np.array([7, 7]))
    alone = TwoNearest.searched(index, ordinals[:2], patches)
    assert np.isinf(alone.distances[:, 1]).all()
    assert (alone.ordinals[:, 1] == -1).all()
    assert (alone.rows()[:, 1] == -1).all()
    both = NeighbourIndex(rows[:3], np.array([7, 7, 2]))
    updated = alone.updated(lambda: both, ordinals[:3], rows[:3], np.array([7, 7, 2]), patches)
    expected = TwoNearest.searched(both, ordinals[:3], patches)
    assert (updated.ordinals == expected.ordinals).all()
    assert np.isfinite(updated.distances).all()
