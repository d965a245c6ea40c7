"""The pages that look, in a browser, on the running service: Inspect, Records, the login."""

from __future__ import annotations

import itertools
import re
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from fastapi.testclient import TestClient

from patchbank.inspection.judging.defects import add_defects
from patchbank.inspection.keeping.access import create_key, revoke_key
from patchbank.inspection.living.likeness import use_likeness
from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from tests.fixtures.browser import comes_true
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.pages import inspect, press_seen, visiting
from tests.fixtures.service import RunningService, running
from tests.fixtures.surfaces import Surfaces

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

LINE, INSPECT = "/categories/brushed/line", "/categories/brushed/inspect"
RECORDS = "/categories/brushed/records"


def test_without_scripts_a_page_says_that_it_needs_them_and_nothing_false(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    inspect(running_service, sorted(surfaces.good.iterdir())[0])
    context = browser.new_context(java_script_enabled=False)
    tab = context.new_page()
    for name in ("line", "inspect", "review", "records", "bank"):
        tab.goto(f"{running_service.url}/categories/brushed/{name}")
        seen = tab.locator("main").inner_text()
        assert "These pages need JavaScript." in seen
        assert "No inspections yet." not in seen
    context.close()


@pytest.mark.parametrize("width", [1440, 420])
def test_long_words_make_no_page_wider_than_the_window(
    browser: Browser,
    running_service: RunningService,
    patchbank: Run,
    surfaces: Surfaces,
    width: int,
) -> None:
    bad = sorted(surfaces.scratched.iterdir())
    assert patchbank("defects", "add", "brushed", bad[0], "--label", "d" * 90).code == 0
    assert patchbank("fit", "c" * 100, surfaces.train, "--image-size", "96").code == 0
    for path in bad[:3]:
        inspect(running_service, path, station="s" * 200, part="p" * 200)
    addresses = ("line", f"line?station={'s' * 200}", "inspect", "review", "records", "records/1")
    with visiting(browser, running_service.url, width=width) as (tab, problems):
        for name in (*addresses, "bank", "../../admin", "../../new", f"../{'c' * 100}/line"):
            tab.goto(f"{running_service.url}/categories/brushed/{name}")
            if name == "review":
                tab.locator("#known button").wait_for()
                tab.locator("#defects figure").first.wait_for()
            elif name.startswith(("line", "records/")):
                tab.locator(".verdict.fail").first.wait_for()
            else:
                tab.wait_for_load_state("networkidle")
            wide = tab.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, name
            # What a list is of stays readable beside it.
            for label in tab.locator("label:has(> select) > .small").all():
                assert label.evaluate("node => node.getClientRects().length") == 1, name
    assert problems == []


@pytest.mark.parametrize("width", [1440, 1024, 420])
def test_the_largest_words_stay_in_their_panel_and_the_bar_shows_every_page(
    browser: Browser, running_service: RunningService, surfaces: Surfaces, width: int
) -> None:
    inspect(running_service, sorted(surfaces.good.iterdir())[0])
    with visiting(browser, running_service.url, width=width) as (tab, problems):
        tab.goto(running_service.url + LINE)
        word = tab.locator(".big .verdict")
        word.wait_for()
        words = {
            "pass": "pass",
            "review": "review",
            "fail": "fail",
            "cut off": "cut",
            "removed": "cut",
        }
        for text, kind in words.items():
            inside = word.evaluate(
                """(word, [text, kind]) => {
                  const panel = word.parentElement;
                  panel.className = `big ${kind}`;
                  word.className = `verdict ${kind}`;
                  word.textContent = text;
                  const {paddingLeft, paddingRight} = getComputedStyle(panel);
                  return word.scrollWidth
                      <= panel.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight)
                    && word.getBoundingClientRect().right <= innerWidth;
                }""",
                [text, kind],
            )
            assert inside, text
        for link in tab.locator(".bar nav a").all():
            box = link.bounding_box()
            assert box is not None
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width, link.inner_text()
    assert problems == []


@pytest.mark.parametrize("width", [1440, 420])
def test_an_image_is_inspected_on_its_page(
    browser: Browser,
    shared_service: RunningService,
    surfaces: Surfaces,
    tmp_path: Path,
    width: int,
) -> None:
    # A name is text, whatever is in it.
    image = tmp_path / "<b onclick=x>scratch.png"
    image.write_bytes(sorted(surfaces.scratched.iterdir())[0].read_bytes())
    with visiting(browser, shared_service.url, width=width) as (tab, problems):
        tab.goto(shared_service.url + INSPECT)
        assert tab.locator("#result").is_hidden()
        tab.locator("#file").set_input_files(image)
        tab.locator("#answer .verdict.fail").wait_for()
        assert "At most 1 good part in " in tab.locator("#answer").inner_text()
        assert image.name in tab.locator("#answer").inner_text()
        assert tab.locator("#similar figure").count() == 10
        tab.locator(".layers .map:not([hidden])").wait_for()
        assert "Region 1: x " in tab.locator("#regions").inner_text()
        assert tab.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        tab.locator("#similar img").last.scroll_into_view_if_needed()
        pictures = "[...document.querySelectorAll('#similar img')].every(i => i.naturalWidth > 0)"
        assert comes_true(tab, pictures)
    assert problems == []


def test_what_is_no_image_is_refused_on_the_page(
    browser: Browser, shared_service: RunningService, tmp_path: Path
) -> None:
    (tmp_path / "no.png").write_text("no image")
    with visiting(browser, shared_service.url) as (tab, _):
        tab.goto(shared_service.url + INSPECT)
        tab.locator("#file").set_input_files(tmp_path / "no.png")
        tab.locator("#refused:not([hidden])").wait_for()
        assert "no.png" in tab.locator("#refused").inner_text()


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("/nothing", 404, "there is no such address."),
        ("/categories/brushed/records/abc", 422, "number"),
        ("/categories/brush/line", 404, "There is no category "),
        ("/new?job=9999", 404, "There is no job 9999"),
        ("/new?job=abc", 422, "valid integer"),
    ],
)
def test_what_is_not_there_is_said_on_a_page(
    learned: Outcome, client: TestClient, path: str, status: int, words: str
) -> None:
    answer = client.get(path, headers={"Accept": "text/html,*/*;q=0.8"})
    assert answer.status_code == status
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    text = unescape(re.sub("<[^>]+>", "", answer.text))
    assert words in text
    assert "To the first page" in text
    assert "GET /v1" not in text


