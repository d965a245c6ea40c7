"""The figures of a data set, of each kind of defect too, from Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from scipy.stats import beta

import patchbank
from patchbank.errors import DatasetError, ParameterError
from tests.fixtures.surfaces import Surfaces


@pytest.fixture
def root(surfaces: Surfaces, tmp_path: Path) -> Path:
    """Return a category with two kinds of defect; the images of `faint` are like good ones."""
    shutil.copytree(surfaces.root / "brushed", tmp_path / "set" / "tile")
    test = tmp_path / "set" / "tile" / "test"
    (test / "faint").mkdir()
    for number in range(4):
        shutil.move(test / "good" / f"{number:03}.png", test / "faint" / f"{number:03}.png")
    return tmp_path / "set"


def test_each_kind_of_defect_has_figures_of_its_own(root: Path, graphs_home: Path) -> None:
    report = patchbank.evaluate(root, "tile", image_size=96, home=graphs_home)
    assert list(report.categories) == ["tile"]
    tile = report.categories["tile"]
    faint, scratch = tile.facts["kinds"]
    assert (faint["kind"], faint["images"]) == ("faint", 4)
    assert (scratch["kind"], scratch["images"]) == ("scratch", 8)
    assert scratch["failed"] == 8
    assert scratch["image_auroc"] == scratch["recall"] == 1.0
    assert faint["failed"] < 4
    assert faint["image_auroc"] < 0.95
    low, high = scratch["recall_interval"]
    assert 0.6 < low < high == 1.0
    # The counts are those of the category, and so is the area: each kind weighs by its images.
    assert tile.values["recall"] == (faint["failed"] + scratch["failed"]) / 12
    together = (4 * faint["image_auroc"] + 8 * scratch["image_auroc"]) / 12
    assert tile.values["image_auroc"] == pytest.approx(together)
    assert report.average.values["image_auroc"] == tile.values["image_auroc"]
    assert report.failed == ()
    assert report.to_json()["categories"][0]["kinds"] == [faint, scratch]
    assert repr(report).startswith("<EvaluationReport of 1 category: image AUROC 0.")


def test_misses_have_an_interval_and_costs_a_proposal(root: Path, graphs_home: Path) -> None:
    costs = patchbank.Costs(500, 2, defect_rate=0.01)
    report = patchbank.evaluate(root, "tile", image_size=96, home=graphs_home, costs=costs)
    facts, recall = report.categories["tile"].facts, report.categories["tile"].values["recall"]
    assert recall is not None
    missed = round(12 * (1 - recall))
    assert 0 < missed < 12
    assert facts["miss_rate"] == missed / 12
    # Clopper and Pearson's, by the quantiles of the beta distribution.
    expected = [beta.ppf(0.025, missed, 13 - missed), beta.ppf(0.975, missed + 1, 12 - missed)]
    assert facts["miss_rate_interval"] == pytest.approx(expected)
    proposal = facts["proposal"]
    assert proposal["defects"] == 12
    assert proposal["cost_per_1000_parts"] <= proposal["cost_per_1000_parts_in_use"]
    promised = facts["stated_false_alarm_rate"]
    in_use = 1000 * (0.01 * missed / 12 * 500 + 0.99 * promised * 2)
    assert proposal["cost_per_1000_parts_in_use"] == pytest.approx(in_use)


def test_costs_without_an_anomalous_image_are_remarked_on(root: Path, graphs_home: Path) -> None:
    for kind in ("faint", "scratch"):
        shutil.rmtree(root / "tile" / "test" / kind)
    costs = patchbank.Costs(500, 2, defect_rate=0.01)
    report = patchbank.evaluate(root, "tile", image_size=96, home=graphs_home, costs=costs)
    tile = report.categories["tile"]
    assert tile.facts["proposal"] is None
    (remark,) = (text for text in tile.remarks if text.startswith("no proposal by costs: "))
    assert remark.endswith("add images of defects to the test images")
    plain = patchbank.evaluate(root, "tile", image_size=96, home=graphs_home)
    assert set(tile.remarks) - set(plain.categories["tile"].remarks) == {remark}


def test_a_category_that_cannot_be_used_is_in_the_report(root: Path, graphs_home: Path) -> None:
    shutil.copytree(root / "tile", root / "broken")
    for file in (root / "broken" / "train" / "good").iterdir():
        file.write_text("no picture")
    report = patchbank.evaluate(root, image_size=96, home=graphs_home)
    assert list(report.categories) == ["tile"]
    assert [item.category for item in report.failed] == ["broken"]
    assert "1 not evaluated" in repr(report)
    with pytest.raises(DatasetError, match=r"^broken: "):
        patchbank.evaluate(root, ["broken"], image_size=96, home=graphs_home)


def test_mistakes_are_refused(root: Path, graphs_home: Path) -> None:
    with pytest.raises(DatasetError, match="tyle"):
        patchbank.evaluate(root, "tyle", home=graphs_home)
    with pytest.raises(ParameterError, match="no name given"):
        patchbank.evaluate(root, [], home=graphs_home)
    with pytest.raises(ParameterError, match="mvtek"):
        patchbank.evaluate(root, dataset="mvtek", home=graphs_home)
