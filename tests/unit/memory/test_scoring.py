from __future__ import annotations

import math
import time

import numpy as np
import numpy.typing as npt
import pytest
from scipy.ndimage import gaussian_filter

from patchbank.errors import ParameterError
from patchbank.memory import maps
from patchbank.memory.maps import Region, anomaly_map, find_regions, place_map
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import (
    SCORE_METHODS,
    checked_score_method,
    image_score,
    image_scores,
    reweighted_score,
)

Floats = npt.NDArray[np.float32]


@pytest.fixture
def distances() -> Floats:
    return np.random.default_rng(0).random((5, 28, 28)).astype(np.float32)


def test_max_and_top_one_percent(distances: Floats) -> None:
    assert image_scores(distances, "max").tolist() == [d.max() for d in distances]
    for image, score in zip(distances, image_scores(distances, "top1percent"), strict=True):
        assert score == pytest.approx(np.sort(image.ravel())[-8:].mean(), rel=1e-6)
        assert image_score(image, "top1percent") == score
        assert image_score(image) == image.max()


def test_top_one_percent_of_few_patches_is_the_largest() -> None:
    assert image_score(np.array([[1, 5], [2, 3]], np.float32), "top1percent") == 5


def test_unknown_methods_are_refused(distances: Floats) -> None:
    for method in SCORE_METHODS:
        assert checked_score_method(method) == method
    with pytest.raises(ParameterError, match="'median': must be one of max, top8, top1percent"):
        checked_score_method("median")
    with pytest.raises(ParameterError, match="must be max, top8 or top1percent"):
        image_scores(distances, "reweighted")  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match="expected shape"):
        image_scores(distances[0], "max")


def equation_seven(features: Floats, bank: Floats, b: int, scale: float = 1.0) -> float:
    """Return the paper's score by its formula, in Python's own floats."""
    wide, patches = bank.astype(np.float64), features.reshape(-1, bank.shape[1]).astype(np.float64)
    table = np.linalg.norm(patches[:, None] - wide[None], axis=2)
    worst = int(table.min(axis=1).argmax())
    nearest = int(table[worst].argmin())
    around = np.argsort(np.linalg.norm(wide - wide[nearest], axis=1), kind="stable")[:b]
    s = float(table[worst, nearest])
    weight = 1 - math.exp(s) / math.fsum(math.exp(float(table[worst, row])) for row in around)
    return weight * s


def score_of(features: Floats, bank: Floats, neighbours: int) -> float:
    index = NeighbourIndex(bank)
    found = index.nearest(features.reshape(-1, bank.shape[1]))
    shape = features.shape[:2]
    return reweighted_score(
        features,
        found.distances.reshape(shape),
        found.indices.reshape(shape),
        index,
        neighbours=neighbours,
    )


@pytest.mark.parametrize("neighbours", [1, 3, 9])
def test_reweighted_score_is_the_papers(neighbours: int) -> None:
    random = np.random.default_rng(1)
    bank = random.standard_normal((60, 6)).astype(np.float32)
    features = random.standard_normal((4, 5, 6)).astype(np.float32) * 2
    expected = equation_seven(features, bank, neighbours)
    assert score_of(features, bank, neighbours) == pytest.approx(expected, rel=1e-5, abs=1e-9)


def test_reweighted_score_of_large_distances_is_finite() -> None:
    random = np.random.default_rng(1)
    bank = (random.standard_normal((60, 6)) * 1e4).astype(np.float32)
    features = (random.standard_normal((4, 5, 6)) * 1e5).astype(np.float32)
    score = score_of(features, bank, 9)
    assert math.isfinite(score)
    assert score >= 0


def test_reweighted_score_with_fewer_rows_than_neighbours() -> None:
    bank = np.array([[0, 0], [1, 0]], np.float32)
    features = np.full((1, 1, 2), 3, np.float32)
    assert score_of(features, bank, 9) == pytest.approx(equation_seven(features, bank, 2), rel=1e-6)


