"""The published figures: each has a source, and their means equal the source's means."""

from __future__ import annotations

import numpy as np
import pytest

from patchbank.datasets.catalogue import DATASETS
from patchbank.datasets.published import Published, published, published_for, published_means
from patchbank.inspection.measuring.figures import FIGURES


@pytest.mark.parametrize("source", published(), ids=lambda source: source.title)
def test_every_figure_has_a_source_and_is_one(source: Published) -> None:
    assert source.dataset in DATASETS
    assert source.url.startswith("https://")
    for text in (source.title, source.source, source.settings, source.note):
        assert text.strip()
    assert len(source.figures) == 15
    for figures in source.figures.values():
        assert set(figures) <= {figure.key for figure in FIGURES}
        assert all(0.5 < value <= 1 for value in figures.values())


def test_means_equal_those_of_the_sources() -> None:
    """A typing error in any of fifteen figures would change the mean."""
    means = {
        "PatchCore's authors": {"image_auroc": 0.9916, "pixel_auroc": 0.9811, "aupro": 0.9437},
        "Anomalib, earlier table": {"image_auroc": 0.980, "pixel_auroc": 0.980, "f1_max": 0.976},
        "Anomalib, later table": {
            "image_auroc": 0.9865,
            "f1_max": 0.9839,
            "pixel_auroc": 0.9762,
            "aupro": 0.9082,
        },
    }
    assert {source.title for source in published()} == set(means)
    for source in published():
        for key, mean in means[source.title].items():
            # With three digits, rounded or truncated, the error is below one of the last digit.
            found = float(np.mean([figures[key] for figures in source.figures.values()]))
            assert found == pytest.approx(mean, abs=1e-3 if "earlier" in source.title else 1e-4)


def test_a_category_has_the_figures_of_its_data_set_alone() -> None:
    assert len(published_for("mvtec", "tile")) == 3
    assert published_for("mvtec", "brushed") == []
    assert published_for("btad", "tile") == []


def test_means_are_over_the_same_categories() -> None:
    """Those over all fifteen would be compared with ours over three."""
    names = ["tile", "grid", "leather"]
    authors, earlier, _ = published_means("mvtec", names)
    assert authors[0].title == "PatchCore's authors"
    assert authors[1]["image_auroc"] == pytest.approx((0.9949 + 0.9791 + 1) / 3)
    assert authors[1].keys() == {"image_auroc", "pixel_auroc", "aupro"}
    assert earlier[1].keys() == {"image_auroc", "pixel_auroc", "f1_max"}
    # A category that a source does not have is in our mean and not in its.
    assert published_means("mvtec", [*names, "my own part"]) == []
    assert published_means("visa", names) == []


def test_aupro_up_to_another_limit_is_not_compared() -> None:
    for found in (
        published_means("mvtec", ["tile", "grid"], aupro=False),
        published_for("mvtec", "tile", aupro=False),
    ):
        assert len(found) == 3
        assert not any("aupro" in figures for _, figures in found)
        assert all("image_auroc" in figures for _, figures in found)
