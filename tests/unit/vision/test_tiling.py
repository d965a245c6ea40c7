from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from patchbank.vision.tiling import Tiling

TILINGS = [
    Tiling(64, 16, 8, 16),
    Tiling(96, 0, 8, 32),
    Tiling(448, 96, 8, 16),
    Tiling(32, 16, 4, 16),
]


@pytest.mark.parametrize("tiling", TILINGS)
def test_every_patch_is_taken_once_from_the_tile_in_which_it_is_most_central(
    tiling: Tiling,
) -> None:
    length, grain = tiling.tile // tiling.stride, tiling.coarse // tiling.stride
    for count in (1, length - 1, length, length + 1, 3 * length - 2, 1000):
        spans = tiling.spans(count)
        assert [span.start for span in spans] == [0, *(span.stop for span in spans[:-1])]
        assert spans[-1].stop == count
        for span in spans:
            assert span.origin % grain == 0
            assert span.origin <= span.start < span.stop <= span.origin + length
        for position in range(count):

            def centrality(origin: int, position: int = position) -> int:
                """Return how far a patch is from the tile's nearer border."""
                return min(position - origin, origin + length - 1 - position)

            (own,) = (span for span in spans if span.start <= position < span.stop)
            best = max(centrality(span.origin) for span in spans)
            # Patches at the image's border are there in every tile.
            assert centrality(own.origin) >= best - 1 or own in (spans[0], spans[-1])


@pytest.mark.parametrize("tiling", TILINGS)
def test_tiles_overlap_at_least_as_asked(tiling: Tiling) -> None:
    for count in range(1, 300):
        origins = [span.origin for span in tiling.spans(count)]
        length = tiling.tile // tiling.stride
        for first, second in pairwise(origins):
            assert (first + length - second) * tiling.stride >= tiling.overlap
        # The last ends behind the image by less than a position of the deepest layer.
        assert origins[-1] + length - count < max(
            tiling.coarse // tiling.stride, length - count + 1
        )


def test_a_tile_shows_the_image_and_repeats_its_last_pixels() -> None:
    tiling = Tiling(64, 16, 8, 16)
    pixels = np.random.default_rng(0).integers(0, 256, (50, 100, 3), np.uint8)
    tile = tiling.cut(pixels, 0, 6)
    assert tile.shape == (64, 64, 3)
    assert tile.flags.c_contiguous
    assert np.array_equal(tile[:50, :52], pixels[:, 48:])
    assert (tile[50:, :52] == pixels[-1, 48:]).all()
    assert (tile[:50, 52:] == pixels[:, -1:]).all()


def test_patches_have_their_centres_in_the_image() -> None:
    tiling = Tiling(64, 16, 8, 16)
    assert tiling.grid(3, 4) == (1, 1)
    assert tiling.grid(640, 643) == (80, 80)
    assert tiling.grid(11, 12) == (1, 2)
