"""Charts are well-formed, the same for the same data, and survive odd data."""

from __future__ import annotations

import io
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchbank.errors import MissingExtraError
from patchbank.memory.calibration import Thresholds
from patchbank.metrics import PixelScores, image_metrics
from patchbank.reports import charts, drawing
from patchbank.reports.sensitivity_chart import sensitivity_chart
from patchbank.reports.study_chart import PartScores, study_chart

RANDOM = np.random.default_rng(0)
GOOD = RANDOM.normal(1.0, 0.2, 200)
ANOMALOUS = RANDOM.normal(2.0, 0.5, 100)


def every_chart(theme: drawing.Theme, file_format: drawing.ChartFormat) -> list[bytes]:
    found = image_metrics([False] * 200 + [True] * 100, np.concatenate([GOOD, ANOMALOUS]))
    assert found.roc is not None
    assert found.image_auroc is not None
    assert found.precision_recall is not None
    assert found.average_precision is not None
    pixels = PixelScores()
    mask = np.zeros((20, 20), dtype=np.bool_)
    mask[4:8, 4:8] = True
    pixels.add(np.where(mask, 2.0, RANDOM.random((20, 20)) * 3), mask)
    pro = pixels.metrics()
    assert pro.pro is not None
    assert pro.aupro is not None
    options: dict[str, Any] = {"theme": theme, "file_format": file_format}
    return [
        charts.score_histogram(GOOD, ANOMALOUS, Thresholds(1.5, 1.5), **options),
        charts.limits_histogram(GOOD, [], ANOMALOUS, Thresholds(1.4, 1.5), **options),
        charts.roc_chart(found.roc, found.image_auroc, operating_point=(0.01, 0.8), **options),
        charts.precision_recall_chart(
            found.precision_recall, found.average_precision, operating_point=(0.8, 0.9), **options
        ),
        charts.pro_chart(pro.pro, pro.aupro, pro.fpr_limit, **options),
        charts.found_chart(
            [
                charts.SettingPoint("1", 9.5, 0.0, 0.2, False),
                charts.SettingPoint("2", 80.0, 0.5, 0.9, True),
            ],
            100.0,
            **options,
        ),
        study_chart(
            [
                PartScores([1.0, 1.1, 1.05], False, False),
                PartScores([1.4, 1.7], True, True),
                PartScores([2.0], True, False),
            ],
            Thresholds(1.5, 1.6),
            **options,
        ),
        sensitivity_chart(
            np.linspace(0, 1, 12).reshape(2, 3, 2),
            ["scratch", "spot"],
            ["4 px", "8 px", "16 px"],
            ["10", "40"],
            [[None, 2], [0, 1]],
            **options,
        ),
    ]


@pytest.mark.parametrize("theme", [drawing.LIGHT, drawing.DARK])
def test_svg_is_whole_and_needs_nothing_from_outside(theme: drawing.Theme) -> None:
    for chart in every_chart(theme, "svg"):
        ElementTree.fromstring(chart)
        text = chart.decode()
        assert theme.background in text
        assert theme.good in text
        assert "<text" not in text  # letters are outlines
        assert "<image" not in text
        assert "@import" not in text
        references = [part.split('"')[0] for part in text.split('href="')[1:]]
        assert all(reference.startswith("#") for reference in references)


def test_png_decodes() -> None:
    for chart in every_chart(drawing.LIGHT, "png"):
        with Image.open(io.BytesIO(chart)) as image:
            image.load()
            assert image.width > 400


def test_equal_data_gives_equal_files() -> None:
    first, again = (charts.score_histogram(GOOD, ANOMALOUS, Thresholds(1.5, 1.5)) for _ in range(2))
    assert first == again
    assert first != charts.score_histogram(GOOD, ANOMALOUS, Thresholds(1.5, 1.6))


@pytest.mark.parametrize(
    ("good", "anomalous", "threshold"),
    [([], [1.0, 2.0], 1.5), ([1.0], [], 1.5), ([2.0, 2.0], [2.0], 2.0), ([0.0], [1e30], 1.0)],
)
def test_odd_scores_are_drawn(good: list[float], anomalous: list[float], threshold: float) -> None:
    ElementTree.fromstring(
        charts.score_histogram(good, anomalous, Thresholds(threshold, threshold))
    )


def test_nothing_global_is_left_behind() -> None:
    import matplotlib as mpl

    before = mpl.rcParams.copy()
    charts.score_histogram(GOOD, ANOMALOUS, Thresholds(1.5, 1.5))
    assert mpl.rcParams.copy() == before
    assert "matplotlib.pyplot" not in sys.modules


def test_without_matplotlib_the_command_to_install_it_is_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(MissingExtraError, match=r"patchbank\[report\]"):
        charts.score_histogram(GOOD, ANOMALOUS, Thresholds(1.5, 1.5))


def test_a_limit_far_from_all_scores_does_not_press_them_into_one_bin() -> None:
    scores = np.linspace(10, 20, 50)
    assert charts.bin_edges(scores, [1000.0])[-1] == 20
    near = charts.bin_edges(scores, [8.0, 25.0])
    assert (near[0], near[-1]) == (8.0, 25.0)
    assert charts.bin_edges([], [7.0])[0] == 7.0
    assert b"beyond this picture" in charts.score_histogram(
        scores, [], Thresholds(15.0, 1000.0), file_format="svg"
    )