def test_an_image_that_is_chosen_before_the_script_is_there_is_judged(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    held: list[Route] = []
    with visiting(browser, running_service.url) as (tab, _):
        tab.route("**/inspect.js", lambda route: held.append(route))
        tab.goto(running_service.url + INSPECT, wait_until="commit")
        tab.locator("#file").set_input_files(sorted(surfaces.scratched.iterdir())[0])
        held.pop().continue_()
        tab.locator("#answer .verdict.fail").wait_for()


def test_several_images_are_judged_one_after_another_and_no_old_verdict_stays(
    browser: Browser, running_service: RunningService, surfaces: Surfaces, tmp_path: Path
) -> None:
    good, bad = (sorted(folder.iterdir()) for folder in (surfaces.good, surfaces.scratched))
    (tmp_path / "no.png").write_text("no image")
    (tmp_path / "empty.png").touch()
    with visiting(browser, running_service.url) as (tab, _):
        tab.goto(running_service.url + INSPECT)
        answer, refused = tab.locator("#answer"), tab.locator("#refused")
        tab.locator("#file").set_input_files([bad[0], tmp_path / "no.png", good[0], bad[1]])
        answer.get_by_text(bad[1].name, exact=True).wait_for(timeout=60_000)
        assert tab.locator("#judged li").count() == 3
        refused.get_by_text("no.png: ").wait_for()
        # Each can be looked at again.
        tab.locator("#judged li button").nth(1).click()
        answer.get_by_text(good[0].name, exact=True).wait_for()
        # A refusal never stands beside the verdict of another image.
        tab.locator("#file").set_input_files(tmp_path / "empty.png")
        refused.get_by_text("empty.png: the image is empty").wait_for()
        assert tab.locator("#result").is_hidden()
        assert tab.locator("#pictures").is_hidden()
        # From a verdict to the answer to that very part.
        tab.locator("#judged li button").first.click()
        tab.get_by_role("link", name="Is it good? Answer").click()
        tab.locator("#review #answer").get_by_text(bad[1].name).wait_for()
        tab.locator("#waiting").get_by_text("parts wait for an answer").wait_for()
        # A defect that passed is taught too.
        passed = inspect(running_service, good[0])
        assert passed["verdict"] == "pass"
        tab.goto(f"{running_service.url}{RECORDS}/{passed['inspection_id']}")
        tab.get_by_role("link", name="Is it a defect? Answer").click()
        tab.locator("#review #answer .verdict.pass").wait_for()
        press_seen(tab, "d")
        tab.keyboard.type("missed")
        tab.keyboard.press("Enter")
        tab.locator("#given").get_by_text("defect missed").wait_for()


def test_the_days_of_records_are_the_readers(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    inspect(running_service, sorted(surfaces.good.iterdir())[0])
    now = datetime.now(UTC)
    # Somewhere it is another day.
    zone, hours = ("Etc/GMT-14", 14) if now.hour >= 12 else ("Etc/GMT+12", -12)
    day = (now + timedelta(hours=hours)).date()
    with visiting(browser, running_service.url, time_zone=zone) as (tab, problems):
        for found, query in (
            ("1 shown, these are all", f"?since={day}&until={day}"),
            ("No inspection is like this.", f"?since={now.date()}&until={now.date()}"),
        ):
            tab.goto(running_service.url + RECORDS + query)
            tab.get_by_text(found).wait_for()
    assert problems == []


def test_records_are_filtered_sorted_and_shown(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    good, bad = (sorted(folder.iterdir()) for folder in (surfaces.good, surfaces.scratched))
    for number in range(52):
        inspect(running_service, good[0], part=f"good <b>{number}", station="a")
    failed = inspect(running_service, bad[0], part="scratched", station="b")
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + RECORDS)
        rows = tab.locator(".records tbody tr")
        tab.get_by_text("50 shown; there are older ones").wait_for()
        assert rows.count() == 50
        assert "scratched" in rows.first.inner_text()
        tab.get_by_role("button", name="Show older").click()
        tab.get_by_text("53 shown, these are all").wait_for()
        assert "good <b>0" in rows.last.inner_text()
        # The highest score first, then last.
        tab.get_by_role("button", name="Score, times the limit").click()
        assert "scratched" in rows.first.inner_text()
        tab.get_by_role("button", name="Score, times the limit").click()
        assert "scratched" in rows.last.inner_text()
        tab.get_by_label("Station").fill("b")
        tab.get_by_label("fail").check()
        tab.get_by_role("button", name="Show", exact=True).click()
        tab.get_by_text("1 shown, these are all").wait_for()
        assert (tab.get_by_label("fail").is_checked(), "station=b" in tab.url) == (True, True)
        with tab.expect_download() as download:
            tab.get_by_role("link", name="Save as CSV").click()
        lines = Path(download.value.path()).read_text().splitlines()
        assert len(lines) == 2
        assert "scratched" in lines[1]
        tab.get_by_label("Station").fill("none")
        tab.get_by_role("button", name="Show", exact=True).click()
        tab.get_by_text("No inspection is like this.").wait_for()
        tab.goto(f"{running_service.url}{RECORDS}?verdict=pass&reviewed=false")
        tab.locator("#refused:not([hidden])").wait_for()
        assert "waits for no review" in tab.locator("#refused").inner_text()
        # Everything that was known, also after a restart: from the image that was kept.
        tab.goto(f"{running_service.url}{RECORDS}/{failed['inspection_id']}")
        tab.locator("#answer .verdict.fail").wait_for()
        tab.locator(".layers .map:not([hidden])").wait_for()
        known = tab.locator("#known").inner_text()
        for said in (
            failed["sha256"], failed["extractor_fingerprint"], failed["actor"], "96 × 96 pixels",
            "version 1 of the bank, 24 good parts", "efficientnet-lite0, layers blocks.4, ",
        ):  # fmt: skip
            assert said in known
        assert tab.locator("#defects").is_hidden()
        assert tab.locator("#similar figure").count() == 10
        assert tab.get_by_role("link", name="The image as it was sent").is_visible()
        assert "network" in tab.locator("#known").inner_text()
        # On a page of paper, with the shape of its verdict.
        paper = tab.pdf(format="A4")
        assert len(re.findall(rb"/Type\s*/Page\b", paper)) == 1
        tab.emulate_media(media="print")
        shape = "word => getComputedStyle(word, '::before').printColorAdjust"
        assert tab.locator("#answer .verdict").evaluate(shape) == "exact"
        # Dark on white, also where the screen is dark.
        ink = "main => getComputedStyle(main).color"
        colour = tab.locator("main").evaluate(ink)
        tab.emulate_media(media="print", color_scheme="dark")
        assert tab.locator("main").evaluate(ink) == colour
        tab.emulate_media(media="screen")
        assert tab.locator("main").evaluate(ink) != colour
        tab.emulate_media(color_scheme="light")
        tab.get_by_role("link", name="Is it good? Answer").click()
        tab.locator("#review #answer").get_by_text("scratched").wait_for()
        tab.goto(f"{running_service.url}{RECORDS}/999999")
        tab.get_by_text("no inspection 999999").wait_for()
    assert [problem for problem in problems if "422" not in problem and "404" not in problem] == []


def test_a_record_shows_remarks_and_similar_defects(
    browser: Browser,
    learned: Outcome,
    workspace: Workspace,
    surfaces: Surfaces,
    graphs_home: Path,
    database_url: str,
) -> None:
    scratched = sorted(surfaces.scratched.iterdir())
    add_defects(workspace, "brushed", scratched[:6], label="scratch")
    use_likeness(workspace, "brushed")
    limit = {"PATCHBANK_MAX_KEPT_IMAGE_MEGABYTES": "0.0001"}
    with (
        running(graphs_home, database_url, **limit) as service,
        visiting(browser, service.url, width=420) as (tab, problems),
    ):
        found = inspect(service, scratched[6])
        tab.goto(f"{service.url}{RECORDS}/{found['inspection_id']}")
        tab.locator("#answer .verdict.fail").wait_for()
        remark = tab.locator("#answer .notice").inner_text()
        assert remark.startswith("images of more than 0.0001 MB are not kept")
        assert "most like scratch; without it" in tab.locator("#answer").inner_text()
        assert tab.locator("#defects figure").count() == 6
        assert "scratch, similarity" in tab.locator("#defects").inner_text()
        # On a phone, the verdict comes before the picture that it is of.
        tops = [tab.locator(each).bounding_box() for each in ("#answer", "#record .layers")]
        assert tops[0] is not None
        assert tops[1] is not None
        assert tops[0]["y"] < tops[1]["y"]
        assert problems == []


def test_a_spot_of_a_picture_has_a_nearest_patch(
    browser: Browser, shared_service: RunningService, surfaces: Surfaces
) -> None:
    image = sorted(surfaces.scratched.iterdir())[0]
    with visiting(browser, shared_service.url) as (tab, problems):
        tab.goto(shared_service.url + INSPECT)
        tab.locator("#file").set_input_files(image)
        tab.locator("#answer .verdict.fail").wait_for()
        tab.locator(".layers .map:not([hidden])").wait_for()
        picture = tab.locator(".layers > img").first
        box = picture.bounding_box()
        assert box is not None
        # The middle of the picture, whatever margins it has.
        picture.click(position={"x": box["width"] / 2, "y": box["height"] / 2})
        tab.get_by_text("to the spot at x 48, y 48").wait_for()
        assert tab.locator("#spot figure img").count() == 3
        assert tab.locator("#spot figcaption").first.inner_text().startswith("distance ")
        assert tab.locator(".layers rect.spot").count() == 1
    assert problems == []


def test_a_spot_is_asked_for_by_keyboard(
    browser: Browser, shared_service: RunningService, surfaces: Surfaces
) -> None:
    found = inspect(shared_service, min(surfaces.scratched.iterdir()))
    with visiting(browser, shared_service.url) as (tab, problems):
        tab.goto(f"{shared_service.url}{RECORDS}/{found['inspection_id']}")
        tab.locator(".layers svg rect").first.wait_for(state="attached")
        picture = tab.get_by_role("application")
        tab.get_by_role("button", name="Print").focus()
        for _ in range(20):
            if picture.evaluate("each => each === document.activeElement"):
                break
            tab.keyboard.press("Tab")
        tab.keyboard.press("Enter")
        assert tab.locator("#spot figure").count() == 0, "there is no crosshair yet"
        tab.keyboard.press("ArrowRight")
        said = tab.locator("#spot [role=status]")
        said.get_by_text("Crosshair at x 48, y 48 of 96 × 96 pixels").wait_for()
        assert tab.locator(".layers path.cross").get_attribute("d") == "M48.5 0V96M0 48.5H96"
        tab.keyboard.press("ArrowLeft")
        tab.keyboard.press("Shift+ArrowDown")
        said.get_by_text("x 46, y 49").wait_for()
        for _ in range(40):
            tab.keyboard.press("ArrowUp")
        said.get_by_text("x 46, y 0 of").wait_for()
        tab.keyboard.press("Enter")
        tab.get_by_role("heading", name="to the spot at x 46, y 0").wait_for()
        assert tab.locator("#spot figure img").count() == 3
        tab.keyboard.press("Escape")
        said.get_by_text("The crosshair is gone").wait_for()
        assert tab.locator(".layers path.cross").count() == 0
    assert problems == []


def test_the_map_of_an_earlier_inspection_is_computed_again(
    learned: Outcome, workspace: Workspace, client: TestClient, surfaces: Surfaces
) -> None:
    image = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    found = client.post("/v1/categories/brushed/inspect", content=image).json()
    before = client.get(found["urls"]["map"]).content
    # Another process remembers nothing of it.
    with TestClient(create_app(workspace)) as other:
        assert other.get(found["urls"]["map"]).content == before


def test_people_log_in_with_a_key_and_out(
    browser: Browser, running_service: RunningService, workspace: Workspace
) -> None:
    create_key(workspace, "boss", "admin")
    key = create_key(workspace, "anna", "engineer")
    # The service asks for keys a second after the first was made, at the latest. A page that is
    # open then leads to the login by itself, which would interrupt what this test does.
    while httpx.get(running_service.url + "/v1/categories").status_code != 401:
        time.sleep(0.1)
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + LINE)
        tab.get_by_label("Your key").fill("pbk_wrong")
        tab.get_by_role("button", name="Log in").click()
        assert tab.get_by_text("the key is not valid").is_visible()
        tab.goto(running_service.url + LINE)
        tab.get_by_label("Your key").fill(key.secret)
        tab.get_by_role("button", name="Log in").click()
        assert tab.url.endswith(LINE)
        assert tab.get_by_text("anna, engineer").is_visible()
        (cookie,) = tab.context.cookies()
        assert (cookie["httpOnly"], cookie["sameSite"]) == (True, "Strict")
        tab.get_by_role("button", name="Log out").click()
        tab.wait_for_url("**/login*")
        tab.goto(running_service.url + LINE)
        assert "/login" in tab.url
    # The browser logs the refusal of the wrong key.
    assert [problem for problem in problems if "401" not in problem] == []


def test_an_operator_sees_what_waits_and_gets_no_buttons_that_would_be_refused(
    browser: Browser, running_service: RunningService, workspace: Workspace, surfaces: Surfaces
) -> None:
    inspect(running_service, sorted(surfaces.scratched.iterdir())[0])
    create_key(workspace, "boss", "admin")
    key = create_key(workspace, "otto", "operator")
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + "/login?next=/categories/brushed/review")
        tab.get_by_label("Your key").fill(key.secret)
        tab.get_by_role("button", name="Log in").click()
        tab.locator("#answer .verdict.fail").wait_for()
        tab.get_by_text("Your key is an operator’s").wait_for()
        assert tab.get_by_role("button", name="Good").count() == 0
        tab.keyboard.press("s")
        tab.keyboard.press("m")
        assert tab.locator(".layers .map").evaluate("map => map.style.opacity") == "0"
        assert "1 part waits" in tab.locator("#waiting").inner_text()
        tab.goto(running_service.url + "/categories/brushed/bank")
        tab.locator("#limits").wait_for()
        for name in ("Set these limits", "Withdraw", "Undo the last change"):
            assert tab.get_by_role("button", name=name).count() == 0
    assert problems == []