def slow_bilinear(values: Floats, side: int) -> npt.NDArray[np.float64]:
    """Return half-pixel-centre bilinear upsampling, a pixel at a time."""
    height, width = values.shape
    result = np.empty((side, side))
    for y in range(side):
        for x in range(side):
            row = min(max((y + 0.5) * height / side - 0.5, 0), height - 1)
            column = min(max((x + 0.5) * width / side - 0.5, 0), width - 1)
            top, left = int(row), int(column)
            bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
            v, u = row - top, column - left
            result[y, x] = (
                values[top, left] * (1 - v) * (1 - u)
                + values[top, right] * (1 - v) * u
                + values[bottom, left] * v * (1 - u)
                + values[bottom, right] * v * u
            )
    return result


@pytest.mark.parametrize(("shape", "side"), [((7, 7), 56), ((5, 8), 31), ((1, 1), 9), ((2, 1), 4)])
def test_map_is_bilinear_then_gaussian(shape: tuple[int, int], side: int) -> None:
    values = np.random.default_rng(2).random(shape).astype(np.float32)
    upsampled = slow_bilinear(values, side)
    np.testing.assert_allclose(anomaly_map(values, (side, side), 0.0), upsampled, atol=1e-6)
    smoothed = gaussian_filter(upsampled, 2.5, mode="reflect")
    np.testing.assert_allclose(anomaly_map(values, (side, side), 2.5), smoothed, atol=1e-6)


def test_maps_of_many_images_are_those_of_each(distances: Floats) -> None:
    maps = anomaly_map(distances, (224, 224))
    assert maps.shape == (5, 224, 224)
    assert maps.dtype == np.float32
    for heatmap, image in zip(maps, distances, strict=True):
        np.testing.assert_allclose(heatmap, anomaly_map(image, (224, 224)), rtol=1e-6)


def test_a_constant_map_stays_constant() -> None:
    np.testing.assert_allclose(
        anomaly_map(np.full((28, 28), 3, np.float32), (224, 224)), 3.0, rtol=1e-6
    )


@pytest.mark.parametrize(("side", "sigma"), [(0, 4.0), (224, -1.0), (224, float("nan"))])
def test_map_parameters_out_of_range_are_refused(side: int, sigma: float) -> None:
    with pytest.raises(ParameterError, match="anomaly map"):
        anomaly_map(np.ones((2, 2), np.float32), (side, side), sigma)


def test_place_map_marks_what_was_not_inspected() -> None:
    anomaly = anomaly_map(np.random.default_rng(3).random((4, 4)).astype(np.float32), (40, 40))
    placed = place_map(anomaly, (10, 5, 50, 45), width=70, height=60)
    assert placed.shape == (60, 70)
    assert np.isfinite(placed).sum() == 1600
    np.testing.assert_allclose(placed[5:45, 10:50], anomaly, rtol=1e-6)


def test_place_map_stretches_to_the_box() -> None:
    ramp = np.tile(np.arange(8, dtype=np.float32), (8, 1))
    placed = place_map(ramp, (0, 0, 32, 8), width=32, height=8)
    assert np.isfinite(placed).all()
    assert placed[0, 0] == 0
    assert placed[0, -1] == 7
    assert np.all(np.diff(placed[3]) >= 0)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (-1, 0, 5, 5), (0, 0, 11, 5), (5, 0, 4, 5)])
