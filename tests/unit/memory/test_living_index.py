from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from patchbank.errors import ParameterError
from patchbank.memory.living_index import LivingIndex
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import reweighted_score
from tests.unit.memory.conftest import compiled_bank

Floats = npt.NDArray[np.float32]
Integers = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def bank(patches: Floats) -> Floats:
    return np.ascontiguousarray(patches[:1000])


@pytest.fixture(scope="module")
def later(patches: Floats) -> Floats:
    return np.ascontiguousarray(patches[2400:3136])


@pytest.fixture(scope="module")
def queries(patches: Floats) -> Floats:
    return np.ascontiguousarray(patches[3136:3500])


def assert_as_fresh(
    index: LivingIndex, rows: dict[int, Floats], queries: Floats, ks: Sequence[int]
) -> None:
    """Compare with an index built of the rows that should be present, by slot."""
    slots = np.array(sorted(rows), np.int64)
    features = np.stack([rows[int(slot)] for slot in slots])
    assert (index.slots == slots).all()
    assert len(index) == len(slots)
    assert (index.rows(slots) == features).all()
    fresh = NeighbourIndex(features)
    for k in ks:
        expected, found = fresh.nearest(queries, k), index.nearest(queries, k)
        assert (found.distances == expected.distances).all()
        assert (found.indices == slots[expected.indices]).all()


def test_many_changes_of_all_sizes(bank: Floats, later: Floats, queries: Floats) -> None:
    random = np.random.default_rng(0)
    index, rows = LivingIndex(bank), dict(enumerate(bank))
    features, builds = compiled_bank(index).features, 0
    for size in (1, 20, 5, 15, 60, 1, 1, 40, 2):
        gone = random.choice(index.slots, size, replace=False)
        added = later[random.choice(len(later), size, replace=False)]
        first = index.next_slot
        index = index.with_changes(added, gone)
        for slot in gone:
            del rows[int(slot)]
        rows.update(enumerate(added, first))
        assert_as_fresh(index, rows, queries, [1, 9, 60])
        builds += not np.shares_memory(compiled_bank(index).features, features)
        features = compiled_bank(index).features
    # Once room was made, and once an index was built of all rows, when a fifth had changed.
    assert builds == 2


def test_the_old_index_stays_as_it_was(bank: Floats, later: Floats, queries: Floats) -> None:
    old = LivingIndex(bank, room=True)
    before = old.nearest(queries, 3)
    nearest = np.unique(before.indices[:, 0])[:30]
    # Two that follow on the same index, and each of them is followed in turn.
    left = old.with_changes(queries[:40], nearest)
    right = old.with_changes(later[:40])
    left_then = left.with_changes(later[100:120])
    right_then = right.with_changes(removed=np.array([0, 1039]))
    after = old.nearest(queries, 3)
    assert (after.distances == before.distances).all()
    assert (after.indices == before.indices).all()
    rows = dict(enumerate(bank))
    without = {slot: row for slot, row in rows.items() if slot not in nearest}
    left_rows = without | dict(enumerate(queries[:40], 1000))
    right_rows = rows | dict(enumerate(later[:40], 1000))
    assert_as_fresh(left, left_rows, queries, [2])
    assert_as_fresh(right, right_rows, queries, [2])
    assert_as_fresh(left_then, left_rows | dict(enumerate(later[100:120], 1040)), queries, [2])
    del right_rows[0], right_rows[1039]
    assert_as_fresh(right_then, right_rows, queries, [2])


def test_a_small_change_does_not_rebuild(bank: Floats, later: Floats) -> None:
    index = LivingIndex(bank, room=True)
    changed = index.with_changes(later[:20], np.arange(20))
    assert np.shares_memory(compiled_bank(changed).features, compiled_bank(index).features)
    assert changed._projection is index._projection
    assert changed.with_changes()._packed is changed._packed


