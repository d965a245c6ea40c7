from __future__ import annotations

import threading

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbank.errors import ParameterError
from patchbank.memory._integer_products import LONGEST
from patchbank.memory._projections import shorten
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.neighbours import NeighbourIndex, Neighbours
from tests.unit.memory.conftest import compiled_bank

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


def brute_force(bank: Floats, queries: Floats) -> npt.NDArray[np.float64]:
    """Return all distances by direct difference in float64."""
    wide = bank.astype(np.float64)
    return np.stack([np.linalg.norm(wide - query, axis=1) for query in queries.astype(np.float64)])


def assert_exact(bank: Floats, queries: Floats, k: int, result: Neighbours) -> None:
    distances = brute_force(bank, queries)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :k]
    expected_distances = np.take_along_axis(distances, expected, axis=1)
    np.testing.assert_allclose(result.distances, expected_distances, rtol=1e-6, atol=0)
    found = np.take_along_axis(distances, result.indices, axis=1)
    np.testing.assert_allclose(found, expected_distances, rtol=1e-12, atol=0)
    # The same rows too, but where rounding of the last digit of float64 makes the order.
    apart = (
        np.diff(np.sort(distances, axis=1)[:, : k + 1], axis=1) > 1e-9 * expected_distances.max()
    )
    clear = apart.all(axis=1) if apart.shape[1] == k else np.zeros(len(queries), bool)
    assert (result.indices == expected)[clear].all()


@pytest.fixture(scope="module")
def bank(patches: Floats) -> Floats:
    return np.ascontiguousarray(patches[greedy_k_center(patches[:3136], 500).indices])


@pytest.fixture(scope="module")
def queries(patches: Floats) -> Floats:
    return patches[3136:]


@pytest.mark.parametrize("k", [1, 2, 9, 40, 500])
def test_equal_to_brute_force(bank: Floats, queries: Floats, k: int) -> None:
    result = NeighbourIndex(bank).nearest(queries, k)
    assert result.distances.dtype == np.float32
    assert result.indices.dtype == np.int64
    assert_exact(bank, queries, k, result)


def test_most_pairs_are_ruled_out_by_their_bound(bank: Floats, queries: Floats) -> None:
    index = NeighbourIndex(bank)
    result = index.nearest(queries)
    assert len(queries) <= result.computed < 0.1 * len(queries) * len(bank)
    assert compiled_bank(index).short.shape[1] > 0  # shortened rows are tried too


@pytest.mark.parametrize("translation", [1e4, -3e5, 3e7])
def test_far_translation(bank: Floats, queries: Floats, translation: float) -> None:
    moved_bank = (bank + np.float32(translation)).astype(np.float32)
    moved_queries = (queries + np.float32(translation)).astype(np.float32)
    assert_exact(moved_bank, moved_queries, 3, NeighbourIndex(moved_bank).nearest(moved_queries, 3))


def test_queries_far_from_the_bank(bank: Floats, queries: Floats) -> None:
    far = (queries * np.float32(1e6) - np.float32(1e8)).astype(np.float32)
    assert_exact(bank, far, 2, NeighbourIndex(bank).nearest(far, 2))


@pytest.mark.parametrize("scale", [1e-38, 1e-20, 1e20, 1e34])
def test_extreme_scales(bank: Floats, queries: Floats, scale: float) -> None:
    small_bank = (bank * np.float32(scale)).astype(np.float32)
    small_queries = (queries * np.float32(scale)).astype(np.float32)
    result = NeighbourIndex(small_bank).nearest(small_queries)
    distances = brute_force(small_bank, small_queries)
    np.testing.assert_allclose(result.distances[:, 0], distances.min(axis=1), rtol=1e-6, atol=1e-45)


def test_bank_rows_find_themselves(bank: Floats) -> None:
    result = NeighbourIndex(bank).nearest(bank)
    assert (result.distances == 0).all()
    assert (result.indices[:, 0] == np.arange(len(bank))).all()


def test_of_duplicates_the_first_is_found(bank: Floats, queries: Floats) -> None:
    doubled = np.concatenate([bank[:100], bank[:100], bank[:100]])
    result = NeighbourIndex(doubled).nearest(queries, 3)
    single = NeighbourIndex(np.ascontiguousarray(bank[:100])).nearest(queries)
    expected = single.indices + np.array([[0, 100, 200]])
    assert (result.indices == expected).all()