def test_a_box_outside_of_the_image_is_refused(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(ParameterError, match="must be inside the image of 10 x 10"):
        place_map(np.ones((4, 4), np.float32), box, width=10, height=10)
    with pytest.raises(ParameterError, match="must be inside the image of 10 x 10"):
        find_regions(np.ones((4, 4), np.float32), 0.5, box=box, width=10, height=10)


def test_regions_in_pixels_of_the_original_image() -> None:
    anomaly = np.zeros((100, 100), np.float32)
    anomaly[10:20, 30:50] = 2.0
    anomaly[15, 40] = 3.0
    anomaly[90:95, 90:95] = 5.0
    regions = find_regions(anomaly, 1.0, box=(20, 0, 220, 200), width=240, height=200)
    assert [region.peak_score for region in regions] == [5.0, 3.0]
    assert regions[1].box_xyxy == (80, 20, 120, 40)
    assert regions[1].area_pixels == 800
    assert regions[1].area_percent == pytest.approx(100 * 800 / 48_000)
    assert regions[1].peak_xy == (101, 31)
    assert regions[0].box_xyxy == (200, 180, 210, 190)


def test_regions_touching_at_a_corner_are_one() -> None:
    anomaly = np.eye(6, dtype=np.float32)
    assert len(find_regions(anomaly, 0.5, box=(0, 0, 6, 6), width=6, height=6)) == 1


def test_regions_are_strictly_above_the_threshold() -> None:
    anomaly = np.ones((6, 6), np.float32)
    assert find_regions(anomaly, 1.0, box=(0, 0, 6, 6), width=6, height=6) == []


def test_small_regions_can_be_left_out() -> None:
    anomaly = np.zeros((10, 10), np.float32)
    anomaly[0, 0] = 9
    anomaly[5:8, 5:8] = 1
    found = find_regions(
        anomaly, 0.5, box=(0, 0, 10, 10), width=10, height=10, minimum_area_percent=2.0
    )
    assert [region.area_pixels for region in found] == [9]


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (223, 225), (1000, 31)])
def test_regions_fit_images_of_any_size(size: tuple[int, int]) -> None:
    width, height = size
    anomaly = np.random.default_rng(4).random((224, 224)).astype(np.float32)
    regions = find_regions(anomaly, 0.9, box=(0, 0, width, height), width=width, height=height)
    assert regions
    assert all(region.box_xyxy[2] <= width and region.box_xyxy[3] <= height for region in regions)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"box_xyxy": (5, 5, 5, 9)}, "peak must be inside the box"),
        ({"peak_xy": (11, 6)}, "peak must be inside the box"),
        ({"area_pixels": 26}, "area of 1 to 25"),
        ({"area_pixels": 0}, "area of 1 to 25"),
        ({"area_percent": 0.0}, "above 0 and at most 100 %"),
        ({"peak_score": float("nan")}, "finite score"),
    ],
)
def test_a_region_checks_itself(change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {
        "box_xyxy": (5, 5, 10, 10),
        "area_pixels": 20,
        "area_percent": 1.0,
        "peak_score": 4.0,
        "peak_xy": (6, 6),
    }
    Region(**fields)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=message):
        Region(**(fields | change))  # type: ignore[arg-type]


@pytest.mark.serial
def test_a_map_leaves_no_thread_waiting_for_work() -> None:
    """A thread of BLAS that waits in a loop takes a core from the next image's network."""
    distances = np.random.default_rng(1).random((28, 28)).astype(np.float32)
    anomaly_map(distances, (224, 224))
    time.sleep(0.2)  # whatever ran before has gone to sleep
    burnt = []
    for _ in range(3):
        anomaly_map(distances, (224, 224))
        before = time.process_time()
        time.sleep(0.1)
        burnt.append(time.process_time() - before)
    # Without the split into pieces 24 ms on two cores; on one core no thread waits.
    assert min(burnt) < 0.005


@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 1), (5, 7, 3), (130, 120)])
@pytest.mark.parametrize("side", [1, 30, 225, 600])
def test_a_map_in_pieces_is_the_whole_product(shape: tuple[int, ...], side: int) -> None:
    distances = np.random.default_rng(1).random(shape).astype(np.float32)
    rows, columns = (maps._upsampling_and_smoothing(n, side, 2.0, n) for n in shape[-2:])
    expected = rows.astype(np.float64) @ distances.astype(np.float64) @ columns.T
    assert np.allclose(anomaly_map(distances, (side, side), 2.0), expected, rtol=1e-5, atol=1e-6)


def test_a_tiny_sigma_is_none() -> None:
    distances = np.random.default_rng(0).random((8, 8), np.float32)
    for sigma in (5e-324, 1e-200, 0.1):
        assert np.array_equal(
            anomaly_map(distances, (64, 64), sigma), anomaly_map(distances, (64, 64), 0.0)
        )