def test_it_may_be_rebuilt_before_it_must(bank: Floats, later: Floats, queries: Floats) -> None:
    index = LivingIndex(bank, room=True).with_changes(later[:60], np.arange(30))
    index = index.with_changes(removed=np.array([1059]))
    assert index.changed_share == pytest.approx(0.091)
    rebuilt = index.rebuilt()
    assert rebuilt.changed_share == 0.0
    assert rebuilt.next_slot == index.next_slot == 1060
    rows = dict(enumerate(bank)) | dict(enumerate(later[:59], 1000))
    assert_as_fresh(rebuilt, {slot: rows[slot] for slot in range(30, 1059)}, queries, [2])


def test_rows_added_a_few_at_a_time_fill_panels(bank: Floats, later: Floats) -> None:
    index = LivingIndex(bank, room=True)
    panels = len(compiled_bank(index).panels.values)
    for row in range(150):
        index = index.with_changes(later[row : row + 1])
    width = len(compiled_bank(index).order) // len(compiled_bank(index).panels.values)
    assert len(compiled_bank(index).panels.values) <= panels + 150 // width + 1


def test_most_pairs_are_still_ruled_out(bank: Floats, later: Floats, queries: Floats) -> None:
    index = LivingIndex(bank).with_changes(later[:40], np.arange(0, 1000, 50))
    assert index.nearest(queries).computed < 0.1 * len(queries) * len(index)


