"""A bank without the rows of an image finds what a bank made without them finds."""

from __future__ import annotations

import numpy as np
import pytest

from patchbank.errors import ParameterError
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import reweighted_score
from patchbank.memory.without_group import WithoutGroup

RANDOM = np.random.default_rng(0)
BANK = RANDOM.normal(size=(300, 12)).astype(np.float32)
GROUPS = np.repeat(np.arange(10), 30)
QUERIES = RANDOM.normal(size=(40, 12)).astype(np.float32)


def test_it_is_the_bank_without_these_rows() -> None:
    index = NeighbourIndex(BANK, GROUPS)
    kept = GROUPS != 3
    small = NeighbourIndex(BANK[kept])
    without = WithoutGroup(index, 3)
    assert len(without) == 270
    found, expected = without.nearest(QUERIES, 4), small.nearest(QUERIES, 4)
    assert np.array_equal(found.distances, expected.distances)
    assert np.array_equal(found.indices, np.flatnonzero(kept)[expected.indices])
    assert np.array_equal(without.rows(found.indices[0]), BANK[found.indices[0]])
    scores = [
        reweighted_score(
            QUERIES.reshape(5, 8, 12),
            near.distances[:, 0].reshape(5, 8),
            near.indices[:, 0].reshape(5, 8),
            bank,
        )
        for near, bank in ((found, without), (expected, small))
    ]
    assert scores[0] == pytest.approx(scores[1])
    # An image without rows changes nothing.
    assert len(WithoutGroup(index, 77)) == 300


def test_what_has_no_groups_is_refused() -> None:
    with pytest.raises(ParameterError, match="has no groups"):
        WithoutGroup(NeighbourIndex(BANK), 3)
    with pytest.raises(ParameterError, match="all rows are of one image"):
        WithoutGroup(NeighbourIndex(BANK, np.zeros(300, np.int64)), 0)
    with pytest.raises(ParameterError, match="left out already"):
        WithoutGroup(NeighbourIndex(BANK, GROUPS), 3).nearest(QUERIES, exclude_group=1)
