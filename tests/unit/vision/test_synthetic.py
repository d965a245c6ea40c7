from __future__ import annotations

import numpy as np
import pytest

from patchbank.vision.synthetic import cut_paste


@pytest.mark.parametrize("shape", [(96, 96), (300, 40), (2, 2), (1, 9)])
def test_a_rectangle_of_the_size_asked_for_is_changed(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(60, 180, (*shape, 3), dtype=np.uint8)
    before = pixels.copy()
    for seed in range(30):
        changed = cut_paste(pixels, np.random.default_rng(seed))
        rows, columns = np.nonzero((changed != pixels).any(axis=2))
        assert len(rows) > 0
        box = (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert box <= max(2, 0.16 * pixels[..., 0].size)
        # All of the rectangle and nothing beside it, but for what was equal by chance.
        assert len(rows) >= 0.9 * box
    np.testing.assert_array_equal(pixels, before)


def test_the_same_seed_gives_the_same_picture() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    one, same, other = (cut_paste(pixels, np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