def test_constant_features() -> None:
    constant = np.full((70, 152), 0.3, np.float32)
    result = NeighbourIndex(constant).nearest(constant[:30], 2)
    assert (result.distances == 0).all()
    assert (result.indices == [0, 1]).all()


def test_bank_of_one_row(bank: Floats, queries: Floats) -> None:
    row = bank[:1]
    assert_exact(row, queries, 1, NeighbourIndex(row).nearest(queries))


@given(st.integers(1, 80), st.integers(1, 60), st.integers(1, 30), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_any_small_bank(rows: int, dimensions: int, count: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    # Small integers: many exact ties.
    small_bank = random.integers(-3, 4, (rows, dimensions)).astype(np.float32)
    small_queries = random.integers(-3, 4, (count, dimensions)).astype(np.float32)
    k = int(random.integers(1, rows + 1))
    result = NeighbourIndex(small_bank).nearest(small_queries, k)
    distances = brute_force(small_bank, small_queries)
    expected = np.argsort(distances, axis=1, kind="stable")[:, :k]
    assert (result.indices == expected).all()


@pytest.mark.parametrize("k", [1, 5])
def test_an_excluded_group_is_not_seen(bank: Floats, queries: Floats, k: int) -> None:
    groups = np.arange(len(bank)) % 7
    index = NeighbourIndex(bank, groups)
    rest = np.flatnonzero(groups != 3)
    result = index.nearest(queries, k, exclude_group=3)
    expected = NeighbourIndex(np.ascontiguousarray(bank[rest])).nearest(queries, k)
    assert (result.indices == rest[expected.indices]).all()
    assert (result.distances == expected.distances).all()


def test_one_group_per_query_can_be_excluded(bank: Floats) -> None:
    groups = np.arange(len(bank)) % 5
    index = NeighbourIndex(bank, groups)
    result = index.nearest(bank, exclude_group=groups)
    assert (groups[result.indices[:, 0]] != groups).all()
    for group in range(5):
        own = groups == group
        alone = index.nearest(np.ascontiguousarray(bank[own]), exclude_group=group)
        assert (result.indices[own] == alone.indices).all()


def test_nearest_of_two_groups(bank: Floats, queries: Floats) -> None:
    groups: Integers = np.random.default_rng(0).integers(0, 6, len(bank))
    result = NeighbourIndex(bank, groups).nearest_of_two_groups(queries)
    distances = brute_force(bank, queries)
    first = distances.argmin(axis=1)
    assert (result.indices[:, 0] == first).all()
    for query in range(len(queries)):
        others = np.where(groups == groups[first[query]], np.inf, distances[query])
        assert result.indices[query, 1] == others.argmin()
        assert result.distances[query, 1] == pytest.approx(others.min(), rel=1e-6)


def test_nearest_of_two_groups_where_there_is_one(bank: Floats, queries: Floats) -> None:
    result = NeighbourIndex(bank, np.zeros(len(bank), np.int64)).nearest_of_two_groups(queries)
    assert (result.indices[:, 0] == NeighbourIndex(bank).nearest(queries).indices[:, 0]).all()
    assert (result.indices[:, 1] == -1).all()
    assert np.isinf(result.distances[:, 1]).all()


def test_a_far_row_does_not_hide_the_others(bank: Floats, queries: Floats) -> None:
    # Too long for the integers: shrunk before rounding, but still found exactly.
    spoilt = bank.copy()
    spoilt[5] = 1e6
    spoilt[7] *= 300
    searched = np.concatenate([queries, spoilt[[5, 7]], spoilt[[7]] * np.float32(1.0001)])
    result = NeighbourIndex(spoilt).nearest(searched, 3)
    assert_exact(spoilt, searched, 3, result)
    assert result.indices[-3:, 0].tolist() == [5, 7, 7]


@pytest.mark.parametrize("distance", [3.0, 50.0, 1e5, 1e20])
def test_queries_outside_of_the_integers(bank: Floats, queries: Floats, distance: float) -> None:
    for far in (queries * np.float32(distance), queries + np.float32(distance)):
        assert_exact(bank, far, 2, NeighbourIndex(bank).nearest(far, 2))


def test_half_of_the_bank_equal(bank: Floats, queries: Floats) -> None:
    # The median length is then zero or that of one row: so the scale must come from the others.
    half = bank.copy()
    half[:300] = half.mean(axis=0)
    assert_exact(half, queries, 4, NeighbourIndex(half).nearest(queries, 4))


@pytest.mark.parametrize("dimensions", [1, 2, 15, 16, 17, 600, 1536])
def test_any_number_of_dimensions(dimensions: int) -> None:
    # White noise: no component tells more than another, so that bounds rule out next to nothing.
    random = np.random.default_rng(dimensions)
    noise = random.standard_normal((260, dimensions)).astype(np.float32)
    assert_exact(noise[:200], noise[200:], 3, NeighbourIndex(noise[:200]).nearest(noise[200:], 3))


def test_ties_on_a_grid() -> None:
    random = np.random.default_rng(0)
    grid = random.integers(0, 3, (700, 4)).astype(np.float32)
    result = NeighbourIndex(grid[:600]).nearest(grid[600:], 5)
    distances = brute_force(grid[:600], grid[600:])
    expected = np.argsort(distances, axis=1, kind="stable")[:, :5]
    assert (result.indices == expected).all()


def test_threads_may_search_at_once(bank: Floats, queries: Floats) -> None:
    index = NeighbourIndex(bank)
    expected = index.nearest(queries, 2)
    wrong: list[int] = []

    def search(number: int) -> None:
        for _ in range(5):
            result = index.nearest(queries, 2)
            if not (result.indices == expected.indices).all():
                wrong.append(number)

    threads = [threading.Thread(target=search, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_more_neighbours_than_rows_are_refused(bank: Floats, queries: Floats) -> None:
    with pytest.raises(ParameterError, match="501 neighbours: must be 1 to 500"):
        NeighbourIndex(bank).nearest(queries, 501)
    index = NeighbourIndex(bank, np.arange(500) // 100)
    with pytest.raises(ParameterError, match=r"must be 1 to 400.*outside the excluded group"):
        index.nearest(queries, 401, exclude_group=2)
    assert index.nearest(queries, 401, exclude_group=99).indices.shape == (784, 401)


def test_unfit_input_is_refused(bank: Floats, queries: Floats) -> None:
    index = NeighbourIndex(bank)
    with pytest.raises(ParameterError, match="151 dimensions, but the memory bank has 152"):
        index.nearest(np.ascontiguousarray(queries[:, 1:]))
    with pytest.raises(ParameterError, match="not finite"):
        index.nearest(np.full((1, 152), np.nan, np.float32))
    with pytest.raises(ParameterError, match="not finite"):
        NeighbourIndex(np.full((2, 152), np.inf, np.float32))
    with pytest.raises(ParameterError, match="no groups"):
        index.nearest(queries, exclude_group=1)
    with pytest.raises(ParameterError, match="one group per row"):
        NeighbourIndex(bank, np.zeros(3, np.int64))
    with pytest.raises(ParameterError, match="one per query"):
        NeighbourIndex(bank, np.zeros(500, np.int64)).nearest(
            queries, exclude_group=np.zeros(3, np.int64)
        )
    with pytest.raises(ParameterError, match="0 neighbours"):
        index.nearest(queries, 0)


def test_shortened_vectors_never_rule_out_what_whole_ones_do_not() -> None:
    random = np.random.default_rng(8)
    count, pairs, short_pairs = 40, 16, 6
    vectors = random.normal(size=(count, 2 * pairs)) * random.uniform(0.1, 9, size=2 * pairs)
    # Some of the greatest length there may be, some with all of it in the part cut off, zeros.
    vectors *= random.choice([30.0, 300.0, 1e6], size=(count, 1))
    vectors[:4, : 2 * pairs - 9] = 0
    vectors[4] = 0
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    integers = np.trunc(vectors * np.minimum(1, LONGEST / np.maximum(lengths, 1))).astype(np.int16)
    shortened = np.zeros((count, 2 * short_pairs), np.int16)
    for vector, short in zip(integers, shortened, strict=True):
        shorten(vector, 1, 0, short)
    assert np.array_equal(shortened[:, :-1], integers[:, : 2 * short_pairs - 1])
    whole = integers.astype(np.int64) @ integers.T.astype(np.int64)
    least = shortened.astype(np.int64) @ shortened.T.astype(np.int64)
    assert (least >= whole).all()
    assert least.max() < 2**31
    # And not more than Cauchy and Schwarz allow, rounding aside.
    assert np.diagonal(least - whole).max() <= 2 * LONGEST + 1