def test_after_the_login_no_other_site_is_next(workspace: Workspace, client: TestClient) -> None:
    create_key(workspace, "boss", "admin")
    key = create_key(workspace, "anna", "engineer")
    for address in ("https://evil.example", "//evil.example", "/\\evil.example", "line"):
        answer = client.post(
            "/login", data={"key": key.secret, "next": address}, follow_redirects=False
        )
        assert (answer.status_code, answer.headers["location"]) == (303, "/")


def test_pages_without_a_category_say_what_to_do(client: TestClient) -> None:
    assert "No categories yet" in client.get("/").text
    answer = client.get("/categories/none/line")
    assert answer.status_code == 404
    assert "There is no category" in answer.text


def test_files_of_the_pages_are_kept_by_browsers(client: TestClient) -> None:
    page = client.get("/login").text
    address = page.split('rel="stylesheet" href="')[1].split('"')[0]
    answer = client.get(address)
    assert answer.status_code == 200
    assert "immutable" in answer.headers["cache-control"]
    assert "'unsafe" not in answer.headers["content-security-policy"]


def test_pictures_of_inspections_that_were_not_kept(
    learned: Outcome, client: TestClient, surfaces: Surfaces
) -> None:
    image = sorted(surfaces.good.iterdir())[0].read_bytes()
    found = client.post("/v1/categories/brushed/inspect", content=image).json()
    for address, kind in ((found["urls"]["picture"], "jpeg"), (found["urls"]["map"], "png")):
        answer = client.get(address)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == f"image/{kind}"
    base = "/v1/categories/brushed/inspections/999/"
    for name in ("picture", "map"):
        assert client.get(base + name).status_code == 404
        assert client.get(base + name, params={"optional": True}).status_code == 204