@given(st.integers(1, 90), st.integers(1, 40), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_any_small_bank(count: int, dimensions: int, seed: int) -> None:
    random = np.random.default_rng(seed)

    def some(rows: int) -> Floats:
        # Small integers: many exact ties.
        return random.integers(-3, 4, (rows, dimensions)).astype(np.float32)

    first = some(count)
    slots = np.cumsum(random.integers(1, 4, count))
    index, rows = LivingIndex(first, slots), dict(zip(slots.tolist(), first, strict=True))
    for _ in range(4):
        added = some(int(random.integers(0, 12)))
        most = len(index) - (len(added) == 0)
        gone = random.choice(index.slots, int(random.integers(0, most + 1)), replace=False)
        next_slot = index.next_slot
        index = index.with_changes(added, gone)
        for slot in gone:
            del rows[int(slot)]
        rows.update(enumerate(added, next_slot))
        assert index.next_slot == next_slot + len(added)
        assert_as_fresh(index, rows, some(9), [int(random.integers(1, len(index) + 1))])


@pytest.mark.parametrize("scale", [1e-30, 1e-3, 1e3, 1e30])
def test_rows_of_another_scale_than_the_bank(
    bank: Floats, later: Floats, queries: Floats, scale: float
) -> None:
    added = later[:80] * np.float32(scale)
    searched = np.concatenate([queries, queries * np.float32(scale), added])
    rows = dict(enumerate(bank)) | dict(enumerate(added, len(bank)))
    assert_as_fresh(LivingIndex(bank).with_changes(added), rows, searched, [4])


def test_rounding_errors_are_those_of_the_added_rows_too(later: Floats, queries: Floats) -> None:
    # Rows that are all the same are rounded without an error.
    same = np.full((500, later.shape[1]), 5, np.float32)
    index = LivingIndex(same)
    changed = index.with_changes(later[:50])
    assert compiled_bank(index).error == 0.0
    assert compiled_bank(changed).error > 0.1
    assert (
        compiled_bank(changed.with_changes(removed=np.arange(5))).error
        == compiled_bank(changed).error
    )
    rows = dict(enumerate(same)) | dict(enumerate(later[:50], 500))
    assert_as_fresh(changed, rows, queries, [3])


def test_whole_panels_may_be_removed(bank: Floats, queries: Floats) -> None:
    index = LivingIndex(bank)
    width = len(compiled_bank(index).order) // len(compiled_bank(index).panels.values)
    gone = compiled_bank(index).order[2 * width : 4 * width]
    # The centres are taken again when rows come.
    index = index.with_changes(removed=gone).with_changes(queries[:5])
    rows = dict(enumerate(bank)) | dict(enumerate(queries[:5], len(bank)))
    for slot in gone:
        del rows[int(slot)]
    assert_as_fresh(index, rows, queries, [3])


def test_a_row_can_be_added_again_in_its_slot(bank: Floats, queries: Floats) -> None:
    index = LivingIndex(bank).with_changes(removed=np.array([3, 999]))
    again = index.with_changes(bank[[3, 999]], slots=np.array([3, 999]))
    assert_as_fresh(again, dict(enumerate(bank)), queries, [2])
    assert again.next_slot == index.next_slot == 1000


def test_the_last_slot_is_not_given_twice(bank: Floats) -> None:
    index = LivingIndex(bank[:30]).with_changes(removed=np.arange(20, 30))
    assert index.next_slot == 30
    assert index.with_changes(bank[40:41]).slots[-1] == 30


def test_reweighted_score_is_that_of_a_fresh_index(
    bank: Floats, later: Floats, queries: Floats
) -> None:
    index = LivingIndex(bank).with_changes(later[:70], np.arange(100, 170))
    fresh = NeighbourIndex(index.rows(index.slots))
    features = queries[:84].reshape(7, 12, -1)
    scores = []
    for source in (index, fresh):
        found = source.nearest(queries[:84])
        distances, nearest = found.distances.reshape(7, 12), found.indices.reshape(7, 12)
        scores.append(reweighted_score(features, distances, nearest, source))
    assert scores[0] == scores[1]


def test_searches_while_rows_change(bank: Floats, later: Floats, queries: Floats) -> None:
    states = [LivingIndex(bank, room=True)]
    for start in range(0, 60, 20):
        removed = np.arange(start, start + 20)
        states.append(states[-1].with_changes(later[start : start + 20], removed))
    expected = [NeighbourIndex(state.rows(state.slots)).nearest(queries) for state in states]
    wrong: list[int] = []
    current, finished = [states[0]], threading.Event()

    def watch() -> None:
        while not finished.is_set():
            index = current[0]
            found = index.nearest(queries)
            fits = [
                (found.distances == other.distances).all()
                and (found.indices == state.slots[other.indices]).all()
                for state, other in zip(states, expected, strict=True)
                if (state.slots == index.slots).all()
            ]
            wrong.append(not all(fits) or len(fits) != 1)

    threads = [threading.Thread(target=watch) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(10):
        index = states[0]
        for start in range(0, 60, 20):
            removed = np.arange(start, start + 20)
            index = index.with_changes(later[start : start + 20], removed)
            current[0] = index
    finished.set()
    for thread in threads:
        thread.join()
    assert wrong
    assert not any(wrong)


def test_what_does_not_fit_is_refused(bank: Floats, queries: Floats) -> None:
    index = LivingIndex(bank).with_changes(removed=np.array([7]))
    with pytest.raises(ParameterError, match="slot 7: has no row"):
        index.rows(np.array([6, 7]))
    with pytest.raises(ParameterError, match="slot 7: has no row"):
        index.with_changes(removed=np.array([7]))
    with pytest.raises(ParameterError, match="slot 1000: has no row"):
        index.with_changes(removed=np.array([1000]))
    with pytest.raises(ParameterError, match="slot 6: already has a row"):
        index.with_changes(bank[:2], slots=np.array([6, 7]))
    with pytest.raises(ParameterError, match="2 increasing nonnegative numbers"):
        index.with_changes(bank[:2], slots=np.array([1001, 1001]))
    with pytest.raises(ParameterError, match="1000 increasing nonnegative numbers"):
        LivingIndex(bank, np.arange(-1, 999))
    with pytest.raises(
        ParameterError, match="added rows: have 3 dimensions, but the memory bank has 152"
    ):
        index.with_changes(bank[:2, :3])
    with pytest.raises(ParameterError, match="added rows: some values are not finite"):
        index.with_changes(np.full((1, 152), np.nan, np.float32))
    with pytest.raises(ParameterError, match="no rows would remain"):
        index.with_changes(removed=index.slots)
    with pytest.raises(ParameterError, match="1000 neighbours: must be 1 to 999"):
        index.nearest(queries, 1000)
    with pytest.raises(ParameterError, match="queries: have 3 dimensions"):
        index.nearest(queries[:, :3])
    with pytest.raises(ParameterError, match="no groups"):
        index.nearest(queries, exclude_group=1)
