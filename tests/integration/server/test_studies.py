"""Studies of parts with known answers, by the service and on its Bank page."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.models.jobs import Job
from patchbank.server.service import ServiceOptions
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.pages import visiting
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import Surfaces
from tests.integration.server.test_jobs import ended, uploads

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHECK = "/v1/categories/brushed/check"


@pytest.fixture(scope="module")
def study(surfaces: Surfaces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four good parts and three scratched ones, two images of each."""
    root = tmp_path_factory.mktemp("studies") / "study"
    random = np.random.default_rng(7)
    for folder, source, count in (("good", surfaces.good, 4), ("scratch", surfaces.scratched, 3)):
        for path in sorted(source.iterdir())[:count]:
            part = root / folder / path.stem
            part.mkdir(parents=True)
            pixels = np.asarray(Image.open(path)).astype(int)
            for number in range(2):
                noisy = np.clip(pixels + random.integers(-1, 2, pixels.shape), 0, 255)
                Image.fromarray(noisy.astype(np.uint8)).save(part / f"{number}.png")
    return root


def form(study: Path) -> list[tuple[str, tuple[str, bytes]]]:
    """As a browser sends the folder."""
    return [
        ("image", (path.relative_to(study.parent).as_posix(), path.read_bytes()))
        for path in sorted(study.rglob("*.png"))
    ]


def comparable(document: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name != "seconds"}


def test_a_study_that_is_sent_has_the_figures_of_the_command(
    learned: Outcome, client: TestClient, workspace: Workspace, study: Path, patchbank: Run
) -> None:
    before = uploads(workspace)
    answer = client.post(CHECK, files=form(study))
    assert answer.status_code == 202, answer.text
    job = Job.model_validate(answer.json())
    assert (job.kind, job.category) == ("check", "brushed")
    done = ended(client, job.job_id)
    assert done["state"] == "done", done
    wanted = patchbank("check", "brushed", study, "--json").document
    found = done["result"]
    for document in (wanted, found):
        for part in document["parts"]:
            for image in part["images"]:
                image["image"] = image["image"].removeprefix("study/")
    pictures = found.pop("pictures")
    assert comparable(found) == comparable(wanted)
    names = [
        image["image"]
        for part in found["parts"]
        if part["outcome"] != "right"
        for image in part["images"]
    ]
    assert sorted(pictures) == sorted(names)
    assert (found["good_parts"], found["defective_parts"], found["images"]) == (4, 3, 14)
    # In the words of the command.
    printed = " ".join(patchbank("check", "brushed", study).out.split())
    for figure in found["in_words"]["figures"]:
        assert f"{figure['title']} {figure['value']}" in printed
    for line in ("headline", "bounds", "review"):
        assert " ".join(found["in_words"][line].split()) in printed
    # Nothing is recorded or kept, and it is found again by its kind.
    assert uploads(workspace) == before
    assert client.get("/v1/categories/brushed").json()["inspections"] == 0
    listed = client.get("/v1/jobs", params={"category": "brushed", "kind": "check"}).json()
    assert [item["job_id"] for item in listed["items"]] == [job.job_id]
    assert client.get("/v1/jobs", params={"kind": "fit"}).json()["items"] == []


def test_a_study_in_a_folder_of_the_service_is_judged_if_it_is_allowed(
    learned: Outcome, workspace: Workspace, study: Path
) -> None:
    app = create_app(workspace, ServiceOptions(folders=(study.parent.resolve(),)))
    with TestClient(app, raise_server_exceptions=False) as client:
        assert client.post(CHECK, json={"folder": "/etc"}).status_code == 403
        job = client.post(
            CHECK, json={"folder": str(study)}, params={"part_from": "([0-9]+)/"}
        ).json()
        done = ended(client, job["job_id"])
        assert (done["state"], done["result"]["parts_told_by"]) == ("done", "the pattern ([0-9]+)/")
        failed = client.post(CHECK, json={"folder": str(study / "good")}).json()
        assert "with the good parts" in ended(client, failed["job_id"])["error"]