def test_counts_and_thumbnails(
    learned: Outcome, patchbank: Run, client: TestClient, surfaces: Surfaces
) -> None:
    base = "/v1/categories/brushed/"
    image = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    found = client.post(base + "inspect", content=image, params={"station": "a"}).json()
    assert client.get(base + "counts", params={"since": "1h"}).json() == {
        "pass": 0,
        "review": 0,
        "fail": 1,
    }
    assert client.get(base + "counts", params={"station": "b"}).json()["fail"] == 0
    assert client.get(base + "counts", params={"since": "x"}).status_code == 422
    name = found["similar"][0]["image"]
    answer = client.get(base + "references/thumbnail", params={"name": name})
    assert answer.headers["content-type"].startswith("image/")
    scratch = sorted(surfaces.scratched.iterdir())[1]
    assert patchbank("defects", "add", "brushed", scratch, "--label", "scratch").code == 0
    (listed,) = patchbank("defects", "list", "brushed", "--json").documents
    answer = client.get(base + "defects/thumbnail", params={"name": listed["name"]})
    assert answer.headers["content-type"].startswith("image/")
    for kind in ("references", "defects"):
        address = f"{base}{kind}/thumbnail"
        assert client.get(address, params={"name": "none"}).status_code == 404
        assert client.get(address).status_code == 422


