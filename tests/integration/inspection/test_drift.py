"""Recorded inspections are looked at for drift."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import psycopg
import pytest
from PIL import Image

from patchbank.api import open_bank
from patchbank.errors import ParameterError
from patchbank.inspection.judging.defects import add_defects, remove_defects
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.living.add import add
from patchbank.inspection.living.drift import find_drift
from patchbank.inspection.living.drift_series import references_of
from patchbank.inspection.workspace import Workspace
from tests.fixtures.browser import opened_page
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import brushed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.usefixtures("learned")

GOOD, CHANGED = 60, 40
Pixels = npt.NDArray[np.uint8]


def lit(pixels: Pixels, factor: float) -> Pixels:
    return np.asarray(np.clip(pixels * factor, 0, 255), np.uint8)


def spotted(seed: int) -> Pixels:
    """Return a surface as with dirt on the lens, in the upper left."""
    pixels = brushed(seed).copy()
    pixels[4:28, 4:28] = 120
    return pixels


def inspect(
    workspace: Workspace, images: list[Pixels], folder: Path | None = None, station: str = ""
) -> None:
    """Record inspections of images, from files of a folder if there is one."""
    inspector = Inspector(workspace, "brushed")
    sources: list[Pixels | Path] = list(images)
    names = [f"{station or 'image'}-{number:03}" for number in range(len(images))]
    if folder is not None:
        folder.mkdir()
        sources = []
        for name, image in zip(names, images, strict=True):
            Image.fromarray(image).save(folder / f"{name}.png")
            sources.append(folder / f"{name}.png")
        names = [str(source) for source in sources]
    list(inspector.inspect_many(sources, names=names, top=0, station=station or None))


@pytest.fixture
def good(workspace: Workspace) -> Workspace:
    """Have inspections of good surfaces recorded."""
    inspect(workspace, [brushed(1000 + number) for number in range(GOOD)])
    return workspace


def test_without_a_change_the_code_is_0(good: Workspace, patchbank: Run) -> None:
    outcome = patchbank("drift", "brushed", "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert document["changed"] is False
    assert document["verdict"].startswith("no change found in 60 inspections since 20")
    assert document["images_per_false_alarm"] == 10_000
    assert document["inspections"] == GOOD
    assert 0 < document["evidence"] < 10_000
    trends = {trend["series"]: trend for trend in document["trends"]}
    low, high = trends["brightness"]["references"]
    assert low < trends["brightness"]["last"] < high
    assert trends["outside"]["references"] is None
    shown = patchbank("drift", "brushed")
    assert shown.code == 0
    assert "no change found in 60 inspections" in shown.out
    assert "at most one false alarm in 10,000 inspections, on average" in shown.out


def test_images_that_are_brighter_are_found(
    good: Workspace, patchbank: Run, tmp_path: Path
) -> None:
    folder = tmp_path / "a brighter lamp"
    inspect(good, [lit(brushed(2000 + n), 1.1) for n in range(CHANGED)], folder)
    outcome = patchbank("drift", "brushed", "--json")
    assert outcome.code == 1
    (change,) = outcome.document["changes"]
    assert change["lasts"] is True
    assert change["ended_at"] is None
    effect = change["effects"][0]
    assert effect["series"] == "brightness"
    assert effect["after"] / effect["before"] == pytest.approx(1.1, abs=0.02)
    assert effect["text"].endswith("% brighter")
    assert effect["within"] is False
    assert Path(change["begun_with"]).stem in ("image-000", "image-001")
    assert change["images_until_found"] < 30
    assert outcome.document["verdict"].startswith("changed since about 20")
    shown = patchbank("drift", "brushed")
    assert shown.code == 1
    assert "% brighter" in shown.out


def test_the_images_to_add_can_be_added(good: Workspace, patchbank: Run, tmp_path: Path) -> None:
    inspect(good, [lit(brushed(2000 + n), 1.4) for n in range(CHANGED)], tmp_path / "new lamp")
    inspect(good, [brushed(3000 + n, scratched=True) for n in range(3)], tmp_path / "scratched")
    suggested = patchbank("drift", "brushed", "--json").document["suggested"]
    images = suggested["images"]
    assert images
    assert all(image["verdict"] != "fail" for image in images)
    assert sum(image["covers"] for image in images) <= 1
    files = [image["image"] for image in images if image["has_file"]]
    line = shlex.split(suggested["command"])
    assert line == ["patchbank", "add", "brushed", *files]
    # What a person called a defect is not suggested, although it passes.
    add_defects(good, "brushed", [files[0]], label="dark")
    again = patchbank("drift", "brushed", "--json").document["suggested"]["images"]
    assert files[0] not in [image["image"] for image in again]
    remove_defects(good, "brushed", [files[0]])
    outcome = patchbank(*line[1:], "--json")
    assert outcome.code == 0, outcome.err
    assert sum(image["patches"] for image in outcome.document["added"]) > 0


def test_a_change_in_one_corner_is_named(good: Workspace) -> None:
    inspect(good, [spotted(4000 + number) for number in range(CHANGED)])
    report = find_drift(good, "brushed", suggested=False)
    assert report.changed
    assert "most in the upper left" in report.changes[-1].text
    failing = [effect for effect in report.changes[-1].effects if effect.series == "score"]
    assert "of the images do not pass" in failing[0].text


def test_a_change_that_ended_is_told_from_one_that_lasts(good: Workspace) -> None:
    inspect(good, [lit(brushed(5000 + number), 1.4) for number in range(30)])
    inspect(good, [brushed(6000 + number) for number in range(60)])
    report = find_drift(good, "brushed", suggested=False)
    (change,) = report.changes
    assert not change.lasts
    assert GOOD - 1 <= change.begin <= GOOD + 1
    assert abs(change.end - (GOOD + 29)) <= 8
    assert report.verdict.startswith("changed from about 20")
    assert report.changed


def test_days_limit_what_is_reported_and_the_base_can_be_the_new_world(
    good: Workspace, database_url: str
) -> None:
    inspect(good, [lit(brushed(5000 + number), 1.4) for number in range(30)])
    inspect(good, [brushed(6000 + number) for number in range(60)])
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update patchbank.inspection set inspected_at = inspected_at - interval '3 days'"
        )
    inspect(good, [brushed(7000 + number) for number in range(60)])
    assert find_drift(good, "brushed", suggested=False).changed
    recent = find_drift(good, "brushed", days=1, suggested=False)
    assert not recent.changed
    assert recent.inspections == 60
    assert "150 inspections before" in recent.compared_with
    # The brighter world from now on, compared with itself alone.
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update patchbank.inspection set inspected_at = inspected_at - interval '3 days'"
        )
    inspect(good, [lit(brushed(8000 + number), 1.4) for number in range(60)])
    assert find_drift(good, "brushed", days=1, suggested=False).changed
    anew = find_drift(good, "brushed", days=1, base="inspections", suggested=False)
    assert not anew.changed
    assert anew.compared_with == "the inspections themselves"


def test_stations_are_looked_at_by_themselves(good: Workspace, patchbank: Run) -> None:
    inspect(good, [brushed(2000 + n) for n in range(CHANGED)], station="left")
    inspect(good, [lit(brushed(3000 + n), 1.4) for n in range(CHANGED)], station="right")
    assert patchbank("drift", "brushed", "--station", "left", "--json").code == 0
    right = patchbank("drift", "brushed", "--station", "right", "--json")
    assert right.code == 1
    assert right.document["station"] == "right"
    # Where the station was dark from its first image on, the references tell.
    assert right.document["changes"][0]["begun_with"] in ("right-000", "right-001")


def test_versions_of_a_bank_are_compared_in_units_of_their_own(good: Workspace) -> None:
    add(good, "brushed", [brushed(9000 + number) for number in range(3)])
    inspect(good, [brushed(7000 + number) for number in range(GOOD)])
    report = find_drift(good, "brushed", suggested=False)
    assert not report.changed
    assert len(report.bank_versions) == 2
    assert any("versions 1 to 2 of the bank judged" in remark for remark in report.remarks)


def test_few_inspections_and_unknown_references_are_said(
    workspace: Workspace, database_url: str, patchbank: Run
) -> None:
    nothing = patchbank("drift", "brushed", "--json")
    assert nothing.code == 0
    assert nothing.document["verdict"] == "no inspections are recorded, so nothing can be said"
    with psycopg.connect(database_url) as connection:
        connection.execute("update patchbank.image set brightness = null, sharpness = null")
    inspect(workspace, [brushed(1000 + number) for number in range(5)])
    report = find_drift(workspace, "brushed", suggested=False)
    assert any("only 5 inspections" in remark for remark in report.remarks)
    assert any("fit again to know them" in remark for remark in report.remarks)
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update patchbank.inspection set brightness = null, sharpness = null, outside = null"
        )
    report = find_drift(workspace, "brushed", suggested=False)
    assert any("5 inspections of 5 were recorded by an earlier" in r for r in report.remarks)


def test_of_a_group_of_references_one_is_compared_with(workspace: Workspace) -> None:
    content = workspace.database.banks.active("brushed").content
    group = np.full(len(content.scores), -1)
    group[[2, 5, 7]], group[[3, 9]] = 0, 1
    grouped = replace(content, scores=replace(content.scores, group=group))
    found = references_of(grouped, (0.0, 0.5, 1.0))
    kept = [slot for slot in range(24) if slot not in (5, 7, 9)]
    assert np.allclose(found["score"], content.scores.score[kept] - 0.5)
    assert found["brightness"].tolist() == [content.images[slot].brightness for slot in kept]
    assert len(references_of(content, (0.0, 0.5, 1.0))["score"]) == 24


def test_what_cannot_be_is_refused(patchbank: Run, workspace: Workspace, tmp_path: Path) -> None:
    assert "there is no category 'brush'" in patchbank("drift", "brush").complaint
    for days, shown in (("0", "0"), ("-1", "-1"), ("nan", "nan"), ("1e9", "1e+09")):
        assert patchbank("drift", "brushed", "--days", days).complaint == (
            f"days {shown}: must be a number above 0, such as 7, and at most 36,500"
        )
    refused = patchbank("drift", "brushed", "--images-per-false-alarm", "0.5")
    assert refused.code == 2
    assert "must be at least 1" in refused.complaint
    (tmp_path / "mine.txt").write_text("mine")
    assert "has files that are not of a report" in (
        patchbank("drift", "brushed", "--report", tmp_path).complaint
    )
    with pytest.raises(ParameterError, match="base 'me'"):
        find_drift(workspace, "brushed", base="me")  # type: ignore[arg-type]


def test_the_page_shows_the_change(
    good: Workspace, browser: Browser, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    inspect(good, [lit(spotted(4000 + n), 1.2) for n in range(CHANGED)], tmp_path / "changed")
    folder = tmp_path / "page"
    with open_bank("brushed", home=graphs_home, database_url=database_url) as bank:
        report = bank.drift(report=folder)
    assert report.page == folder / "index.html"
    json.dumps(report.to_json(), allow_nan=False)
    for width, scheme in ((1200, "light"), (420, "dark")):
        with opened_page(browser, folder / "index.html", width, scheme) as (tab, problems):
            assert problems == []
            assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            text = tab.inner_text("main")
            assert "brighter" in text
            assert "upper left" in text
            assert "at most one false alarm in 10,000 inspections" in text
            # Evidence and four trends; two maps; images before and since.
            assert tab.locator("figure.chart").count() == 5
            assert tab.locator(".shares figure").count() == 2
            assert tab.locator("text=since: ").count() >= 4
