"""The pages by keyboard alone, and by touch on a phone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Outcome
from tests.fixtures.pages import press_seen, visiting
from tests.fixtures.service import RunningService, running
from tests.fixtures.surfaces import Surfaces

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

# What the ring is around: the label of a file input stands for it.
_RING = """each => {
  const seen = each.matches("input.skip") ? each.previousElementSibling : each;
  return each === document.body ? "none" : getComputedStyle(seen).outlineStyle;
}"""
_MOST_STOPS = 80


def go_to(tab: Page, wanted: Locator, key: str = "Tab") -> None:
    """Press Tab until something has the focus; wherever it stops, it is seen."""
    wanted.wait_for(state="attached")
    for _ in range(_MOST_STOPS):
        tab.keyboard.press(key)
        if wanted.evaluate("each => each === document.activeElement"):
            assert wanted.evaluate(_RING) == "solid"
            return
    raise AssertionError(f"{wanted} is not reached within {_MOST_STOPS} stops")


def press(tab: Page, name: str, role: str = "button", key: str = "Enter") -> None:
    """Go to a button or a link, and press it."""
    go_to(tab, tab.get_by_role(role, name=name, exact=True))  # type: ignore[arg-type]
    tab.keyboard.press(key)


def choose_files(tab: Page, wanted: Locator, paths: list[Path]) -> None:
    go_to(tab, wanted)
    with tab.expect_file_chooser() as chooser:
        tab.keyboard.press("Enter")
    chooser.value.set_files(paths)


def check_focus(tab: Page, within: str) -> None:
    """Check that the focus is in a part of the page, and seen."""
    handle = tab.locator(f"{within}:focus, {within} :focus")
    assert handle.evaluate(_RING, timeout=5_000) == "solid"


def test_the_whole_way_by_keyboard_alone(
    browser: Browser,
    learned: Outcome,
    workspace: Workspace,
    surfaces: Surfaces,
    graphs_home: Path,
    database_url: str,
) -> None:
    good, bad = sorted(surfaces.train.iterdir()), sorted(surfaces.scratched.iterdir())
    key = create_key(workspace, "boss", "admin")
    with (
        running(graphs_home, database_url) as service,
        visiting(browser, service.url) as (tab, problems),
    ):
        # From the beginning: a browser takes a moment to hand its dialogs over.
        tab.on("filechooser", lambda _: None)
        tab.goto(service.url)
        # The field has the focus already.
        tab.keyboard.type(key.secret)
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/line")
        press(tab, "New", "link")
        go_to(tab, tab.get_by_label("Name of the category"))
        tab.keyboard.type("plate")
        choose_files(tab, tab.locator("#files"), good[:10])
        tab.get_by_text("10 images").wait_for()
        press(tab, "Learn what good looks like")
        tab.get_by_text("plate is learned, as version 1").wait_for(timeout=120_000)
        check_focus(tab, "main")
        press(tab, "Inspect a first image", "link")
        choose_files(tab, tab.locator("#file"), [bad[0]])
        tab.locator("#answer .verdict.fail").wait_for()
        tab.locator(".layers .map:not([hidden])").wait_for()
        go_to(tab, tab.get_by_role("application"))
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Enter")
        tab.get_by_text("to the spot at x 48, y 48").wait_for()
        press(tab, "Is it good? Answer", "link")
        tab.locator("#answer").get_by_text(bad[0].name).wait_for()
        press_seen(tab, "d")
        tab.keyboard.type("scratch")
        tab.keyboard.press("Enter")
        tab.get_by_text("Nothing waits for you").wait_for()
        press(tab, "Undo your last answer U")
        tab.locator("#answer").get_by_text(bad[0].name).wait_for()
        check_focus(tab, "main")

        press(tab, "Bank", "link")
        tab.get_by_text("Version 1:").wait_for()
        go_to(tab, tab.get_by_role("slider", name="Fails above"))
        tab.keyboard.press("ArrowRight")
        press(tab, "Set these limits")
        tab.get_by_text("Version 2:").wait_for()
        check_focus(tab, "#limits")
        press(tab, "Undo the last change")
        tab.get_by_text("Version 3:").wait_for()
        check_focus(tab, "section")
        # Pictures are picked with the space bar; the button that withdraws them ends disabled.
        go_to(tab, tab.locator("#references figure").first, "Shift+Tab")
        tab.keyboard.press(" ")
        press(tab, "Withdraw 1 reference")
        tab.get_by_text("Version 4:").wait_for(timeout=60_000)
        check_focus(tab, "section")

        press(tab, "Records", "link")
        tab.get_by_text("1 shown, these are all").wait_for()
        go_to(tab, tab.get_by_label("fail", exact=True))
        tab.keyboard.press(" ")
        press(tab, "Show")
        tab.wait_for_url("**verdict=fail*")
        go_to(tab, tab.locator(".records tbody a"))
        tab.keyboard.press("Enter")
        tab.locator("#answer .verdict.fail").wait_for()
        tab.evaluate("window.print = () => { document.title = 'printed'; }")
        press(tab, "Print or save as PDF")
        assert tab.title() == "printed"

        # Arrow keys pass what is on their way; Enter means it.
        choice = tab.get_by_label("Category")
        go_to(tab, choice)
        tab.keyboard.press("ArrowUp")
        assert choice.input_value() == "brushed"
        tab.wait_for_timeout(300)
        assert "/categories/plate/" in tab.url
        tab.keyboard.press("Enter")
        tab.wait_for_url("**/categories/brushed/line")

        press(tab, "Admin", "link")
        go_to(tab, tab.locator("#key-name"))
        tab.keyboard.type("camera")
        tab.keyboard.press("Enter")
        row = tab.locator("#keys tr", has_text="camera")
        row.wait_for()
        check_focus(tab, "#create")
        tab.on("dialog", lambda dialog: dialog.accept())
        go_to(tab, row.get_by_role("button", name="Revoke"))
        tab.keyboard.press("Enter")
        row.get_by_text("revoked").wait_for()
        check_focus(tab, "[aria-label=Keys]")
        press(tab, "Log out")
        tab.wait_for_url("**/login*")
        assert tab.get_by_label("Your key").evaluate("each => each === document.activeElement")
    assert problems == []


def test_many_references_are_shown_when_asked_for(
    browser: Browser, shared_service: RunningService
) -> None:
    with shared_service.client() as client:
        listed = client.get("/v1/categories/brushed/references", params={"limit": 1000}).json()
    total = len(listed["items"])
    with visiting(browser, shared_service.url, width=420) as (tab, problems):
        tab.goto(shared_service.url + "/categories/brushed/bank")
        shown = tab.locator("#references figure")
        more = tab.get_by_role("button", name=f"Show all {total}")
        more.wait_for()
        assert shown.count() == 15, "five rows of three"
        go_to(tab, more)
        tab.keyboard.press("Enter")
        # The keyboard goes on with the first that came.
        check_focus(tab, "#references figure:nth-child(16)")
        assert shown.count() == total
        tab.get_by_label("Order").select_option("name")
        assert shown.count() == total
        tab.get_by_role("button", name="Show fewer").click()
        assert shown.count() == 15
    assert problems == []


def test_a_phone_is_enough(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    url, bad = running_service.url, sorted(surfaces.scratched.iterdir())
    context = browser.new_context(
        viewport={"width": 420, "height": 860}, has_touch=True, is_mobile=True
    )
    tab = context.new_page()
    problems: list[str] = []
    tab.on("console", lambda message: problems.append(message.text))
    tab.goto(url + "/categories/brushed/inspect")
    tab.locator("#file").set_input_files(bad[:2])
    tab.locator("#judged li").nth(1).wait_for()
    tab.locator(".layers .map:not([hidden])").wait_for()
    tab.locator(".layers > img").first.tap()
    tab.get_by_text("Nearest patches of the bank to the spot").wait_for()
    tab.get_by_role("link", name="Is it good? Answer").tap()
    where = tab.locator("#answer")
    where.get_by_text(bad[1].name).wait_for()
    tab.wait_for_timeout(500)
    tab.get_by_role("button", name="Good", exact=True).tap()
    tab.locator("#effect").get_by_text("What “good” would change").wait_for()
    tab.wait_for_timeout(500)
    # What it would change is read, and the button is there, without scrolling.
    for seen in (tab.get_by_text("press “Good” once more"), tab.locator("#good")):
        box = seen.bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= tab.evaluate("innerHeight") - box["height"] + 1
    tab.get_by_role("button", name="Good, add it").tap()
    where.get_by_text(bad[0].name).wait_for()
    tab.locator("#label").fill("scratch")
    tab.wait_for_timeout(500)
    tab.get_by_role("button", name="Defect", exact=True).tap()
    tab.get_by_text("Nothing waits for you").wait_for()
    tab.locator("#given").get_by_text("in version 2 of the bank").wait_for(timeout=60_000)

    tab.goto(url + "/categories/brushed/bank")
    tab.get_by_text("1 of 1 (100 %), 95 % interval").first.wait_for()
    tab.locator("#references figure").first.tap()
    tab.get_by_role("button", name="Withdraw 1 reference").tap()
    tab.get_by_text("Version 3:").wait_for(timeout=60_000)
    tab.get_by_role("button", name="Undo the last change").tap()
    tab.get_by_text("Version 4:").wait_for(timeout=60_000)
    # Whatever is pressed is large enough for a finger.
    for name in ("line", "inspect", "review", "records", "records/1", "bank", "/admin", "/new"):
        tab.goto(url + (name if name.startswith("/") else f"/categories/brushed/{name}"))
        tab.wait_for_load_state("networkidle") if name != "line" else tab.wait_for_timeout(500)
        small = tab.evaluate("""[...document.querySelectorAll(
            "button, .bar a, a.button, td a, input, select, summary, label, [role=slider]",
        )].filter((each) => each.checkVisibility() && !each.matches("a.skip, input.skip"))
          .filter((each) => (each.closest("label") ?? each).getBoundingClientRect().height < 43.5)
          .map((each) => each.outerHTML.slice(0, 99))""")
        assert small == [], name
        assert tab.evaluate("document.documentElement.scrollWidth") <= 420, name
    # A limit is dragged to the end, where its name has no room at the right.
    tab.goto(url + "/categories/brushed/bank")
    fails = tab.get_by_role("slider", name="Fails above")
    fails.wait_for()
    fails.scroll_into_view_if_needed()
    before = float(fails.get_attribute("aria-valuenow") or 0)
    box, end = fails.bounding_box(), tab.locator("#chart").bounding_box()
    assert box is not None
    assert end is not None
    finger = context.new_cdp_session(tab)
    height = box["y"] + box["height"] / 2
    for kind, points in (
        ("touchStart", [{"x": box["x"] + 8, "y": height}]),
        ("touchMove", [{"x": end["x"] + end["width"] - 40, "y": height}]),
        ("touchMove", [{"x": end["x"] + end["width"] - 3, "y": height}]),
        ("touchEnd", []),
    ):
        finger.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
    assert float(fails.get_attribute("aria-valuenow") or 0) > before
    assert tab.get_by_role("button", name="Set these limits").is_enabled()
    assert tab.evaluate("document.documentElement.scrollWidth") <= 420
    context.close()
    assert problems == []
