"""The page of `patchbank inspect --report`."""

from __future__ import annotations

import re
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from patchbank.errors import ReportError
from patchbank.inspection.judging import report as report_module
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.measuring.demo import run_demo
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from tests.fixtures.browser import opened_page
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture
def inspector(database_url: str, graphs_home: Path, learned: Outcome) -> Inspector:
    return Inspector(Workspace(home=graphs_home, database_url=database_url), "brushed")


def test_the_page_shows_all_images_by_score(
    inspector: Inspector, surfaces: Surfaces, tmp_path: Path, browser: Browser
) -> None:
    hostile = tmp_path / "<img src=x onerror=alert(1)>.png"
    hostile.write_bytes(min(surfaces.good.iterdir()).read_bytes())
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    images = [hostile, broken, *sorted(surfaces.scratched.iterdir())[:3]]
    folder = tmp_path / "a report #1"
    with inspector.workspace:
        found = [
            item
            for item in inspector.inspect_many(images, report=folder)
            if isinstance(item, Inspection)
        ]
    order = [item.image for item in sorted(found, key=lambda item: -item.score)]
    for width, scheme in ((1400, "light"), (420, "dark")):
        with opened_page(browser, folder / "index.html", width, scheme) as (tab, problems):
            assert tab.locator("tbody th").all_inner_texts() == order
            cases = tab.locator("article")
            assert cases.count() == len(found)
            assert order[0] in cases.first.inner_text()
            assert cases.first.locator("img").count() == 3 + 5
            assert tab.evaluate(
                "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
            )
            assert tab.evaluate("document.documentElement.scrollWidth") <= width
            assert "broken.png" in tab.locator("[aria-label='Not judged']").inner_text()
            assert problems == []


def test_only_the_highest_scores_are_drawn(
    inspector: Inspector, surfaces: Surfaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_module, "_MOST_CASES", 3)
    monkeypatch.setattr(report_module, "_MOST_ROWS", 5)
    images = [*sorted(surfaces.good.iterdir())[:4], *sorted(surfaces.scratched.iterdir())[:4]]
    for order in (images, images[::-1]):
        with inspector.workspace:
            found = list(inspector.inspect_many(order, top=0, report=tmp_path / "report"))
        page = (tmp_path / "report" / "index.html").read_text()
        highest = sorted(
            (item for item in found if isinstance(item, Inspection)), key=lambda item: -item.score
        )
        shown = re.findall(r'<th scope="row">(.*?)</th>', page)
        assert shown == [item.image for item in highest[:5]]
        assert "The 3 images with the highest scores, of 8." in page
        (pictures,) = (tmp_path / "report").glob("pictures-*")
        used = set(re.findall(r'src="[^"]*/([^"/]+)"', page))
        # What was drawn for an image that others left behind is removed.
        assert {file.name for file in pictures.iterdir()} == used
        assert len(used) == 3 * 3


def test_an_interrupt_leaves_the_earlier_page(
    inspector: Inspector, surfaces: Surfaces, tmp_path: Path
) -> None:
    images = sorted(surfaces.good.iterdir())
    with inspector.workspace:
        list(inspector.inspect_many(images, report=tmp_path))
        before = {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()}
        stream = inspector.inspect_many(images, report=tmp_path)
        next(stream)
        stream.close()  # type: ignore[attr-defined]
    assert {file: file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()} == before


def test_a_folder_with_other_files_is_refused(
    patchbank: Run, learned: Outcome, surfaces: Surfaces, tmp_path: Path
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for command in (
        ("inspect", "brushed", surfaces.good, "--report", tmp_path),
        ("tune", "brushed", surfaces.train, "--report", tmp_path),
    ):
        outcome = patchbank(*command)
        assert outcome.code == 2
        assert outcome.out == ""
        assert outcome.complaint == (
            f"{tmp_path} has files that are not of a report, such as notes.txt; give a new or an "
            "empty folder, or that of an earlier report"
        )
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    with Workspace() as workspace, pytest.raises(ReportError, match=r"such as notes\.txt"):
        run_demo(workspace, tmp_path)


def test_images_that_cannot_be_judged_make_no_page(
    patchbank: Run, learned: Outcome, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    outcome = patchbank("inspect", "brushed", broken, "--report", tmp_path / "report")
    assert outcome.code == 2
    assert "no image could be judged, so no report was written" in outcome.err
    assert list((tmp_path / "report").iterdir()) == []


def test_the_page_says_what_hatching_means(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    text = "Hatched parts were not inspected."
    for options, hatched in (((), False), (("--ignore-box", "0%,0%,50%,50%"), True)):
        assert patchbank("fit", "part", surfaces.train, "--image-size", "64", *options).code == 0
        patchbank("inspect", "part", min(surfaces.good.iterdir()), "--report", tmp_path)
        assert (text in (tmp_path / "index.html").read_text()) == hatched


def test_open_shows_the_page(
    patchbank: Run,
    learned: Outcome,
    surfaces: Surfaces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[str] = []

    def open_address(address: str) -> bool:
        opened.append(address)
        return len(opened) == 1

    # There may be no browser, and a test opens none on a developer's screen.
    monkeypatch.setattr(webbrowser, "open", open_address)
    image, folder = min(surfaces.good.iterdir()), tmp_path / "report"
    arguments = ("inspect", "brushed", image, "--report", folder, "--open")
    assert f"report: {folder / 'index.html'}" in patchbank(*arguments).out
    assert opened == [(folder / "index.html").as_uri()]
    json = patchbank(*arguments, "--json")
    assert json.document["image"] == str(image)
    assert f"no browser was found to open {folder / 'index.html'} with" in json.err
    alone = patchbank("inspect", "brushed", image, "--open")
    assert alone.code == 2
    assert alone.complaint == "--open shows the page of --report; give --report FOLDER too"
