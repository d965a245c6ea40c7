from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.errors import ParameterError
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.leave_one_out import leave_one_out_distances
from patchbank.memory.streaming import MergedCoreset, PartCoresets, StreamedLeaveOneOut

Floats = npt.NDArray[np.float32]
IMAGES, SIDE, KEPT, BANK = 8, 14, 120, 100


@pytest.fixture(scope="module")
def features(patches: Floats) -> Floats:
    return patches[: IMAGES * SIDE * SIDE].reshape(IMAGES, SIDE * SIDE, -1)


def add(
    parts: PartCoresets,
    features: Floats,
    numbers: npt.NDArray[np.int64],
    count: int,
    **options: Any,
) -> None:
    patches = features.reshape(-1, features.shape[2])
    parts.add(patches, numbers.repeat(features.shape[1]), count, **options)


def in_parts(features: Floats, kept: int = KEPT, bank: int = BANK) -> MergedCoreset:
    parts = PartCoresets(4 * kept, features.shape[2], seed=3)
    for start in range(0, IMAGES, 2):
        numbers = np.arange(start, start + 2)
        add(parts, features[numbers], numbers, kept)
    assert parts.parts == 4
    return parts.merge(bank)


def table(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
    wide = b.astype(np.float64)
    return np.stack([np.linalg.norm(wide - row, axis=1) for row in a.astype(np.float64)])


def test_no_patch_is_farther_than_the_bound(features: Floats) -> None:
    merged = in_parts(features)
    rows = features.reshape(-1, features.shape[2])
    bank = merged.candidates[merged.coreset.indices]
    assert len(bank) == BANK
    true_radius = table(rows, bank).min(axis=1).max()
    assert true_radius <= merged.radius_bound * (1 + 1e-6)
    assert table(rows, merged.candidates).min(axis=1).max() <= merged.part_radius * (1 + 1e-6)
    # The bound is useful: not far above the radius of a greedy choice among all patches.
    exact = greedy_k_center(rows, BANK, seed=3).covering_radius
    assert exact / 2 <= true_radius <= 2 * exact
    assert merged.radius_bound <= 3 * exact


def test_every_candidate_is_the_patch_at_its_position(features: Floats) -> None:
    merged = in_parts(features)
    assert len(merged.candidates) == 4 * KEPT
    assert (features[merged.images, merged.positions] == merged.candidates).all()


def test_all_in_one_part_with_all_kept_is_exact(features: Floats) -> None:
    rows = features.reshape(-1, features.shape[2])
    parts = PartCoresets(len(rows), features.shape[2], seed=5)
    add(parts, features, np.arange(IMAGES), len(rows))
    merged = parts.merge(BANK)
    exact = greedy_k_center(rows, BANK, seed=5)
    assert merged.part_radius == 0.0
    assert merged.radius_bound == pytest.approx(exact.covering_radius, rel=0.3)
    assert merged.coreset.radii[-1] == pytest.approx(exact.radii[-1], rel=0.3)


def test_the_result_is_the_same_every_time(features: Floats) -> None:
    first, second = in_parts(features), in_parts(features)
    assert (first.coreset.indices == second.coreset.indices).all()
    assert (first.candidates == second.candidates).all()


def test_twins_make_a_smaller_bank(features: Floats) -> None:
    same = np.repeat(features[:1], IMAGES, axis=0)
    merged = in_parts(same, kept=2 * SIDE * SIDE, bank=4 * SIDE * SIDE)
    assert len(merged.coreset) <= SIDE * SIDE
    assert merged.radius_bound == 0.0


def test_what_does_not_fit_is_refused(features: Floats) -> None:
    parts = PartCoresets(10, features.shape[2])
    with pytest.raises(ParameterError, match="capacity of 10"):
        add(parts, features, np.arange(IMAGES), 11)


def slow(features: Floats, merged: MergedCoreset, image: int) -> tuple[Floats, int]:
    """Return an image's distances and the number of candidates put back, by the definition."""
    chosen = merged.coreset.indices
    kept = merged.candidates[chosen[merged.images[chosen] != image]]
    others = merged.candidates[merged.images != image]
    nearest = table(others, kept).min(axis=1)
    bank = list(kept)
    while nearest.max() > merged.coreset.covering_radius * (1 + 1e-6):
        bank.append(others[nearest.argmax()])
        np.minimum(nearest, table(others, bank[-1][None])[:, 0], out=nearest)
    distances = table(features[image], np.stack(bank)).min(axis=1)
    return distances.astype(np.float32), len(bank) - len(kept)


def test_each_image_meets_a_bank_that_never_saw_it(features: Floats) -> None:
    merged = in_parts(features)
    in_turn = StreamedLeaveOneOut(merged)
    bank = merged.candidates[merged.coreset.indices]
    owners = merged.images[merged.coreset.indices]
    put_back = 0
    for image in range(IMAGES):
        result = in_turn(image, features[image].reshape(SIDE, SIDE, -1))
        expected, count = slow(features, merged, image)
        np.testing.assert_allclose(result.distances.ravel(), expected, rtol=1e-5)
        assert in_turn.put_back(image) == count
        put_back += count
        # The nearest rows are of other images; the farthest distance is to the whole bank.
        others = table(features[image], bank)
        assert result.farthest == pytest.approx(others.min(axis=1).max(), rel=1e-5)
        others[:, owners == image] = np.inf
        assert (result.nearest.ravel() == others.argmin(axis=1)).all()
    assert put_back > 0


def test_with_all_patches_kept_the_distances_are_exact(features: Floats) -> None:
    rows = features.reshape(-1, features.shape[2])
    parts = PartCoresets(len(rows), features.shape[2])
    add(parts, features, np.arange(IMAGES), len(rows))
    merged = parts.merge(BANK)
    # The same bank among all patches, by their places.
    coreset = greedy_k_center(rows, len(rows))
    merged_rows = coreset.indices[merged.coreset.indices]
    square = features.reshape(IMAGES, SIDE, SIDE, -1)
    whole = leave_one_out_distances(
        rows,
        np.arange(IMAGES).repeat(SIDE * SIDE),
        type(coreset)(merged_rows, merged.coreset.radii, merged.coreset.covering_radius),
    )
    in_turn = StreamedLeaveOneOut(merged)
    for image in range(IMAGES):
        result = in_turn(image, square[image])
        expected = whole.distances.reshape(square.shape[:3])[image]
        np.testing.assert_allclose(result.distances, expected, rtol=1e-5)


def test_an_image_that_holds_the_whole_bank(features: Floats) -> None:
    merged = in_parts(features, bank=1)
    (owner,) = merged.images[merged.coreset.indices]
    in_turn = StreamedLeaveOneOut(merged)
    result = in_turn(int(owner), features[owner].reshape(SIDE, SIDE, -1))
    assert np.isfinite(result.distances).all()
    assert (result.nearest == -1).all()
    assert in_turn.put_back(int(owner)) >= 1


def test_interruption(features: Floats) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    parts = PartCoresets(KEPT, features.shape[2])
    with pytest.raises(KeyboardInterrupt):
        add(parts, features[:2], np.arange(2), KEPT, progress=interrupt)
    assert len(parts) == 0
    merged = in_parts(features)
    with pytest.raises(KeyboardInterrupt):
        StreamedLeaveOneOut(merged, progress=interrupt)