def test_a_study_that_cannot_be_made_is_refused_at_once(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    before = uploads(workspace)
    image = min(surfaces.good.iterdir()).read_bytes()
    for names, said in (
        (["a/1.png", "b/1.png"], "expected the folder good"),
        (["1.png"], "expected the folder good"),
        (["x/scratch/1/1.png"], "expected the folder good"),
        (["good/1/1.png", "good/1/1.png"], "is used twice"),
    ):
        answer = client.post(CHECK, files=[("image", (name, image)) for name in names])
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text
    nowhere = client.post("/v1/categories/nowhere/check", json={"folder": "x"})
    assert nowhere.status_code == 404
    assert uploads(workspace) == before
    assert client.get("/v1/jobs").json()["items"] == []


def test_parts_to_look_at_have_pictures(
    browser: Browser, running_service: RunningService, surfaces: Surfaces, tmp_path: Path
) -> None:
    good, bad = sorted(surfaces.good.iterdir()), sorted(surfaces.scratched.iterdir())
    # Answers that are wrong: a scratched part as a good one, and a good one as scratched.
    for name, path in {
        "good/right/0.png": good[0],
        "good/odd/0.png": bad[0],
        "scratch/right/0.png": bad[1],
        "scratch/faint/0.png": good[1],
    }.items():
        (tmp_path / "study" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "study" / name).write_bytes(path.read_bytes())
    with visiting(browser, running_service.url, width=420) as (tab, problems):
        tab.goto(running_service.url + "/categories/brushed/bank")
        tab.locator("#study-files").set_input_files(tmp_path / "study")
        tab.get_by_role("button", name="Judge these parts").click()
        parts = tab.locator("#study-parts li")
        parts.nth(1).wait_for(timeout=120_000)
        missed, alarm = parts.all()
        for part, outcome, verdict in ((missed, "Missed", "pass"), (alarm, "False alarm", "fail")):
            assert part.inner_text().startswith(outcome)
            assert part.locator("img").count() == 1
            assert part.locator("img").evaluate("image => image.decode().then(() => image.width)")
            assert part.locator(f"figcaption .verdict.{verdict}").count() == 1
            assert "times the limit" in part.locator("figcaption").inner_text()
        assert tab.evaluate("document.documentElement.scrollWidth") <= 420
    assert problems == []


def test_a_study_is_made_on_the_bank_page(
    browser: Browser, running_service: RunningService, study: Path
) -> None:
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + "/categories/brushed/bank")
        tab.get_by_text("No study was made in the last 30 days.").wait_for()
        tab.locator("#study-files").set_input_files(study)
        tab.get_by_text("14 images in the folder study").wait_for()
        tab.get_by_role("button", name="Judge these parts").click()
        figures = tab.locator("#study-figures tbody tr")
        figures.first.wait_for(timeout=120_000)
        with running_service.client() as client:
            (job,) = client.get("/v1/jobs", params={"kind": "check"}).json()["items"]
        words = job["result"]["in_words"]
        assert figures.count() == len(words["figures"])
        assert words["figures"][0]["value"] in figures.first.inner_text()
        assert words["figures"][0]["interval"] in figures.first.inner_text()
        assert words["headline"] in tab.locator("#study").inner_text()
        # Whoever comes back finds it again.
        tab.reload()
        figures.first.wait_for()
        assert tab.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        )
        # Another version of the bank may judge otherwise.
        with running_service.client() as client:
            client.put("/v1/categories/brushed/thresholds", json={"fail_above": 99})
        tab.reload()
        tab.get_by_text("The study is of version 1; version 2 judges now.").wait_for()
        # What is refused is said, and can be chosen anew.
        tab.locator("#study-files").set_input_files(study / "scratch")
        tab.get_by_text("6 images in the folder scratch").wait_for()
        tab.get_by_role("button", name="Judge these parts").click()
        tab.locator("#study-refused").get_by_text("good parts").wait_for()
        assert tab.get_by_role("button", name="Judge these parts").is_enabled()
    # The refusal is the only thing that the browser complains of.
    assert all("422" in problem for problem in problems)
