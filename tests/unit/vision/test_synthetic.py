from __future__ import annotations

import numpy as np
import pytest

from patchbank.vision.synthetic import cut_paste, small_defect


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


@pytest.mark.parametrize("contrast", [None, 0.25, 0.6])
@pytest.mark.parametrize("shape", [(96, 96), (300, 40), (8, 8)])
def test_a_small_defect_is_in_its_box(shape: tuple[int, int], contrast: float | None) -> None:
    pixels = np.random.default_rng(0).integers(60, 180, (*shape, 3), dtype=np.uint8)
    before = pixels.copy()
    for seed in range(20):
        defect = small_defect(pixels, np.random.default_rng(seed), 4, contrast)
        rows, columns = np.nonzero((defect.pixels != pixels).any(axis=2))
        x0, y0, x1, y1 = defect.box
        assert x0 <= columns.min() <= columns.max() < x1
        assert y0 <= rows.min() <= rows.max() < y1
        assert max(x1 - x0, y1 - y0) <= 16
    np.testing.assert_array_equal(pixels, before)


def test_a_defect_of_given_contrast_shows_on_dark_lines_too() -> None:
    pixels = np.full((64, 64, 3), 230, np.uint8)
    pixels[:, ::8] = pixels[:, 1::8] = pixels[:, 2::8] = 5
    for contrast in (0.25, 0.6):
        for seed in range(20):
            random = np.random.default_rng(seed)
            changed = small_defect(pixels, random, 4, contrast).pixels.astype(int)
            largest = np.abs(changed - pixels).max()
            assert largest == pytest.approx(contrast * 225, rel=0.05)
