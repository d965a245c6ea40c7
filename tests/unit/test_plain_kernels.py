"""NumPy computes the same as the compiled kernels."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.compiler import compiles
from patchbank.memory.coreset import greedy_k_center
from patchbank.memory.leave_one_out import leave_one_out_distances
from patchbank.memory.living_index import LivingIndex
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.streaming import PartCoresets, StreamedLeaveOneOut
from patchbank.metrics import PixelScores
from patchbank.settings import get_settings
from tests.unit.memory.conftest import patch_features

Floats = npt.NDArray[np.float32]


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """Compute with NumPy."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHBANK_COMPILED_KERNELS", "false")
        get_settings.cache_clear()
        assert not compiles()
        yield
    get_settings.cache_clear()


def both(work: Callable[[], Any]) -> tuple[Any, Any]:
    """Return the results of `work` with the compiled kernels and with NumPy."""
    assert compiles()
    compiled = work()
    with plain():
        return compiled, work()


@pytest.fixture(scope="module")
def images() -> Floats:
    """Features of five images, (5, 12, 12, 64)."""
    return patch_features(side=12, dimensions=64)


@pytest.fixture(scope="module")
def rows(images: Floats) -> Floats:
    """The same features as rows, with duplicates."""
    flat = images.reshape(-1, images.shape[-1]).copy()
    flat[100:120] = flat[:20]
    return flat


@pytest.mark.parametrize("scale", [1.0, 1e-15, 1e15])
def test_nearest_rows(rows: Floats, scale: float) -> None:
    bank, queries = rows[:500] * np.float32(scale), rows[400:] * np.float32(scale)
    groups = np.arange(500) // 50

    def work() -> list[Any]:
        index = NeighbourIndex(bank, groups)
        return [
            index.nearest(queries),
            index.nearest(queries, 5),
            index.nearest(bank, 2, exclude_group=groups),
            index.nearest_of_two_groups(queries),
            NeighbourIndex(bank, np.zeros(500, np.int64)).nearest_of_two_groups(queries),
        ]

    for compiled, numpy in zip(*both(work), strict=True):
        np.testing.assert_array_equal(compiled.indices, numpy.indices)
        np.testing.assert_array_equal(compiled.distances, numpy.distances)


def test_rows_that_change(rows: Floats) -> None:
    def work() -> list[Any]:
        index = LivingIndex(rows[:400], room=True)
        changed = index.with_changes(rows[400:440], np.arange(10, 30))
        indexes = (index, changed, changed.rebuilt())
        found = [searched.nearest(rows[300:], 3) for searched in indexes]
        return [*found, changed.with_changes(rows[:200]).nearest(rows, 2)]

    for compiled, numpy in zip(*both(work), strict=True):
        np.testing.assert_array_equal(compiled.indices, numpy.indices)
        np.testing.assert_array_equal(compiled.distances, numpy.distances)


@pytest.mark.parametrize("count", [1, 70, 720])
def test_coresets(rows: Floats, count: int) -> None:
    compiled, numpy = both(lambda: greedy_k_center(rows, count, seed=3))
    np.testing.assert_array_equal(compiled.indices, numpy.indices)
    np.testing.assert_array_equal(compiled.radii, numpy.radii)
    assert numpy.covering_radius == pytest.approx(compiled.covering_radius, rel=1e-12)


def test_images_left_out(images: Floats, rows: Floats) -> None:
    def work() -> list[Any]:
        coreset = greedy_k_center(rows, 72)
        image = np.arange(len(images)).repeat(len(rows) // len(images))
        whole = leave_one_out_distances(rows, image, coreset)
        parts = PartCoresets(300, images.shape[-1])
        for part in (image < 3, image >= 3):
            parts.add(rows[part], image[part], 100)
        streamed = StreamedLeaveOneOut(parts.merge(60))
        found = [streamed(image, images[image]) for image in range(len(images))]
        return [whole.distances, whole.nearest, whole.put_back,
                *(left_out.distances for left_out in found)]  # fmt: skip

    for compiled, numpy in zip(*both(work), strict=True):
        np.testing.assert_allclose(compiled, numpy, rtol=1e-6)


@pytest.mark.parametrize("digits", [1, 8])
@pytest.mark.parametrize("side", [40, 200])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
def test_pixel_figures(digits: int, side: int, limit: float) -> None:
    random = np.random.default_rng(side)

    def work() -> Any:
        scores = PixelScores()
        for number in range(4):
            mask = np.zeros((side, side), np.bool_)
            if number:
                mask[5 : 5 + 4 * number, 8:20] = mask[-4:, -6:] = True
            heat = random.normal(2 + mask, 1).round(digits).astype(np.float32)
            heat[0, :3] = np.nan
            scores.add(heat, mask)
        return scores.metrics(limit)

    state = random.bit_generator.state
    compiled = work()
    random.bit_generator.state = state
    with plain():
        numpy = work()
    for name in ("pixel_auroc", "pixel_average_precision", "aupro"):
        assert getattr(numpy, name) == pytest.approx(getattr(compiled, name), rel=1e-12)
    assert abs(len(numpy.pro.x) - len(compiled.pro.x)) <= 2


_WITHOUT = """
import sys, warnings
sys.modules["{missing}"] = None
warnings.simplefilter("error")
import numpy as np
from patchbank.memory.neighbours import NeighbourIndex
bank = np.eye(5, dtype=np.float32)
try:
    NeighbourIndex(bank)
except Warning as warning:
    print(type(warning).__name__, warning)
warnings.simplefilter("ignore")
print(NeighbourIndex(bank).nearest(bank[3:]).indices.ravel())
"""


@pytest.mark.parametrize("missing", ["numba", "llvmlite"])
def test_without_the_compiler_there_is_one_warning(missing: str) -> None:
    script = _WITHOUT.format(missing=missing)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    warning, found = done.stdout.strip().splitlines()
    assert warning.startswith("SlowKernelsWarning numeric kernels cannot be compiled (")
    assert missing in warning
    assert found == "[3 4]"