def test_a_stop_ends_the_streams(running_service: RunningService) -> None:
    with (
        running_service.client() as client,
        client.stream("GET", "/v1/categories/brushed/events") as stream,
    ):
        assert next(stream.iter_lines()) == "retry: 1000"
        running_service.process.terminate()
        assert running_service.process.wait(timeout=20) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(running_service.url)


def test_streams_end_with_their_key_or_session(
    running_service: RunningService, workspace: Workspace
) -> None:
    boss = create_key(workspace, "boss", "admin")
    anna, otto = (create_key(workspace, name, "operator") for name in ("anna", "otto"))
    address = "/v1/categories/brushed/events"
    with ExitStack() as opened:
        api, browser = (opened.enter_context(running_service.client()) for _ in range(2))
        while api.get("/v1/categories").status_code != 401:
            time.sleep(0.1)
        login = browser.post("/login", data={"key": otto.secret, "next": "/"})
        assert login.status_code == 303, login.text
        streams = []
        for client, headers in (
            (api, {"Authorization": f"Bearer {anna.secret}"}),
            (browser, {}),
            (api, {"Authorization": f"Bearer {boss.secret}"}),
        ):
            stream = opened.enter_context(client.stream("GET", address, headers=headers))
            lines = stream.iter_lines()
            assert next(lines) == "retry: 1000"
            streams.append(lines)
        begun = time.monotonic()
        revoke_key(workspace, "anna")
        assert browser.post("/logout").status_code == 303
        for lines in streams[:2]:
            # An endless stream would have a beat every two seconds.
            beats = sum(line == "event: beat" for line in itertools.islice(lines, 30))
            assert beats < 5
            assert next(lines, None) is None
        assert time.monotonic() - begun < 8
        # The other one goes on.
        assert sum(line == "event: beat" for line in itertools.islice(streams[2], 9)) == 3
