"""Settings are tried on good images with synthetic defects, and one is recommended."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from patchbank.api import open_bank
from patchbank.errors import ParameterError
from tests.fixtures.browser import opened_page
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces, brushed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

QUICK = ("--defect-sizes", "6,24", "--budget-ms", "1e4", "--false-alarm-rate", "0.1")


def found_of(row: dict[str, Any], size: int, key: str = "located") -> int:
    return sum(cell[key] for cell in row["by_defect"] if cell["size"] == size)


def test_settings_are_tried_and_one_is_recommended(
    patchbank: Run, surfaces: Surfaces, learned: Outcome
) -> None:
    before = patchbank("show", "brushed", "--json").document
    outcome = patchbank("tune", "brushed", surfaces.train, *QUICK, "--json")
    assert outcome.code == 0, outcome.err
    document = outcome.document
    assert document["synthetic"] is True
    assert "synthetic" in document["note"]
    assert (document["images_learned"], document["images_held_out"]) == (16, 8)
    rows = document["settings"]
    titles = [row["title"] for row in rows]
    assert len(set(titles)) == len(titles) == 5
    marks = {mark: row["title"] for row in rows for mark in row["marks"]}
    assert marks == {
        "what fit chooses": "224 x 224, blocks.4 and blocks.10",
        "the paper's": "224 x 224, blocks.4 and blocks.10",
        "in use now": "96 x 96, blocks.4 and blocks.10",
    }
    assert "scale 1, blocks.2 and blocks.4" in titles
    for row in rows:
        assert [(cell["size"], cell["contrast"]) for cell in row["by_defect"]] == [
            (6, "faint"), (6, "clear"), (24, "faint"), (24, "clear"),
        ]  # fmt: skip
        assert all(
            cell["found"] <= min(cell["located"], cell["fails"]) for cell in row["by_defect"]
        )
        assert all(cell["defects"] == 8 for cell in row["by_defect"])
        # Larger defects are found at least as well.
        assert found_of(row, 24) >= 12
        assert found_of(row, 24) >= found_of(row, 6)
        assert row["milliseconds"] > 0
        assert 0 <= row["false_alarms"] <= 8
    times = [row["milliseconds"] for row in rows]
    assert times == sorted(times)
    recommended = rows[document["recommended"]]
    if document["command"] is not None:
        words = shlex.split(document["command"])
        assert words[:4] == ["patchbank", "fit", "brushed", str(surfaces.train)]
        assert words[-2:] == ["--false-alarm-rate", "0.1"]
        assert recommended["title"] in document["recommendation"]
    assert patchbank("show", "brushed", "--json").document == before
    assert not patchbank("defects", "list", "brushed", "--json").documents


def test_the_command_line_makes_the_setting(patchbank: Run, surfaces: Surfaces) -> None:
    document = patchbank(
        "tune", "other", surfaces.train, *QUICK, "--exclude", "003.png", "--json"
    ).document
    (row,) = [row for row in document["settings"] if row["title"] == "scale 1, blocks.4"]
    assert row["fit_options"] == {
        "false_alarm_rate": 0.1, "exclude": ["003.png"], "scale": 1.0, "layers": ["blocks.4"],
    }  # fmt: skip
    words = shlex.split(document["command"])[1:]
    fitted = patchbank(*words, "--json")
    assert fitted.code == 0, fitted.err
    extractor = document["settings"][document["recommended"]]["extractor"]
    assert fitted.document["extractor"] == extractor
    assert fitted.document["images"] == 23
    assert patchbank("categories", "--json").document["category"] == "other"


def test_what_fit_chooses_is_named_in_the_command(patchbank: Run, tmp_path: Path) -> None:
    for number in range(12):
        pixels = np.pad(brushed(number), ((0, 300), (0, 276), (0, 0)), mode="reflect")
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    outcome = patchbank(
        "tune", "wide", tmp_path, "--defect-sizes", "20", "--layers", "blocks.4", "--json"
    )
    assert outcome.code == 0, outcome.err
    document = outcome.document
    (chosen,) = [row for row in document["settings"] if "what fit chooses" in row["marks"]]
    scale = chosen["extractor"]["scale"]
    assert chosen["title"] == f"scale {scale:g}, blocks.4"
    assert chosen["fit_options"] == {"layers": ["blocks.4"], "scale": scale}
    # The tile was not asked for.
    assert not any("--tile" in line for row in document["settings"] for line in row["remarks"])
    assert "--tile" not in outcome.err


def test_the_table_says_what_is_synthetic(patchbank: Run, surfaces: Surfaces) -> None:
    outcome = patchbank("tune", "brushed", surfaces.train, *QUICK, "--layers", "blocks.4")
    assert outcome.code == 0, outcome.err
    assert "24 px" in outcome.out
    assert "The defects are synthetic" in outcome.out
    assert "what fit chooses" in outcome.out
    assert "blocks.10" not in outcome.out
    assert "16 images learned, 8 others judged" in outcome.out
    assert "only 8 images held out, so the figures are rough" in outcome.err
    assert "    patchbank fit brushed" in outcome.out
    assert patchbank("categories").out.count("brushed") == 0


@pytest.fixture
def page(database_url: str, graphs_home: Path, tmp_path: Path) -> Path:
    """The page of a trial by the Python API, with images of two shapes."""
    images = [brushed(number) for number in range(12)]
    images += [np.ascontiguousarray(brushed(number)[:80]) for number in range(20, 26)]
    with open_bank("plate", home=graphs_home, database_url=database_url) as bank:
        report = bank.tune(
            images, names=[f"<b>{number}</b>" for number in range(18)], defect_sizes=[20],
            false_alarm_rate=0.1, report=tmp_path,
        )  # fmt: skip
        assert not bank.fitted
    assert report.page == tmp_path / "index.html"
    assert report.command is not None
    assert report.command.startswith("patchbank fit plate GOOD_IMAGES")
    document = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(report.to_json()))
    return report.page


def test_the_page_shows_it(browser: Browser, page: Path) -> None:
    for width, scheme in ((420, "light"), (420, "dark"), (1400, "light")):
        with opened_page(browser, page, width, scheme) as (tab, problems):
            assert not problems
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert tab.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
            text = tab.locator("main").inner_text()
            assert "The defects are synthetic" in text
            assert "patchbank fit plate GOOD_IMAGES" in text
            assert "<b>" in text
            assert "can pass although something in it is outlined" in text
            outcomes = tab.locator(".panels .verdict").all_inner_texts()
            words = {"FOUND", "MISSED", "LOCATED, BUT PASSES", "FAILS ELSEWHERE"}
            assert len(outcomes) == 2 * 3
            assert set(outcomes) <= words
            assert tab.locator("table.settings").count() == 3


def test_another_report_takes_the_folder_of_the_first(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    images = sorted(surfaces.train.iterdir())[:9]
    options = ("--defect-sizes", "20", "--layers", "blocks.4", "--report", tmp_path)
    for rate in ("0.1", "0.2"):
        outcome = patchbank("tune", "other", *images, *options, "--false-alarm-rate", rate)
        assert outcome.code == 0, outcome.err
    names = sorted(path.name.split("-")[0] for path in tmp_path.iterdir())
    assert names == ["index.html", "pictures", "results.json"]
    document = json.loads((tmp_path / "results.json").read_text())
    assert "--false-alarm-rate 0.2" in document["command"]


def test_an_interrupted_trial_leaves_the_folder_as_it_was(
    surfaces: Surfaces, database_url: str, graphs_home: Path, tmp_path: Path
) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        if stage.startswith("settings tried, about") and done > total / 2:
            raise KeyboardInterrupt

    with (
        open_bank("brushed", home=graphs_home, database_url=database_url) as bank,
        pytest.raises(KeyboardInterrupt),
    ):
        bank.tune(surfaces.train, defect_sizes=[20], report=tmp_path, progress=interrupt)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_tried_is_said_in_a_line(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    for arguments, expected in (
        (("--defect-sizes", "4,x"), "--defect-sizes 4,x: give whole numbers of pixels"),
        (("--defect-sizes", "1"), "defect size 1: must be"),
        (("--defect-sizes", "4,97"), "defect size 97: larger than the images, of 96 x 96 pixels"),
        (("--budget-ms", "0"), "above 0"),
        (("--budget-ms", "inf"), "budget_ms inf: must be a number above 0"),
        (("--scale", "1"), "no such option"),
        (("--backbone", "nothing"), "unknown backbone 'nothing'"),
        (("--report", surfaces.train / "000.png"), "it is a file"),
    ):
        outcome = patchbank("tune", "brushed", surfaces.train, *arguments)
        assert outcome.code == 2
        assert expected in outcome.complaint
    for number in range(9):
        Image.fromarray(brushed(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "8.png").write_bytes(b"no picture")
    (tmp_path / "7.png").write_bytes((tmp_path / "6.png").read_bytes())
    outcome = patchbank("tune", "brushed", tmp_path)
    assert outcome.code == 2
    assert "7 usable images of 9 given" in outcome.complaint
    with (
        open_bank("brushed") as bank,
        pytest.raises(ParameterError, match="tune tries image sizes and scales itself"),
    ):
        bank.tune(surfaces.train, scale=1.0)


def test_settings_that_fail_are_left_out(
    patchbank: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(9):
        pixels = np.pad(brushed(number), ((0, 74), (0, 74), (0, 0)), mode="reflect")
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    monkeypatch.setenv("PATCHBANK_MAX_IMAGE_MEGAPIXELS", "0.03")
    outcome = patchbank("tune", "brushed", tmp_path, *QUICK, "--layers", "blocks.4", "--json")
    assert outcome.code == 0, outcome.err
    assert [row["title"] for row in outcome.document["settings"]] == ["224 x 224, blocks.4"]
    (line,) = outcome.document["left_out"]
    assert line.startswith("scale 1.4, blocks.4: 0 usable images of 6 given")
    assert "remark   not tried: scale 1.4, blocks.4: " in outcome.err
