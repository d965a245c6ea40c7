"""The metrics compared with scikit-learn, SciPy and literal loops over the definitions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats
from sklearn import metrics as reference

from patchbank.errors import ParameterError
from patchbank.metrics import PixelScores, image_metrics, pixels, proportion, rates_at

Maps = list[npt.NDArray[np.float32]]
Masks = list[npt.NDArray[np.bool_]]


def textbook_aupro(maps: Maps, masks: Masks, limit: float) -> float:
    """Compute per-region overlap and false-positive rate, one threshold at a time."""
    regions = []
    for index, mask in enumerate(masks):
        labels, count = ndimage.label(mask, structure=np.ones((3, 3)))
        regions += [(index, labels == number) for number in range(1, count + 1)]
    good = sum(int((~mask).sum()) for mask in masks)
    points = [(0.0, 0.0)]
    for threshold in np.unique(np.concatenate([m.ravel() for m in maps]))[::-1]:
        found = [m >= threshold for m in maps]
        alarms = sum(int((f & ~mask).sum()) for f, mask in zip(found, masks, strict=True))
        overlaps = [found[index][region].mean() for index, region in regions]
        points.append((alarms / good, float(np.mean(overlaps))))
    area = 0.0
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        if x0 >= limit:
            break
        if x1 > limit:
            y1 = y0 + (y1 - y0) * (limit - x0) / (x1 - x0)
            x1 = limit
        area += (x1 - x0) * (y0 + y1) / 2
    return area / limit


def gather(maps: Maps, masks: Masks) -> PixelScores:
    gathered = PixelScores()
    for anomaly_map, mask in zip(maps, masks, strict=True):
        gathered.add(anomaly_map, mask)
    return gathered


def small_case(seed: int, levels: float | None) -> tuple[Maps, Masks]:
    """Return four small maps, three with regions that may touch at corners; `levels` makes ties."""
    rng = np.random.default_rng(seed)
    maps: Maps = []
    masks: Masks = []
    for index in range(4):
        mask = rng.random((13, 17)) < (0.0 if index == 3 else 0.2)
        anomaly_map = rng.normal(size=mask.shape) + 1.2 * mask
        if levels:
            anomaly_map = np.round(anomaly_map * levels) / levels
        maps.append(anomaly_map.astype(np.float32))
        masks.append(mask)
    return maps, masks


@pytest.fixture(params=[1, 3, None], ids=["tables", "tables and lists", "lists"])
def storage(request: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Count small cases in the same way as large ones."""
    if request.param is not None:
        monkeypatch.setattr(pixels, "_TABLE_FROM", request.param)
        monkeypatch.setattr(pixels, "_NARROW", 500)


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("levels", [None, 3, 0.1])
@pytest.mark.parametrize("limit", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("seed", [0])
def test_pixel_figures_equal_the_definitions(seed: int, limit: float, levels: float | None) -> None:
    """At 0.1 levels nearly all scores are 0, so that maps are constant."""
    maps, masks = small_case(seed, levels)
    found = gather(maps, masks).metrics(limit)
    labels = np.concatenate([mask.ravel() for mask in masks])
    scores = np.concatenate([m.ravel() for m in maps])
    assert found.aupro == pytest.approx(textbook_aupro(maps, masks, limit), abs=1e-9)
    assert found.pixel_auroc == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-9)
    assert found.pixel_average_precision == pytest.approx(
        reference.average_precision_score(labels, scores), abs=1e-9
    )


