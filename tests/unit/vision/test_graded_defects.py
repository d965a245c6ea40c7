"""Synthetic defects have the size and contrast that was asked for, at the position given."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.vision.graded_defects import DEFECT_KINDS, graded_defect
from patchbank.vision.synthetic import contrast_range

# Light with dark stripes, so that its contrast is 100.
IMAGE = np.full((200, 240, 3), 160, np.uint8)
IMAGE[::10] = 60


Drawn = tuple[npt.NDArray[np.int64], tuple[int, int, int, int]]


def drawn(kind: str, size: float, contrast: float = 0.5, seed: int = 1) -> Drawn:
    found = graded_defect(
        IMAGE, kind, size, contrast, (120.0, 105.0), np.random.default_rng([seed, 2])
    )
    return found.pixels.astype(np.int64) - IMAGE, found.box


@pytest.mark.parametrize("kind", DEFECT_KINDS)
@pytest.mark.parametrize("size", [2, 4, 9, 32, 80])
def test_a_defect_is_as_long_as_asked_for(kind: str, size: int) -> None:
    for seed in range(6):
        change, box = drawn(kind, size, seed=seed)
        touched = np.argwhere(change.any(axis=2))
        assert len(touched)
        (top, left), (bottom, right) = touched.min(axis=0), touched.max(axis=0) + 1
        assert box[0] <= left < right <= box[2]
        assert box[1] <= top < bottom <= box[3]
        longest = float(np.hypot(bottom - top, right - left))
        # A soft rim, and the corners of pixels; a stain fades, and is smaller than it is long.
        assert longest <= 1.5 * size + 4
        assert max(bottom - top, right - left) >= (0.5 if kind == "stain" else 0.6) * size - 2
        assert abs((box[0] + box[2]) / 2 - 120) <= 0.3 * size + 2
        assert abs((box[1] + box[3]) / 2 - 105) <= 0.3 * size + 2


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_contrast_is_a_share_of_the_images_own(kind: str) -> None:
    assert contrast_range(IMAGE) == (60.0, 160.0)
    for contrast, shift in ((0.1, 10), (0.5, 50)):
        change, _ = drawn(kind, 40, contrast)
        # Darker on a light surface; a cut has an edge that is lighter by half.
        assert change.min() == pytest.approx(-shift, abs=1)
        assert change.max() == pytest.approx(shift / 2 if kind == "cut" else 0, abs=1)
    dark = (255 - IMAGE).astype(np.uint8)
    found = graded_defect(dark, kind, 40, 0.5, (120, 105), np.random.default_rng(1))
    assert (found.pixels.astype(int) - dark).max() == pytest.approx(50, abs=1)


@pytest.mark.parametrize("kind", DEFECT_KINDS)
def test_a_larger_one_is_the_same_shape(kind: str) -> None:
    again, larger, other = (drawn(kind, 20)[0], drawn(kind, 60)[0], drawn(kind, 60, seed=5)[0])
    assert np.array_equal(drawn(kind, 20)[0], again)
    small_cover, large_cover = (np.abs(change).sum(axis=2) > 0 for change in (again, larger))
    # The small one lies inside the large one, where it is not at its ragged rim.
    inside = (small_cover & large_cover).sum() / small_cover.sum()
    assert inside > (0.45 if kind == "cut" else 0.75)
    if kind != "spot":
        assert not np.array_equal(larger, other)


def test_a_defect_at_the_border_stays_in_the_image() -> None:
    for kind in DEFECT_KINDS:
        found = graded_defect(IMAGE, kind, 60, 0.5, (1, 199), np.random.default_rng(0))
        assert found.pixels.shape == IMAGE.shape
        assert 0 <= found.box[0] < found.box[2] <= 240
        assert 0 <= found.box[1] < found.box[3] <= 200
