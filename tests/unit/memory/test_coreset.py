from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbank.errors import ParameterError
from patchbank.memory import coreset as module
from patchbank.memory.coreset import Coreset, coreset_size, greedy_k_center


def textbook(
    features: npt.NDArray[np.float32], count: int, first: int
) -> tuple[list[int], list[float], float]:
    """Return choices, radii and covering radius of the loop as textbooks have it, in float64."""
    points = features.astype(np.float64)

    def distances_to(row: int) -> npt.NDArray[np.float64]:
        difference = points - points[row]
        squared: npt.NDArray[np.float64] = np.einsum("ij,ij->i", difference, difference)
        return np.sqrt(squared)

    distances = distances_to(first)
    chosen, radii = [first], [np.inf]
    while len(chosen) < count:
        farthest = int(distances.argmax())
        if distances[farthest] == 0.0:
            break
        chosen.append(farthest)
        radii.append(float(distances[farthest]))
        np.minimum(distances, distances_to(farthest), out=distances)
    return chosen, radii, float(distances.max())


def assert_as_textbook(features: npt.NDArray[np.float32], result: Coreset, count: int) -> None:
    chosen, radii, covering_radius = textbook(features, count, int(result.indices[0]))
    assert result.indices.tolist() == chosen
    np.testing.assert_allclose(result.radii, radii, rtol=1e-6)
    assert result.covering_radius == pytest.approx(covering_radius, rel=1e-6)


@pytest.mark.parametrize(("rows", "count", "seed"), [(3920, 392, 0), (1000, 600, 1)])
def test_choices_are_those_of_the_textbook_loop(
    patches: npt.NDArray[np.float32], rows: int, count: int, seed: int
) -> None:
    features = patches[:rows]
    assert_as_textbook(features, greedy_k_center(features, count, seed=seed), count)


@pytest.mark.parametrize(("pool", "level"), [(1, 0.9), (7, 0.5), (64, 0.99), (5000, 0.8)])
def test_pool_and_level_change_the_speed_alone(
    patches: npt.NDArray[np.float32], monkeypatch: pytest.MonkeyPatch, pool: int, level: float
) -> None:
    expected = greedy_k_center(patches, 300)
    monkeypatch.setattr(module, "_POOL", pool)
    monkeypatch.setattr(module, "_LEVEL", level)
    monkeypatch.setattr(module, "_CENTRES_AT_ONCE", 40)
    result = greedy_k_center(patches, 300)
    assert result.indices.tolist() == expected.indices.tolist()
    assert result.covering_radius == expected.covering_radius


@pytest.mark.parametrize("translation", [1e4, -3e5])
def test_far_translation_keeps_the_choices(
    patches: npt.NDArray[np.float32], translation: float
) -> None:
    # The translation rounds the features; the textbook loop gets the rounded ones too.
    moved = (patches[:1500] + np.float32(translation)).astype(np.float32)
    assert_as_textbook(moved, greedy_k_center(moved, 200), 200)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_extreme_scales_keep_the_choices(patches: npt.NDArray[np.float32], scale: float) -> None:
    scaled = (patches[:1500] * np.float32(scale)).astype(np.float32)
    assert_as_textbook(scaled, greedy_k_center(scaled, 200), 200)


def test_one_far_outlier_does_not_blur_the_rest(patches: npt.NDArray[np.float32]) -> None:
    features = patches[:1500].copy()
    features[77] = 1e6
    assert_as_textbook(features, greedy_k_center(features, 200), 200)


def test_certificate(patches: npt.NDArray[np.float32]) -> None:
    result = greedy_k_center(patches, 500)
    assert len(np.unique(result.indices)) == 500
    assert np.all(np.diff(result.radii) <= 0)
    assert result.radii[0] == np.inf
    chosen = patches[result.indices].astype(np.float64)
    for position in range(1, 500):
        nearest_earlier = np.linalg.norm(chosen[:position] - chosen[position], axis=1).min()
        assert result.radii[position] == pytest.approx(nearest_earlier, rel=1e-6)
    assert result.covering_radius <= result.radii[-1]


def test_ties_take_the_first_row() -> None:
    # On an integer grid distances are exact and nearly all are tied.
    grid = np.stack(np.meshgrid(*[np.arange(11)] * 3), axis=-1).reshape(-1, 3).astype(np.float32)
    for count in (2, 30, 700, 1331):
        assert_as_textbook(grid, greedy_k_center(grid, count), count)


