from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.compiler import compiles
from patchbank.errors import ParameterError
from patchbank.memory.coreset import Coreset, greedy_k_center
from patchbank.memory.leave_one_out import LeftOut, leave_one_out_distances
from patchbank.memory.neighbours import NeighbourIndex

Floats = npt.NDArray[np.float32]
IMAGES, SIDE = 8, 14


@pytest.fixture(scope="module")
def features(patches: Floats) -> Floats:
    return patches[: IMAGES * SIDE * SIDE].reshape(IMAGES, SIDE, SIDE, -1)


@pytest.fixture(scope="module")
def coreset(features: Floats) -> Coreset:
    return greedy_k_center(features.reshape(-1, features.shape[3]), 300)


def left_out(
    features: Floats, coreset: Coreset, index: NeighbourIndex | None = None, **options: Any
) -> LeftOut:
    images = np.arange(len(features)).repeat(features.shape[1] * features.shape[2])
    patches = features.reshape(-1, features.shape[-1])
    return leave_one_out_distances(patches, images, coreset, index=index, **options)


def table(a: Floats, b: Floats) -> npt.NDArray[np.float64]:
    wide = b.astype(np.float64)
    return np.stack([np.linalg.norm(wide - row, axis=1) for row in a.astype(np.float64)])


def slow(features: Floats, coreset: Coreset, image: int) -> tuple[Floats, int]:
    """Return an image's distances and the number of patches put back, by the definition."""
    patches = features.reshape(-1, features.shape[3])
    owner = np.arange(len(patches)) // (SIDE * SIDE)
    kept = coreset.indices[owner[coreset.indices] != image]
    others = np.flatnonzero(owner != image)
    nearest = table(patches[others], patches[kept]).min(axis=1)
    bank = list(kept)
    while nearest.max() > coreset.covering_radius * (1 + 1e-6):
        added = int(others[nearest.argmax()])
        bank.append(added)
        np.minimum(nearest, table(patches[others], patches[added : added + 1])[:, 0], out=nearest)
    own = patches[owner == image]
    return table(own, patches[bank]).min(axis=1).astype(np.float32), len(bank) - len(kept)


def test_each_image_meets_a_bank_that_never_saw_it(features: Floats, coreset: Coreset) -> None:
    result = left_out(features, coreset)
    assert result.distances.shape == result.nearest.shape == (IMAGES * SIDE * SIDE,)
    distances = result.distances.reshape(IMAGES, -1)
    for image in range(IMAGES):
        expected, put_back = slow(features, coreset, image)
        np.testing.assert_allclose(distances[image], expected, rtol=1e-5)
        assert result.put_back[image] == put_back
    assert result.put_back.sum() > 0


def test_searches_for_many_patches_find_the_same(
    features: Floats, coreset: Coreset, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = left_out(features, coreset)
    last: dict[str, tuple[int, int]] = {}
    monkeypatch.setattr("patchbank.memory.coreset._MANY_ROWS", 1)
    monkeypatch.setattr("patchbank.memory.put_back._MANY_DISTANCES", 1)
    result = left_out(features, coreset, progress=lambda stage, *at: last.update({stage: at}))
    for name in ("distances", "nearest", "put_back"):
        np.testing.assert_array_equal(getattr(result, name), getattr(expected, name))
    assert last.keys() == ({"calibrate", "put back"} if compiles() else {"calibrate"})
    assert all(done == total for done, total in last.values())


def test_nearest_rows_are_of_other_images(features: Floats, coreset: Coreset) -> None:
    result = left_out(features, coreset)
    groups = coreset.indices // (SIDE * SIDE)
    bank = np.ascontiguousarray(features.reshape(-1, features.shape[3])[coreset.indices])
    index = NeighbourIndex(bank, groups)
    for image in range(IMAGES):
        own = features[image].reshape(-1, features.shape[3])
        expected = index.nearest(own, exclude_group=image)
        own_rows = slice(image * SIDE * SIDE, (image + 1) * SIDE * SIDE)
        assert (result.nearest[own_rows] == expected.indices[:, 0]).all()
        assert (result.distances[own_rows] <= expected.distances[:, 0] * (1 + 1e-6)).all()
    shared = left_out(features, coreset, index=index)
    assert (shared.distances == result.distances).all()


def test_an_image_that_holds_the_whole_bank(features: Floats) -> None:
    patches = features.reshape(-1, features.shape[3])
    coreset = greedy_k_center(patches, 1)
    owner = int(coreset.indices[0]) // (SIDE * SIDE)
    result = left_out(features, coreset)
    assert np.isfinite(result.distances).all()
    assert result.put_back[owner] >= 1
    assert (result.nearest.reshape(IMAGES, -1)[owner] == -1).all()


def test_twins_score_zero(features: Floats) -> None:
    twins = np.concatenate([features[:2], features[:2]])
    patches = twins.reshape(-1, twins.shape[3])
    coreset = greedy_k_center(patches, len(patches))
    # Each distinct patch is in the bank once; leaving its image out puts its twin back.
    assert len(coreset) <= len(patches) // 2
    assert (left_out(twins, coreset).distances == 0).all()


def test_progress_and_interruption(features: Floats, coreset: Coreset) -> None:
    seen: list[int] = []
    left_out(features, coreset, progress=lambda stage, done, total: seen.append(done))
    assert seen == [0, IMAGES]

    def interrupt(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        left_out(features, coreset, progress=interrupt)


def test_unfit_input_is_refused(features: Floats, coreset: Coreset) -> None:
    with pytest.raises(ParameterError, match="at least two"):
        left_out(features[:1], coreset)
    with pytest.raises(ParameterError, match="expected shape"):
        leave_one_out_distances(features, np.arange(IMAGES), coreset)
    bank = np.ascontiguousarray(features.reshape(-1, features.shape[3])[coreset.indices])
    with pytest.raises(ParameterError, match="does not belong to this coreset"):
        left_out(features, coreset, index=NeighbourIndex(bank))


def test_images_may_have_different_numbers_of_patches(features: Floats) -> None:
    patches = features.reshape(-1, features.shape[3])
    counts = np.array([SIDE * SIDE, 40, 3, 150, 90])
    patches = np.ascontiguousarray(patches[: counts.sum()])
    images = np.arange(len(counts)).repeat(counts)
    coreset = greedy_k_center(patches, 60)
    result = leave_one_out_distances(patches, images, coreset)
    for image in range(len(counts)):
        kept = coreset.indices[images[coreset.indices] != image]
        nearest = table(patches, patches[kept]).min(axis=1)
        bank = list(kept)
        others = np.flatnonzero(images != image)
        while nearest[others].max() > coreset.covering_radius * (1 + 1e-6):
            bank.append(int(others[nearest[others].argmax()]))
            np.minimum(nearest, table(patches, patches[bank[-1:]])[:, 0], out=nearest)
        np.testing.assert_allclose(
            result.distances[images == image], nearest[images == image], rtol=1e-5
        )
        assert result.put_back[image] == len(bank) - len(kept)
