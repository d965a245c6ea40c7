"""The pages that change something, in a browser: Review, Bank, New, Admin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.workspace import Workspace
from patchbank.server.pages.rendering import sentence, static_version
from tests.fixtures.commands import Outcome
from tests.fixtures.pages import inspect, press_seen, visiting
from tests.fixtures.service import RunningService, running
from tests.fixtures.surfaces import Surfaces

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Route

BANK, REVIEW = "/categories/brushed/bank", "/categories/brushed/review"


def test_a_queue_is_reviewed_by_keyboard(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    bad = sorted(surfaces.scratched.iterdir())
    for number, path in enumerate(bad[:4]):
        assert inspect(running_service, path, part=f"p{number}")["verdict"] == "fail"
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + REVIEW)
        waiting, where = tab.locator("#waiting"), tab.locator("#answer")
        waiting.get_by_text("4 parts wait").wait_for()
        where.get_by_text("part p0").wait_for()
        tab.locator(".layers .map:not([hidden])").wait_for()
        tab.keyboard.press("m")
        assert tab.locator(".layers .map").evaluate("map => map.style.opacity") == "0"
        # A defect with a new label, then with the same by its number.
        press_seen(tab, "d")
        tab.keyboard.type("scratch <i>")
        tab.keyboard.press("Enter")
        where.get_by_text("part p1").wait_for()
        press_seen(tab, "1")
        where.get_by_text("part p2").wait_for()
        waiting.get_by_text("2 parts wait").wait_for()
        assert "defect scratch <i>" in tab.locator("#given").inner_text()
        # It fails, so that "good" is asked for twice, and shows first what it would change.
        press_seen(tab, "g")
        tab.locator("#doubt:not([hidden])").wait_for()
        tab.locator("#effect").get_by_text("What “good” would change").wait_for()
        assert "Parts then fail above" in tab.locator("#effect").inner_text()
        assert "part p2" in where.inner_text()
        press_seen(tab, "g")
        where.get_by_text("part p3").wait_for()
        press_seen(tab, "s")
        tab.get_by_text("Nothing waits for you").wait_for()
        tab.locator("#given").get_by_text("in version 2 of the bank").wait_for()
        assert inspect(running_service, bad[2])["similar"][0]["itself"]
        # Undone: first the skip, then what was said to be good.
        press_seen(tab, "u")
        where.get_by_text("part p3").wait_for()
        press_seen(tab, "u")
        where.get_by_text("part p2").wait_for()
        tab.get_by_text("2 parts wait").wait_for()
        assert not inspect(running_service, bad[2])["similar"][0]["itself"]
        assert tab.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    assert problems == []


def test_two_people_review_at_once_and_neither_is_stuck(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    for number, path in enumerate(sorted(surfaces.scratched.iterdir())[:2]):
        inspect(running_service, path, part=f"p{number}")
    with (
        visiting(browser, running_service.url) as (first, problems),
        visiting(browser, running_service.url) as (second, _),
    ):
        for tab in (first, second):
            tab.goto(running_service.url + REVIEW)
            tab.locator("#answer").get_by_text("part p0").wait_for()
        press_seen(first, "d")
        first.keyboard.type("scratch")
        first.keyboard.press("Enter")
        first.locator("#answer").get_by_text("part p1").wait_for()
        press_seen(second, "d")
        second.keyboard.type("dent")
        second.keyboard.press("Enter")
        second.get_by_text("answered scratch meanwhile").wait_for()
        second.locator("#answer").get_by_text("part p1").wait_for()
        second.locator("#waiting").get_by_text("1 part waits").wait_for()
        assert second.locator("#refused").is_hidden()
        # How many wait is what the service says, with each answer: one went, and one came.
        inspect(running_service, sorted(surfaces.scratched.iterdir())[2], part="p2")
        press_seen(second, "s")
        second.locator("#answer").get_by_text("part p2").wait_for()
        second.locator("#waiting").get_by_text("1 part waits").wait_for()
    assert problems == []


def test_what_is_pressed_before_a_part_was_seen_answers_nothing(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    for number, path in enumerate(sorted(surfaces.scratched.iterdir())[:4]):
        inspect(running_service, path, part=f"p{number}")
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + REVIEW)
        where, early = tab.locator("#answer"), tab.locator("#early")
        where.get_by_text("part p0").wait_for()
        tab.wait_for_timeout(500)
        # Held down, until after the effect is shown; then again and again.
        for _ in range(30):
            tab.keyboard.down("g")
            tab.wait_for_timeout(33)
        tab.locator("#effect").get_by_text("What “good” would change").wait_for()
        for _ in range(30):
            tab.keyboard.down("g")
            tab.wait_for_timeout(33)
        tab.keyboard.up("g")
        assert early.is_hidden()
        tab.keyboard.press("Escape")
        for _ in range(60):
            tab.keyboard.press("g")
            tab.wait_for_timeout(33)
        early.wait_for()
        assert "part p0" in where.inner_text()
        # The same by a button that has the focus.
        tab.locator("#good").focus()
        for _ in range(30):
            tab.keyboard.down("Enter")
            tab.wait_for_timeout(33)
        tab.keyboard.up("Enter")
        assert "part p0" in where.inner_text()
        press_seen(tab, "g")
        where.get_by_text("part p1").wait_for()
        assert early.is_hidden()
        tab.wait_for_timeout(500)
        for _ in range(3):
            tab.keyboard.press("d")
            tab.keyboard.type("scratch")
            tab.keyboard.press("Enter")
        where.get_by_text("part p2").wait_for()
        early.wait_for()
        assert tab.locator("#label").input_value() == ""
        tab.wait_for_timeout(500)
        tab.keyboard.press("s")
        tab.keyboard.press("s")
        where.get_by_text("part p3").wait_for()
        early.wait_for()
        tab.locator("#waiting").get_by_text("1 part waits").wait_for()
        given = tab.locator("#given li")
        given.nth(2).wait_for()
        assert [text.split(", ")[0].split(": ")[1] for text in given.all_inner_texts()] == [
            "skipped", "defect scratch", "good",
        ]  # fmt: skip
        press_seen(tab, "s")
        tab.get_by_text("Nothing waits for you").wait_for()
    assert problems == []


def test_the_effect_is_seen_before_any_part_comes_into_the_bank(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    bad = sorted(surfaces.scratched.iterdir())[:2]
    found = inspect(running_service, bad[0])
    with running_service.client() as client:
        limits = {"pass_below": found["score"] / 2, "fail_above": found["score"] * 2}
        assert client.put("/v1/categories/brushed/thresholds", json=limits).status_code == 200
    assert inspect(running_service, bad[0], part="p1")["verdict"] == "review"
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + REVIEW)
        where, effect = tab.locator("#answer"), tab.locator("#effect")
        where.get_by_text(found["image"]).wait_for()
        press_seen(tab, "s")
        where.get_by_text("part p1").wait_for()
        press_seen(tab, "g")
        effect.get_by_text("If it is good, press “Good” once more.").wait_for()
        assert tab.locator("#doubt").is_hidden()
        assert "of the last" in effect.inner_text().lower()
        assert effect.evaluate(
            "box => { const { top, bottom } = box.getBoundingClientRect();"
            " return top >= 0 && bottom <= innerHeight; }"
        )
        press_seen(tab, "Escape")
        assert effect.is_hidden()
        assert tab.evaluate("scrollY") == 0
        press_seen(tab, "g")
        effect.get_by_text("press “Good” once more").wait_for()
        press_seen(tab, "g")
        tab.locator("#given").get_by_text("in version 3 of the bank").wait_for()
        # Undone on another page, it is not said to be there.
        with running_service.client() as client:
            assert client.post("/v1/categories/brushed/undo", json={}).status_code == 200
        tab.reload()
        tab.locator("#given").get_by_text("no longer in the bank").wait_for()
    assert problems == []


def test_you_undo_your_own_answers_and_messages_are_sentences(
    browser: Browser,
    learned: Outcome,
    workspace: Workspace,
    surfaces: Surfaces,
    graphs_home: Path,
    database_url: str,
) -> None:
    with running(graphs_home, database_url) as service:
        number = inspect(service, sorted(surfaces.scratched.iterdir())[0])["inspection_id"]
        with service.client() as client:
            path = f"/v1/categories/brushed/inspections/{number}/review"
            assert client.post(path, json={"answer": "skip"}).status_code == 200
        key = create_key(workspace, "eve", "admin")
        with visiting(browser, service.url) as (tab, problems):
            tab.goto(f"{service.url}/login?next={REVIEW}")
            tab.get_by_label("Your key").fill("pbk_wrong")
            tab.get_by_role("button", name="Log in").click()
            alert = tab.get_by_role("alert")
            assert alert.inner_text() == "The key is not valid."
            problems.clear()
            tab.get_by_label("Your key").fill(key.secret)
            tab.get_by_role("button", name="Log in").click()
            tab.get_by_text("Nothing waits for you").wait_for()
            tab.locator("#given").get_by_text("skipped").wait_for()
            tab.keyboard.press("u")
            refused = tab.locator("#refused:not([hidden])")
            refused.wait_for()
            assert refused.inner_text() == "Category 'brushed' has no answer by eve to undo."
            assert "skipped" in tab.locator("#given").inner_text()
            # The browser itself says that an answer was an error.
            assert len([each for each in problems if "422" in each]) == len(problems)
            tab.goto(service.url + BANK)
            tab.get_by_text("Version 1:").wait_for()
            summary = tab.locator("#summary").inner_text()
            assert "independent" not in summary
            assert "; 1 inspection. " in summary
            answer = tab.goto(service.url + "/categories/none/line")
            assert answer is not None
            assert answer.status == 404
            said = tab.locator("main p").first.inner_text()
            assert (said[0].isupper(), said[-1]) == (True, ".")
            # By the service and by the browser alike; a name at the beginning stays as it is.
            sentences = {
                "the key is not valid": "The key is not valid.",
                "empty.png: the image is empty": "empty.png: the image is empty.",
                "pass_below 3: must be less": "pass_below 3: must be less.",
                "inspection 7: gone!": "Inspection 7: gone!",
            }
            script = f"/static/{static_version()}/words.js"
            seen = tab.evaluate(
                "async ([script, texts]) => texts.map((await import(script)).sentence)",
                [script, list(sentences)],
            )
            assert seen == [sentence(text) for text in sentences] == list(sentences.values())


def test_limits_are_dragged_set_and_undone(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    bad = sorted(surfaces.scratched.iterdir())[0]
    found = inspect(running_service, bad)
    assert found["verdict"] == "fail"
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + BANK)
        tab.get_by_text("Version 1:").wait_for()
        # The page is shown piece by piece.
        tab.locator("#references figure").first.wait_for()
        assert tab.locator("#references figure").count() >= 20
        fails = tab.get_by_role("slider", name="Fails above")
        wanted = "Last inspections that would fail"
        counts = tab.locator("#counts")
        assert "1 of 1" in counts.locator(f"dt:text-is('{wanted}') + dd").inner_text()
        assert tab.get_by_role("button", name="Set these limits").is_disabled()
        # By the keyboard, past the end: the inspection would go to review.
        fails.focus()
        before = fails.get_attribute("aria-valuenow")
        tab.keyboard.press("ArrowRight")
        assert fails.get_attribute("aria-valuenow") != before
        tab.get_by_role("button", name="Back to the limits in use").click()
        assert fails.get_attribute("aria-valuenow") == before
        box, chart = fails.bounding_box(), tab.locator("#chart").bounding_box()
        assert box is not None
        assert chart is not None
        tab.mouse.move(box["x"] + 8, box["y"] + 60)
        tab.mouse.down()
        tab.mouse.move(chart["x"] + chart["width"] - 2, box["y"] + 60, steps=4)
        tab.mouse.up()
        assert "0 of 1" in counts.locator(f"dt:text-is('{wanted}') + dd").inner_text()
        tab.get_by_role("button", name="Set these limits").click()
        tab.get_by_text("The limits are set, as version 2.").wait_for()
        tab.get_by_text("Version 2:").wait_for()
        assert inspect(running_service, bad)["verdict"] == "review"
        tab.get_by_role("button", name="Undo the last change").click()
        tab.get_by_text("Version 3:").wait_for()
        assert inspect(running_service, bad)["verdict"] == "fail"
        # By a rate, of the table.
        tab.get_by_text("Limits by the rate of false alarms").click()
        tab.locator("#curve tr:has-text('10 %') button").last.click()
        tab.get_by_text("Version 4:").wait_for()
        assert tab.locator("#history tbody tr").count() == 4
        assert tab.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    assert problems == []


def test_a_page_that_shows_an_earlier_version_changes_nothing(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    address = "/v1/categories/brushed/thresholds"
    with visiting(browser, running_service.url) as (tab, problems), running_service.client() as api:
        tab.goto(running_service.url + BANK)
        refused, history = tab.locator("#refused:not([hidden])"), tab.locator("#history tbody tr")

        def set_limits() -> None:
            tab.locator("#fail_above").press("ArrowRight")
            tab.locator("#set").click()

        def undo() -> None:
            tab.locator("#undo:enabled").click()

        def add() -> None:
            tab.locator("#add").set_input_files(sorted(surfaces.good.iterdir())[0])

        for press, version in ((set_limits, 2), (undo, 3), (add, 4)):
            tab.locator("#references figure").first.wait_for()
            history.first.get_by_text(", in use").wait_for()
            before = api.get(address).json()
            api.put(address, json={"fail_above": 1.1 * before["fail_above"]})
            press()
            refused.get_by_text(f"changed meanwhile, version {version} is in use now").wait_for()
            # What is in use is shown now, and was left as it is.
            history.first.get_by_text(f"{version}, in use").wait_for()
            tab.locator("#summary").get_by_text(f"Version {version}:").wait_for()
            assert api.get(address).json()["bank_version"] == version
        undo()
        history.first.get_by_text("5, in use").wait_for()
        assert refused.count() == 0
    # The browser itself tells of each refusal.
    assert len(problems) == 3
    assert all("409" in problem for problem in problems)


def test_known_defects_stand_in_the_histogram_and_a_limit_is_proposed_by_cost(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    found = [inspect(running_service, path) for path in sorted(surfaces.scratched.iterdir())[:3]]
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + BANK)
        tab.get_by_text("No defects are recorded yet.").wait_for()
        assert tab.locator("#costs").is_hidden()
        bars = tab.locator("#chart rect").count()
        with running_service.client() as client:
            for item in found:
                answer = client.post(
                    f"/v1/categories/brushed/inspections/{item['inspection_id']}/review",
                    json={"answer": "defect", "label": "scratch"},
                )
                assert answer.status_code == 200
        tab.reload()
        counts = tab.locator("#counts")
        recall = counts.locator("dt:text-is('Known defects that would fail: recall') + dd")
        recall.get_by_text("3 of 3").wait_for()
        # The interval of Clopper and Pearson for 3 of 3.
        assert recall.inner_text() == "3 of 3 (100 %), 95 % interval 29.2 to 100.0 %"
        assert tab.locator("#chart rect").count() > bars
        # Up to the highest score, none would fail and all would go to review.
        fails = tab.get_by_role("slider", name="Fails above")
        fails.focus()
        for _ in range(25):
            tab.keyboard.press("Shift+ArrowRight")
        assert recall.inner_text() == "0 of 3 (0 %), 95 % interval 0.0 to 70.8 %"
        passing = counts.locator("dt:text-is('Of these, that would pass without a review') + dd")
        assert passing.inner_text().startswith("0 of 3")
        tab.get_by_role("button", name="Back to the limits in use").click()
        tab.get_by_label("A missed defect costs").fill("500")
        tab.get_by_label("A false alarm costs").fill("2")
        tab.get_by_label("Defective parts").fill("1")
        tab.get_by_role("button", name="Propose a limit by cost").click()
        proposal = tab.locator("#proposal")
        proposal.get_by_text("0 of 3 defects missed (95 % interval 0.0 to 70.8 %)").wait_for()
        tab.get_by_text("Limits by the rate of false alarms").click()
        row = tab.locator("#curve tr:has-text('10 %')")
        assert "3 of 3" in row.inner_text()
        # By another limit than the one in use, so that what is proposed can be taken over.
        row.get_by_role("button").click()
        tab.get_by_text("Version 2:").wait_for()
        proposal.wait_for(state="hidden")
        tab.get_by_role("button", name="Propose a limit by cost").click()
        proposal.get_by_role("button", name="Use this rate").click()
        tab.get_by_text("Version 3:").wait_for()
        assert tab.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    assert problems == []


def test_images_are_added_held_and_withdrawn_on_the_page(
    browser: Browser, running_service: RunningService, surfaces: Surfaces, tmp_path: Path
) -> None:
    good: list[Path] = []
    bad: list[Path] = []
    for names, folder in ((good, surfaces.good), (bad, surfaces.scratched)):
        for path in sorted(folder.iterdir())[:2]:
            names.append(tmp_path / f"{folder.name} {path.name}")
            names[-1].write_bytes(path.read_bytes())
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + BANK)
        tab.get_by_text("Version 1:").wait_for()
        before = tab.locator("#references figure").count()
        tab.locator("#add").set_input_files([good[0], bad[0], bad[1]])
        tab.get_by_text("1 image added.").wait_for(timeout=60_000)
        tab.get_by_text("2 images held,").wait_for()
        tab.get_by_text("Version 2:").wait_for()
        held = tab.locator("#held-images figure")
        held.nth(1).wait_for()
        held.first.click()
        assert held.first.get_attribute("aria-checked") == "true"
        tab.get_by_role("button", name="Dismiss them").click()
        tab.get_by_text("1 image dismissed.").wait_for()
        held.first.focus()
        tab.keyboard.press(" ")
        tab.get_by_role("button", name="They are good: add them").click()
        tab.get_by_text("Version 3:").wait_for(timeout=60_000)
        tab.locator("#held").wait_for(state="hidden")
        assert inspect(running_service, bad[1])["similar"][0]["itself"]
        assert tab.locator("#references figure").count() == before + 2
        tab.locator("#references figure", has_text=bad[1].name).click()
        tab.get_by_role("button", name="Withdraw 1 reference").click()
        tab.get_by_text("1 reference withdrawn, as version 4.").wait_for(timeout=60_000)
        assert not inspect(running_service, bad[1])["similar"][0]["itself"]
        assert tab.locator("#references figure").count() == before + 1
    assert problems == []


def test_images_are_added_before_the_bank_is_shown(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    held: list[Route] = []
    with visiting(browser, running_service.url) as (tab, problems):
        tab.route("**/v1/categories/brushed", lambda asked: held.append(asked))
        tab.goto(running_service.url + BANK)
        tab.locator("#add").set_input_files(sorted(surfaces.good.iterdir())[0])
        tab.get_by_text("1 image added.").wait_for(timeout=60_000)
        assert tab.get_by_text("Version 1:").count() == 0
        # This answers what was held.
        tab.unroute("**/v1/categories/brushed")
        tab.get_by_text("Version 2:").wait_for()
    assert problems == []


def test_the_map_of_the_bank_is_read_by_mouse_and_by_keyboard(
    browser: Browser, running_service: RunningService
) -> None:
    with running_service.client() as client:
        found = client.get("/v1/categories/brushed/map").json()
    ranked = sorted(range(len(found["x"])), key=lambda point: -(found["distance"][point] or 0))
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + BANK)
        plane, answer = tab.locator("#plane"), tab.locator("#map-answer")
        plane.wait_for()
        plane.locator("circle").first.wait_for(state="attached")
        marks = plane.locator("circle:not(.ring), path").count()
        assert marks == len(found["x"])
        legend = tab.locator("#map-legend li").all_inner_texts()
        assert sum(int(text.rpartition(": ")[2].replace(",", "")) for text in legend) == marks
        assert "times the limit" in legend[0]
        plane.focus()
        tab.keyboard.press("Home")
        answer.get_by_text(f"1 of {marks:,}, the least covered first.").wait_for()
        least = ranked[0]
        assert found["references"][found["reference"][least]]["name"].endswith(
            answer.locator("p span").inner_text()
        )
        x0, _, x1, _ = found["box_xyxy"][least]
        assert f"at x {x0} to {x1}," in answer.inner_text()
        assert answer.locator("svg rect").get_attribute("x") == str(x0)
        assert tab.get_by_role("button", name="Less covered").is_disabled()
        tab.get_by_role("button", name="Better covered").click()
        answer.get_by_text(f"2 of {marks:,},").wait_for()
        # The ring is around the point; pressing beside it finds the same one again.
        ring, box = plane.locator(".ring"), plane.bounding_box()
        assert box is not None
        at = [float(ring.get_attribute(name) or 0) for name in ("cx", "cy")]
        plane.focus()
        tab.keyboard.press("ArrowRight")
        answer.get_by_text(f"2 of {marks:,},").wait_for(state="detached")
        assert float(ring.get_attribute("cx") or 0) > at[0]
        plane.click(position={"x": at[0] + 0.5, "y": at[1] + 0.5})
        assert [float(ring.get_attribute(name) or 0) for name in ("cx", "cy")] == at
        assert tab.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
    assert problems == []


def test_drift_is_shown_with_the_bank(
    browser: Browser, running_service: RunningService, surfaces: Surfaces
) -> None:
    for path in sorted(surfaces.good.iterdir())[:3]:
        inspect(running_service, path)
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + BANK)
        tab.locator("#trends tbody tr").first.wait_for()
        assert "false alarm" in tab.locator("#drift").inner_text()
        tab.get_by_role("button", name="Which images should be added?").click()
        tab.locator("#suggested:not(:has-text('Looking')) > *").first.wait_for(timeout=60_000)
    assert problems == []


def test_a_new_category_is_learned_and_corrected_on_the_pages_alone(
    browser: Browser, running_service: RunningService, surfaces: Surfaces, tmp_path: Path
) -> None:
    good = sorted(surfaces.train.iterdir())[:10]
    (tmp_path / "broken.png").write_text("no image")
    defect = tmp_path / "defect.png"
    defect.write_bytes(sorted(surfaces.scratched.iterdir())[1].read_bytes())
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url)
        tab.get_by_role("link", name="New").click()
        tab.get_by_label("Name of the category").fill("brushed")
        tab.locator("#known").wait_for()
        tab.get_by_label("Name of the category").fill("plate <1>")
        tab.locator("#known").wait_for(state="hidden")
        tab.get_by_role("button", name="Learn what good looks like").click()
        tab.get_by_text("Choose images of good parts first.").wait_for()
        # What is given later comes to what was given before, and is seen.
        tab.locator("#files").set_input_files([*good, defect])
        tab.locator("#files").set_input_files([good[0], tmp_path / "broken.png"])
        assert tab.locator("#previews img").count() == 12
        tab.get_by_role("button", name="Remove these images").click()
        assert tab.locator("#previews img").count() == 0
        tab.locator("#files").set_input_files([*good, defect, tmp_path / "broken.png"])
        assert "best 1 false alarm in 13 good parts" in tab.locator("#chosen").inner_text()
        tab.get_by_label("Leave out images that stand apart").check()
        tab.get_by_role("button", name="Learn what good looks like").click()
        # Whoever leaves the page finds the work again.
        tab.wait_for_url("**/new?job=*")
        tab.reload()
        tab.get_by_text("plate <1> is learned, as version 1").wait_for(timeout=120_000)
        assert tab.locator("#category-choice").input_value() == "plate <1>"
        assert "broken.png" in tab.locator("#refusals").inner_text()
        assert tab.locator("#left-out li").inner_text() == "defect.png"
        # All are independent of one another, so that only their number is said.
        images = tab.locator("#facts dt:text-is('Good images') + dd")
        assert images.inner_text() == "10"
        tab.get_by_role("link", name="Inspect a first image").click()
        tab.locator("#file").set_input_files(sorted(surfaces.scratched.iterdir())[0])
        tab.locator("#answer .verdict.fail").wait_for()
        tab.get_by_role("link", name="Review").click()
        tab.locator("#answer .verdict.fail").wait_for()
        press_seen(tab, "g")
        tab.locator("#doubt:not([hidden])").wait_for()
        press_seen(tab, "g")
        tab.get_by_text("Nothing waits for you").wait_for()
        tab.locator("#given").get_by_text("in version 2 of the bank").wait_for(timeout=60_000)
        tab.get_by_role("link", name="Inspect", exact=True).click()
        tab.locator("#file").set_input_files(sorted(surfaces.scratched.iterdir())[0])
        tab.locator("#answer .verdict:not(.fail)").wait_for()
    assert problems == []


def test_who_sends_images_is_told_to_stay(
    browser: Browser, running_service: RunningService, tmp_path: Path
) -> None:
    (tmp_path / "large.png").write_bytes(b"\x89PNG" + bytes(2_000_000))
    with visiting(browser, running_service.url) as (tab, problems):
        slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 1e5}
        tab.context.new_cdp_session(tab).send("Network.emulateNetworkConditions", slow)
        tab.goto(running_service.url + "/new")
        tab.get_by_label("Name of the category").fill("a/b")
        tab.locator("#files").set_input_files([tmp_path / "large.png"] * 5)
        learn = tab.get_by_role("button", name="Learn what good looks like")
        learn.click()
        assert tab.locator("#name:invalid").count() == 1
        tab.get_by_label("Name of the category").fill("large")
        learn.click()
        tab.get_by_text("Stay on this page until all images are sent.").wait_for()
        assert tab.get_by_text("You may leave this page").is_hidden()
        tab.once("dialog", lambda dialog: dialog.dismiss())
        tab.close(run_before_unload=True)
        tab.get_by_role("button", name="Cancel").click()
        tab.get_by_text("Cancelled. Nothing was learned.").wait_for()
    assert problems == []


def test_learning_is_cancelled_on_the_page(
    browser: Browser, running_service: RunningService, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    images = []
    for number in range(200):
        images.append(tmp_path / f"{number:03}.png")
        pixels = random.integers(0, 256, (96, 96, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images[-1])
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + "/new")
        tab.get_by_label("Name of the category").fill("noise")
        tab.locator("#files").set_input_files(images)
        tab.get_by_role("button", name="Learn what good looks like").click()
        tab.wait_for_url("**/new?job=*")
        tab.get_by_role("button", name="Cancel").click()
        tab.get_by_text("Cancelled. Nothing was learned").wait_for(timeout=60_000)
        assert tab.get_by_label("Name of the category").is_visible()
    assert problems == []


def test_keys_storage_health_and_the_log_are_administered(
    browser: Browser, running_service: RunningService
) -> None:
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + "/admin")
        tab.get_by_text("There are no keys").wait_for()
        tab.get_by_text("of inspections that did not pass (PATCHBANK_KEEP_IMAGES)").wait_for()
        tab.locator("#audit tbody").get_by_text("fit", exact=True).wait_for()
        tab.get_by_role("button", name="Verify all logs").click()
        tab.get_by_text("are as they were written.").wait_for()
        tab.get_by_role("button", name="Check now").click()
        tab.locator("#findings .verdict.pass").first.wait_for(timeout=60_000)
        # Whoever made a key that is no admin's would be locked out.
        assert tab.locator("#key-role").input_value() == "admin"
        tab.locator("#key-name").fill("anna")
        tab.get_by_role("button", name="Make a key").click()
        secret = tab.locator("#secret code")
        secret.wait_for()
        key = secret.inner_text()
        assert key.startswith("pbk_")
        tab.get_by_role("button", name="I have copied it: log in with it").click()
        tab.locator("#keys tbody tr").first.wait_for()
        assert tab.get_by_text("anna, admin").is_visible()
        tab.locator("#key-name").fill("camera <1>")
        tab.locator("#key-role").select_option("operator")
        tab.get_by_role("button", name="Make a key").click()
        row = tab.locator("#keys tr", has_text="camera <1>")
        row.wait_for()
        tab.once("dialog", lambda dialog: dialog.accept())
        row.get_by_role("button", name="Revoke").click()
        row.get_by_text("by anna").last.wait_for()
        tab.get_by_text("What keys were used for").click()
        tab.locator("#uses tbody tr").first.wait_for()
    assert problems == []


def test_the_log_of_a_removed_category_can_be_chosen(
    browser: Browser, running_service: RunningService
) -> None:
    with visiting(browser, running_service.url) as (tab, problems), running_service.client() as api:
        assert api.delete("/v1/categories/brushed").status_code == 200
        tab.goto(running_service.url + "/admin")
        tab.locator("#audit tbody").get_by_text("remove", exact=True).wait_for()
        assert tab.locator("#audit tbody").get_by_text("fit", exact=True).is_visible()
        assert tab.locator("#audit-category").is_visible()
        (choice,) = tab.locator("#audit-category option").all_text_contents()
        assert choice == "brushed (removed, no. 1)"
    assert problems == []


def test_secrets_are_copied_over_plain_http_too(
    browser: Browser, learned: Outcome, workspace: Workspace, graphs_home: Path, database_url: str
) -> None:
    key = create_key(workspace, "boss", "admin")
    with running(graphs_home, database_url) as service:
        # Where browsers lend no clipboard: over HTTP, and not on the service's machine.
        url = service.url.replace("127.0.0.1", "plant.test")
        with visiting(browser, url) as (tab, problems):
            tab.goto(url + "/login?next=/admin")
            tab.get_by_label("Your key").fill(key.secret)
            tab.get_by_role("button", name="Log in").click()
            tab.locator("#keys tbody tr").first.wait_for()
            assert tab.evaluate("navigator.clipboard === undefined")
            pasted = tab.locator("#key-name")
            pasted.fill("camera")
            tab.get_by_role("button", name="Make a key").click()
            tab.locator("#sink-name").fill("mes")
            tab.locator("#sink-target").fill("http://127.0.0.1:9/")
            tab.get_by_role("button", name="Add the sink").click()
            for made in ("#secret", "#sink-made"):
                tab.locator(made).get_by_role("button", name="Copy").click()
                tab.get_by_text("Copied.", exact=True).last.wait_for()
                pasted.fill("")
                pasted.press("Control+v")
                assert pasted.input_value() == tab.locator(f"{made} code").inner_text()
    # Browsers say that they ignore a header which is for HTTPS.
    assert [problem for problem in problems if "Cross-Origin-Opener-Policy" not in problem] == []