@given(
    st.integers(1, 40),
    st.integers(1, 5),
    st.integers(0, 2**32 - 1),
    st.sampled_from([1.0, 3.0, 1e6]),
)
@settings(max_examples=150, deadline=None)
def test_any_small_set(n: int, dimensions: int, seed: int, spread: float) -> None:
    random = np.random.default_rng(seed)
    features = np.round(random.standard_normal((n, dimensions)) * spread).astype(np.float32)
    count = int(random.integers(1, n + 1))
    assert_as_textbook(features, greedy_k_center(features, count, seed=seed), count)


def test_one_dimension(patches: npt.NDArray[np.float32]) -> None:
    line = np.random.default_rng(0).standard_normal((2000, 1)).astype(np.float32)
    assert_as_textbook(line, greedy_k_center(line, 100), 100)


def test_all_rows(patches: npt.NDArray[np.float32]) -> None:
    features = np.unique(patches[:700], axis=0)
    result = greedy_k_center(features, len(features))
    assert sorted(result.indices.tolist()) == list(range(len(features)))
    assert result.covering_radius == 0.0


def test_one_choice(patches: npt.NDArray[np.float32]) -> None:
    result = greedy_k_center(patches, 1)
    assert_as_textbook(patches, result, 1)
    assert len(result) == 1


def test_duplicates_are_chosen_once(patches: npt.NDArray[np.float32]) -> None:
    distinct = np.unique(patches[:50], axis=0)
    features = np.tile(distinct, (20, 1))
    result = greedy_k_center(features, 500)
    assert len(result) == len(distinct)
    assert result.covering_radius == 0.0
    assert len(np.unique(features[result.indices], axis=0)) == len(distinct)


def test_constant_features_are_chosen_once() -> None:
    result = greedy_k_center(np.full((300, 8), 3.5, np.float32), 10)
    assert len(result) == 1
    assert result.covering_radius == 0.0


def test_the_seed_chooses_the_first_row(patches: npt.NDArray[np.float32]) -> None:
    firsts = {int(greedy_k_center(patches, 1, seed=seed).indices[0]) for seed in range(8)}
    assert len(firsts) > 1
    again = greedy_k_center(patches, 200, seed=5)
    assert again.indices.tolist() == greedy_k_center(patches, 200, seed=5).indices.tolist()


def test_progress_rises_to_the_end(patches: npt.NDArray[np.float32]) -> None:
    seen: list[tuple[str, int, int]] = []
    greedy_k_center(patches, 400, progress=lambda *call: seen.append(call))
    assert [call[0] for call in seen] == ["coreset"] * len(seen)
    assert all(call[2] == 400 for call in seen)
    done = [call[1] for call in seen]
    assert done == sorted(done)
    assert done[-1] == 400


def test_an_interruption_passes_through(patches: npt.NDArray[np.float32]) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if done > 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        greedy_k_center(patches, 400, progress=interrupt)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused(
    patches: npt.NDArray[np.float32], value: float
) -> None:
    features = patches[:900].copy()
    features[899, 3] = value
    with pytest.raises(ParameterError, match="not finite"):
        greedy_k_center(features, 10)


@pytest.mark.parametrize("count", [0, -1, 3921])
def test_count_out_of_range_is_refused(patches: npt.NDArray[np.float32], count: int) -> None:
    with pytest.raises(ParameterError, match="must be 1 to 3920"):
        greedy_k_center(patches, count)


def test_other_arrays_are_refused(patches: npt.NDArray[np.float32]) -> None:
    for features in (patches[0], patches[:0], patches.astype(np.float64)):
        with pytest.raises(ParameterError, match="float32 matrix"):
            greedy_k_center(features, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "ratio", "expected"),
    [(156_800, 0.1, 15_680), (784, 0.01, 8), (10, 0.01, 1), (10, 1.0, 10), (1, 0.5, 1)],
)
def test_coreset_size(count: int, ratio: float, expected: int) -> None:
    assert coreset_size(count, ratio) == expected


@pytest.mark.parametrize("ratio", [0.0, -0.1, 1.0001, 2.0, float("nan"), float("inf")])
def test_ratio_out_of_range_is_refused(ratio: float) -> None:
    with pytest.raises(ParameterError, match="coreset ratio"):
        coreset_size(100, ratio)
