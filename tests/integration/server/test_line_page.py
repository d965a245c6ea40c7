"""The Line page, in a browser, on the running service."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from patchbank.inspection.workspace import Workspace
from patchbank.server import feed
from tests.fixtures.commands import Outcome, Run, start
from tests.fixtures.pages import inspect, visiting
from tests.fixtures.service import RunningService, running
from tests.fixtures.surfaces import Surfaces

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LINE = "/categories/brushed/line"


def test_the_line_shows_what_is_judged_as_it_is_judged(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    good = sorted(surfaces.good.iterdir())
    bad = sorted(surfaces.scratched.iterdir())
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url)
        assert tab.url.endswith(LINE)
        tab.get_by_text("No inspections yet.").wait_for()
        inspect(running_service, bad[0], part="4711", station="line-2")
        big = tab.locator(".big")
        big.locator(".verdict.fail").wait_for()
        assert "part 4711 · line-2" in big.inner_text()
        assert "Take the part out." in big.inner_text()
        # The picture, the map above it, and a box for each region.
        tab.locator(".layers .map:not([hidden])").wait_for()
        assert tab.locator(".layers rect").count() >= 1
        found = inspect(running_service, good[0], part="4712")
        big.get_by_text("part 4712").wait_for()
        assert big.locator(f".verdict.{found['verdict']}").is_visible()
        assert tab.locator(".strip li").count() == 2
        # One that a person picked stays for a while; the newest is a press away.
        tab.locator(".strip li button").nth(1).click()
        big.get_by_text("part 4711").wait_for()
        inspect(running_service, good[1], part="4713")
        tab.locator(".strip li").nth(2).wait_for()
        assert "part 4711" in big.inner_text()
        tab.get_by_role("button", name="Back to the newest").click()
        big.get_by_text("part 4713").wait_for()
        tab.locator("#opacity").fill("0")
        assert tab.locator(".layers .map").evaluate("map => map.style.opacity") == "0"
        tab.locator("#count-all").get_by_text("3").wait_for()
        assert tab.locator("#count-fail").inner_text() != "0"
        # However long the shift is.
        assert tab.locator("#rate").inner_text() != "0 an hour"
        # Another station has none of these but the first.
        tab.goto(running_service.url + LINE + "?station=line-2")
        tab.locator(".big .verdict.fail").wait_for()
        assert tab.locator(".strip li").count() == 1
    assert problems == []


def test_that_there_are_no_inspections_yet_is_said_at_once(
    learned: Outcome, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "BEAT_SECONDS", 3600.0)

    async def first() -> object:
        return await asyncio.wait_for(anext(feed.Feed(workspace).follow("brushed", None)), 20)

    # In a thread, as the browser's event loop runs in this one.
    with ThreadPoolExecutor() as pool:
        assert pool.submit(lambda: asyncio.run(first())).result() is None


def test_nobody_takes_an_older_inspection_for_one_of_now(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    good = sorted(surfaces.good.iterdir())[0]
    bad = sorted(surfaces.scratched.iterdir())[0]
    inspect(running_service, good, part="1")
    inspect(running_service, good, part="2")
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + LINE)
        big = tab.locator(".big")
        big.get_by_text("part 2").wait_for()
        oldest = tab.locator(".strip li button").last
        oldest.click()
        big.get_by_text("part 1").wait_for()
        assert big.locator("p").first.inner_text() == "An older one"
        assert "Nothing to do." not in big.inner_text()
        # It is large, and has no large area in a verdict's colour.
        height = big.get_by_text("An older one").evaluate("node => node.offsetHeight")
        assert height >= 40
        white = big.evaluate("node => getComputedStyle(node).backgroundColor")
        # What did not pass takes over at once.
        inspect(running_service, bad, part="3")
        big.get_by_text("part 3").wait_for(timeout=3000)
        assert "Take the part out." in big.inner_text()
        assert big.get_by_text("An older one").count() == 0
        assert big.evaluate("node => getComputedStyle(node).backgroundColor") != white
        assert tab.title() == "FAIL · brushed · patchbank"
        # What passed takes over when nobody has touched anything for a while.
        oldest.click()
        big.get_by_text("part 1").wait_for()
        assert tab.title() == "FAIL · brushed · patchbank"
        inspect(running_service, good, part="4")
        big.get_by_text("Newest: pass").wait_for()
        assert tab.title() == "PASS · brushed · patchbank"
        assert "part 1" in big.inner_text()
        big.get_by_text("part 4").wait_for(timeout=15_000)
        assert tab.get_by_role("button", name="Back to the newest").is_hidden()
    assert problems == []


@pytest.mark.parametrize("width", [1440, 420])
def test_all_of_the_last_twenty_are_seen(
    browser: Browser, running_service: RunningService, surfaces: Surfaces, width: int
) -> None:
    for _ in range(21):
        inspect(running_service, sorted(surfaces.scratched.iterdir())[0])
    with visiting(browser, running_service.url, width=width) as (tab, problems):
        tab.goto(running_service.url + LINE)
        tab.locator(".strip li").nth(19).wait_for()
        shown = tab.locator(".strip ol").evaluate(
            """list => {
              const box = list.getBoundingClientRect();
              return [...list.querySelectorAll("button")].filter((button) => {
                const {left, right, width, height} = button.getBoundingClientRect();
                const word = button.querySelector(".verdict");
                word.className = "verdict review";
                word.textContent = "review";
                return left >= box.left && right <= box.right && right <= innerWidth
                  && width >= 44 && height >= 44 && word.offsetWidth <= button.clientWidth;
              }).map((button) => Number(button.dataset.number));
            }"""
        )
        assert shown == list(range(21, 1, -1))
        assert tab.locator(".strip ol").evaluate("list => list.scrollHeight === list.clientHeight")
    assert problems == []


def test_the_line_says_when_it_is_cut_off_and_goes_on_by_itself(
    browser: Browser,
    running_service: RunningService,
    surfaces: Surfaces,
    graphs_home: Path,
    database_url: str,
) -> None:
    bad = sorted(surfaces.scratched.iterdir())[0]
    port = running_service.url.rsplit(":", 1)[-1]
    inspect(running_service, sorted(surfaces.good.iterdir())[0])
    with visiting(browser, running_service.url) as (tab, _):
        tab.goto(running_service.url + LINE)
        big = tab.locator(".big")
        big.get_by_text("Nothing to do.").wait_for()
        assert tab.locator("#cut").is_hidden()
        running_service.process.kill()
        running_service.process.wait()
        tab.get_by_text("Cut off from the service.").wait_for(timeout=15_000)
        # From afar, nobody takes an old verdict for one of now.
        assert "CUT OFF" in big.inner_text()
        assert big.locator(".verdict.pass").count() == 0
        assert "Nothing to do." not in big.inner_text()
        again = start("serve", "--port", port, home=graphs_home, url=database_url)
        try:
            assert again.stderr is not None
            assert "answers at" in again.stderr.readline()
            tab.locator("#cut").wait_for(state="hidden", timeout=15_000)
            big.locator(".verdict.pass").wait_for()
            inspect(running_service, bad)
            tab.locator(".big .verdict.fail").wait_for()
        finally:
            again.terminate()
            again.communicate(timeout=60)


def test_the_line_says_that_its_category_was_removed(
    browser: Browser, running_service: RunningService, patchbank: Run, surfaces: Surfaces
) -> None:
    good = sorted(surfaces.good.iterdir())[0]
    inspect(running_service, good, part="1")
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + LINE)
        big = tab.locator(".big")
        big.get_by_text("part 1").wait_for()
        asked: list[str] = []
        tab.on("request", lambda request: asked.append(request.url))
        assert patchbank("remove", "brushed", "--yes").code == 0
        big.get_by_text("brushed was removed.").wait_for(timeout=15_000)
        assert tab.title().startswith("Removed")
        assert tab.locator(".strip li").count() == 0
        assert tab.locator(".layers").is_hidden()
        # It asks seldom, for what is there.
        del asked[:]
        said = len(problems)
        tab.wait_for_timeout(12_000)
        assert len(asked) in (1, 2)
        assert problems[said:] == []
        # A category of the same name is another one, and is followed as well as the first.
        fitted = patchbank("fit", "brushed", surfaces.train, "--image-size", "96")
        assert fitted.code == 0, fitted.err
        big.get_by_text("No inspections yet.").wait_for(timeout=15_000)
        inspect(running_service, good, part="2")
        big.get_by_text("part 2").wait_for()
        assert tab.locator(".layers").is_visible()
        assert tab.locator(".strip li").count() == 1
        running_service.process.kill()
        running_service.process.wait()
        tab.get_by_text("Cut off from the service.").wait_for(timeout=15_000)
        assert tab.title().startswith("Cut off")
        assert "The last verdict seen" in big.inner_text()
    assert [problem for problem in problems if problem.startswith("error")] == []


def test_the_page_of_a_removed_category_leads_to_the_first_page(
    browser: Browser, running_service: RunningService, patchbank: Run
) -> None:
    with visiting(browser, running_service.url) as (tab, _):
        tab.goto(running_service.url + LINE)
        tab.get_by_text("No inspections yet.").wait_for()
        assert patchbank("remove", "brushed", "--yes").code == 0
        tab.get_by_role("link", name="To the first page").click(timeout=15_000)
        tab.get_by_text("No categories yet").wait_for()


def test_a_category_that_was_replaced_while_nobody_listened_leaves_nothing_behind(
    browser: Browser,
    running_service: RunningService,
    patchbank: Run,
    surfaces: Surfaces,
    graphs_home: Path,
    database_url: str,
) -> None:
    port = running_service.url.rsplit(":", 1)[-1]
    inspect(running_service, sorted(surfaces.good.iterdir())[0])
    with visiting(browser, running_service.url) as (tab, _):
        tab.goto(running_service.url + LINE)
        tab.locator(".big .verdict.pass").wait_for()
        running_service.process.kill()
        running_service.process.wait()
        assert patchbank("remove", "brushed", "--yes").code == 0
        fitted = patchbank("fit", "brushed", surfaces.train, "--image-size", "96")
        assert fitted.code == 0, fitted.err
        again = start("serve", "--port", port, home=graphs_home, url=database_url)
        try:
            tab.locator(".big").get_by_text("No inspections yet.").wait_for(timeout=30_000)
            assert tab.locator(".strip li").count() == 0
        finally:
            again.terminate()
            again.communicate(timeout=60)


def test_an_operator_is_told_who_decides_which_images_are_kept(
    browser: Browser, learned: Outcome, surfaces: Surfaces, graphs_home: Path, database_url: str
) -> None:
    with (
        running(graphs_home, database_url, PATCHBANK_SERVE_RECENT_MEGABYTES="0") as service,
        visiting(browser, service.url) as (tab, problems),
    ):
        inspect(service, sorted(surfaces.good.iterdir())[0])
        tab.goto(service.url + LINE)
        tab.get_by_text("Your administrator decides which are kept.").wait_for()
    assert problems == []