@settings(max_examples=60, deadline=None)
@given(data=st.data())
@pytest.mark.parametrize("table_from", [1, 4, 1 << 14])
def test_aupro_equals_the_definition_on_odd_values(table_from: int, data: Any) -> None:
    """Test few distinct, huge and tiny values, tied columns and positions without a score."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixels, "_TABLE_FROM", table_from)
        check_odd_values(data)


def check_odd_values(data: Any) -> None:
    values = st.sampled_from([0.0, -0.0, 1.0, 1.0000001, 2.0, 1e-30, -1e30, 1e30, np.nan])
    shape = (4, 5)
    maps: Maps = []
    masks: Masks = []
    for _ in range(2):
        flat = data.draw(st.lists(values, min_size=20, max_size=20))
        mask = data.draw(st.lists(st.booleans(), min_size=20, max_size=20))
        maps.append(np.array(flat, dtype=np.float32).reshape(shape))
        masks.append(np.array(mask).reshape(shape))
    found = gather(maps, masks).metrics(0.3)
    anomalous = sum(int(mask.sum()) for mask in masks)
    if anomalous in (0, 40):
        assert found.aupro is None
        assert found.pixel_auroc is None
        return
    # A position without a score is never flagged: it ranks below all others.
    ranked = [np.where(np.isnan(m), np.float32(-np.inf), m) for m in maps]
    assert found.aupro == pytest.approx(textbook_aupro(ranked, masks, 0.3), abs=1e-9)
    labels = np.concatenate([mask.ravel() for mask in masks])
    scores = stats.rankdata(np.concatenate([m.ravel() for m in ranked]))
    assert found.pixel_auroc == pytest.approx(reference.roc_auc_score(labels, scores), abs=1e-9)
    assert found.pixel_average_precision == pytest.approx(
        reference.average_precision_score(labels, scores), abs=1e-9
    )


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2), st.data())
def test_any_scores_are_ranked_as_numbers(scores: list[float], data: Any) -> None:
    """Include negative and subnormal scores, with regions of one pixel."""
    mask = np.array([data.draw(st.booleans()) for _ in scores])
    mask[0], mask[-1] = True, False
    found = gather([np.array([scores], dtype=np.float32)], [mask[np.newaxis]]).metrics()
    assert found.pixel_auroc == pytest.approx(
        reference.roc_auc_score(mask, stats.rankdata(scores)), abs=1e-12
    )


def test_regions_touching_at_a_corner_are_one() -> None:
    mask = np.array([[True, False], [False, True]])
    assert gather([np.zeros((2, 2), np.float32)], [mask]).metrics().regions == 1


def test_each_region_has_the_same_weight_whatever_its_area() -> None:
    mask = np.zeros((10, 20), dtype=np.bool_)
    mask[0, 0] = True
    mask[5:10, 5:20] = True
    missed = np.zeros((10, 20), dtype=np.float32)
    missed[0, 0] = 1.0  # the small region is found before any false positive, the large one is not
    missed[~mask] = 0.5
    assert gather([missed], [mask]).metrics().aupro == pytest.approx(0.5)


def test_the_drawn_curve_is_thin_and_true() -> None:
    rng = np.random.default_rng(0)
    mask = np.zeros((200, 200), dtype=np.bool_)
    mask[50:120, 60:90] = True
    anomaly_map = (rng.normal(size=mask.shape) + mask).astype(np.float32)
    found = gather([anomaly_map], [mask]).metrics(1.0)
    assert found.pro is not None
    assert found.aupro is not None
    assert len(found.pro.x) <= 1001
    assert (found.pro.x[0], found.pro.y[0]) == (0.0, 0.0)
    assert (found.pro.x[-1], found.pro.y[-1]) == pytest.approx((1.0, 1.0))
    assert np.trapezoid(found.pro.y, found.pro.x) == pytest.approx(found.aupro, abs=2e-3)


def test_more_images_after_a_first_result_count() -> None:
    maps, masks = small_case(5, None)
    gathered = gather(maps[:2], masks[:2])
    gathered.metrics()
    for anomaly_map, mask in zip(maps[2:], masks[2:], strict=True):
        gathered.add(anomaly_map, mask)
    once, twice = gather(maps, masks).metrics(), gathered.metrics()
    assert (once.aupro, once.pixel_auroc) == (twice.aupro, twice.pixel_auroc)


def test_good_images_only_have_no_pixel_figures() -> None:
    gathered = PixelScores()
    gathered.add(np.ones((3, 3), np.float32), None)
    found = gathered.metrics()
    assert (found.aupro, found.pixel_auroc, found.regions, found.images) == (None, None, 0, 1)


@pytest.mark.parametrize(
    ("anomaly_map", "mask"),
    [
        (np.zeros((3, 3)), np.zeros((3, 4), dtype=np.bool_)),
        (np.zeros(9), np.zeros(9, dtype=np.bool_)),
        (np.full((3, 3), np.inf), np.ones((3, 3), dtype=np.bool_)),
    ],
)
def test_a_map_that_fits_no_mask_is_refused(
    anomaly_map: npt.NDArray[np.float64], mask: npt.NDArray[np.bool_]
) -> None:
    with pytest.raises(ParameterError):
        PixelScores().add(anomaly_map, mask)


@pytest.mark.parametrize("limit", [0.0, -0.1, 1.1])
def test_a_limit_outside_its_range_is_refused(limit: float) -> None:
    with pytest.raises(ParameterError, match="limit"):
        PixelScores().metrics(limit)


def test_memory_is_bounded_by_the_scores_and_not_by_the_images() -> None:
    """Forty doublings take no more than their pixels; sixty images, no more than twenty."""
    rng = np.random.default_rng(0)
    mask = np.zeros((256, 256), dtype=np.bool_)
    mask[50:150, 60:200] = True
    wide = PixelScores()
    for _ in range(4):
        wide.add(np.exp2(rng.uniform(-20, 20, mask.shape)), mask)
    good, anomalous = 4 * int((~mask).sum()), 4 * int(mask.sum())
    assert wide.nbytes <= 4 * good + 12 * anomalous
    assert wide.metrics().pixel_auroc == pytest.approx(0.5, abs=0.01)
    narrow = PixelScores()
    sizes = []
    for _ in range(60):
        narrow.add(rng.uniform(1, 1.05, mask.shape) + 0.025 * mask, mask)
        sizes.append(narrow.nbytes)
    assert sizes[0] < sizes[10]
    assert sizes[-1] - sizes[20] < sizes[0]
    assert sizes[-1] <= (40 + 120) << 20
    assert narrow.metrics().pixel_auroc == pytest.approx(7 / 8, abs=0.01)


@pytest.mark.parametrize("ties", [False, True])
def test_image_figures_equal_scikit_learn(ties: bool) -> None:
    rng = np.random.default_rng(3)
    labels = rng.random(300) < 0.4
    scores = rng.normal(size=300) + labels
    if ties:
        scores = np.round(scores)
    found = image_metrics(labels, scores)
    assert found.image_auroc == pytest.approx(reference.roc_auc_score(labels, scores))
    assert found.average_precision == pytest.approx(
        reference.average_precision_score(labels, scores)
    )
    every_f1 = {
        float(threshold): float(reference.f1_score(labels, scores >= threshold))
        for threshold in scores
    }
    assert found.f1_max == pytest.approx(max(every_f1.values()))
    assert found.f1_max_threshold is not None
    assert every_f1[found.f1_max_threshold] == pytest.approx(found.f1_max)
    assert found.good + found.anomalous == 300
    assert found.roc is not None
    assert np.trapezoid(found.roc.y, found.roc.x) == pytest.approx(found.image_auroc)


@pytest.mark.parametrize("label", [True, False])
def test_one_class_alone_has_no_image_figures(label: bool) -> None:
    found = image_metrics([label, label], [0.1, 0.2])
    assert (found.image_auroc, found.average_precision, found.f1_max, found.roc) == (None,) * 4
    assert (found.good, found.anomalous) == ((0, 2) if label else (2, 0))


@pytest.mark.parametrize(
    ("labels", "scores"),
    [([], []), ([True], [0.1, 0.2]), ([True, False], [0.1, float("nan")])],
)
def test_scores_that_cannot_be_measured_are_refused(
    labels: list[bool], scores: list[float]
) -> None:
    with pytest.raises(ParameterError):
        image_metrics(labels, scores)


def test_rates_count_what_lies_above_the_threshold() -> None:
    labels = [False] * 4 + [True] * 3
    scores = [0.1, 0.2, 0.5, 0.9, 0.5, 0.6, 0.7]
    rates = rates_at(labels, scores, threshold=0.5)
    assert rates.false_alarm_rate is not None
    assert rates.recall is not None
    assert (rates.false_alarm_rate.count, rates.false_alarm_rate.total) == (1, 4)
    assert rates.recall.value == pytest.approx(2 / 3)
    assert rates_at([True], [1.0], 0.5).false_alarm_rate is None
    with pytest.raises(ParameterError):
        rates_at(labels, scores, float("nan"))


@pytest.mark.parametrize(("count", "total"), [(0, 20), (3, 200), (7, 9), (20, 20)])
def test_intervals_equal_scipys(count: int, total: int) -> None:
    expected = stats.binomtest(count, total).proportion_ci(0.95, method="exact")
    found = proportion(count, total)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert found.low <= found.value <= found.high


@pytest.mark.parametrize(
    ("count", "total", "confidence"), [(1, 0, 0.9), (3, 2, 0.9), (-1, 2, 0.9), (1, 2, 1.0)]
)
def test_impossible_shares_are_refused(count: int, total: int, confidence: float) -> None:
    with pytest.raises(ParameterError):
        proportion(count, total, confidence)
