from __future__ import annotations

import tracemalloc
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.memory.budget import FitSize, Parts, largest_ratio, least_bytes, plan_parts
from patchbank.memory.budget import _gathering as gathering_bytes
from patchbank.memory.budget import _merging as merging_bytes
from patchbank.memory.budget import whole_bytes as bytes_in_memory
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.leave_one_out import leave_one_out_distances
from patchbank.memory.streaming import PartCoresets, StreamedLeaveOneOut

LARGE = FitSize(5000, 784, 1536, 6144, 0.1)


def test_more_room_means_more_kept_and_larger_parts() -> None:
    assert bytes_in_memory(LARGE) > 24e9
    plans = [plan_parts(LARGE, int(gigabytes * 1e9)) for gigabytes in (2, 8, 10, 16, 24)]
    assert plans[0] is None
    found = [plan for plan in plans if plan is not None]
    assert [plan.kept_ratio for plan in found] == sorted(plan.kept_ratio for plan in found)
    assert found[0].kept_ratio == pytest.approx(0.1)
    assert found[-1].kept_ratio == pytest.approx(0.2)
    for plan in found:
        assert plan.count * plan.images >= LARGE.images > (plan.count - 1) * plan.images


def test_the_smallest_room_is_enough_and_less_is_not() -> None:
    least = least_bytes(LARGE)
    assert plan_parts(LARGE, least) is not None
    assert plan_parts(LARGE, int(0.95 * least)) is None


def test_a_smaller_ratio_that_fits_is_offered() -> None:
    ratio = largest_ratio(LARGE, 2_000_000_000)
    assert ratio is not None
    assert plan_parts(replace(LARGE, ratio=ratio), 2_000_000_000) is not None
    assert largest_ratio(LARGE, 1000) is None


def test_kept_rows_are_rounded_up() -> None:
    parts = Parts(count=2, images=3, kept_ratio=0.1)
    assert parts.kept_rows(11) == 2
    assert parts.kept_rows(1) == 1
    assert Parts(1, 1, 1.0).kept_rows(7) == 7


def peak_of(work: object) -> int:
    """Return the peak memory that the work allocates."""
    assert callable(work)
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.slow
@pytest.mark.parametrize("dimension", [16, 200])
def test_no_stage_takes_more_than_is_counted(dimension: int) -> None:
    images, patches, ratio = 120, 400, 0.1
    size = FitSize(images, patches, dimension, 1, ratio)
    # Fewer directions than dimensions, as features have.
    random = np.random.default_rng(0)
    mixture = random.normal(size=(8, dimension)).astype(np.float32)

    def features(count: int) -> npt.NDArray[np.float32]:
        chosen = np.random.default_rng(count)
        return chosen.normal(size=(count * patches, 8)).astype(np.float32) @ mixture

    def whole() -> None:
        rows = features(images)
        coreset = greedy_k_center(rows, size.bank_rows)
        leave_one_out_distances(rows, np.arange(images).repeat(patches), coreset)

    def add(parts: PartCoresets, part: int) -> None:
        rows = features(40 + part)[: 40 * patches]
        parts.add(rows, np.arange(40 * part, 40 * part + 40).repeat(patches), 40 * patches // 5)

    def streamed() -> None:
        parts = PartCoresets(3 * 40 * patches // 5, dimension)
        for part in range(3):
            add(parts, part)
        merged = parts.merge(size.bank_rows)
        StreamedLeaveOneOut(merged)(0, features(1).reshape(20, 20, dimension))

    # The first runs import and compile.
    whole()
    streamed()
    buffers = 64_000_000 + images * 32_768
    # Allow a few megabytes for buffers and for making the features here.
    allowed = 8_000_000 - buffers
    assert peak_of(whole) <= bytes_in_memory(size) + allowed
    counted = max(gathering_bytes(size, 0.2, 40), merging_bytes(size, 0.2))
    assert peak_of(streamed) <= counted + allowed
