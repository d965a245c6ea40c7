"""Fits by the service: from uploaded images or a folder, with progress, cancelled, interrupted."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.living.history import history
from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.jobs import JobRequest, JobRunner
from patchbank.server.models.jobs import Job, JobPage
from patchbank.server.service import ServiceOptions
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import Surfaces

Files = list[tuple[str, tuple[str, bytes]]]
SMALL = {"image_size": 64}


@pytest.fixture
def files(surfaces: Surfaces) -> Files:
    paths = sorted(surfaces.train.iterdir())[:6]
    return [("image", (path.name, path.read_bytes())) for path in paths]


@pytest.fixture
def many(tmp_path: Path) -> Files:
    """So many that their fit takes a while."""
    random = np.random.default_rng(0)
    folder = tmp_path / "many"
    folder.mkdir()
    found = []
    for number in range(400):
        path = folder / f"{number:03}.png"
        Image.fromarray(random.integers(0, 256, (96, 96, 3), dtype=np.uint8)).save(path)
        found.append(("image", (path.name, path.read_bytes())))
    return found


def uploads(workspace: Workspace) -> set[Path]:
    """Return the folders of uploads; tests share a home, and one of them kills its service."""
    folder = workspace.home / "uploads"
    return {*folder.iterdir()} if folder.exists() else set()


def ended(client: Any, job_id: int, seconds: float = 120) -> dict[str, Any]:
    return until(client, job_id, lambda job: job["ended_at"] is not None, seconds)


def until(
    client: Any, job_id: int, met: Callable[[dict[str, Any]], bool], seconds: float = 120
) -> dict[str, Any]:
    end = time.monotonic() + seconds
    job: dict[str, Any] = {}
    while time.monotonic() < end:
        job = client.get(f"/v1/jobs/{job_id}").json()
        if met(job):
            Job.model_validate(job)
            return job
        time.sleep(0.1)
    raise AssertionError(job)


def test_uploaded_images_become_a_bank_that_judges(
    client: TestClient, workspace: Workspace, files: Files
) -> None:
    before = uploads(workspace)
    answer = client.post("/v1/categories/new/fit", files=files, params=SMALL)
    assert answer.status_code == 202, answer.text
    job = Job.model_validate(answer.json())
    assert (job.kind, job.category) == ("fit", "new")
    done = ended(client, job.job_id)
    assert done["state"] == "done", done
    assert done["result"]["images"] == len(files)
    assert done["error"] is None
    inspected = client.post("/v1/categories/new/inspect", content=files[0][1][1])
    assert inspected.status_code == 200, inspected.text
    assert inspected.json()["similar"][0]["image"] == files[0][1][0]
    # Neither their content nor the names that the client chose stay on the disk.
    assert uploads(workspace) == before

    listed = JobPage.model_validate(client.get("/v1/jobs").json())
    assert [item.job_id for item in listed.items] == [job.job_id]
    assert client.get("/v1/jobs", params={"category": "other"}).json()["items"] == []
    assert client.post(f"/v1/jobs/{job.job_id}/cancel").status_code == 409
    assert client.get("/v1/jobs/999999").status_code == 404


def test_a_fit_is_recorded_under_the_name_of_the_key(
    client: TestClient, workspace: Workspace, files: Files
) -> None:
    create_key(workspace, "boss", "admin")
    secrets = {role: create_key(workspace, role, role).secret for role in ("operator", "engineer")}
    headers = {"Authorization": f"Bearer {secrets['operator']}"}
    answer = client.post("/v1/categories/new/fit", files=files, params=SMALL, headers=headers)
    assert answer.status_code == 403
    headers = {"Authorization": f"Bearer {secrets['engineer']}"}
    client.headers.update(headers)
    job = client.post("/v1/categories/new/fit", files=files, params=SMALL).json()
    assert job["created_by"] == "engineer"
    assert ended(client, job["job_id"])["state"] == "done"
    assert history(workspace, "new")[0]["actor"] == "engineer"


def test_a_folder_of_the_service_is_learned_if_it_is_allowed(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    allowed = surfaces.train.parent.resolve()
    app = create_app(workspace, ServiceOptions(folders=(allowed,)))
    with TestClient(app, raise_server_exceptions=False) as client:
        for folder in (tmp_path, allowed / "..", f"{allowed}-else", "/etc", "a\0b"):
            answer = client.post("/v1/categories/new/fit", json={"folder": str(folder)})
            assert answer.status_code in (403, 422), (folder, answer.text)
        link = tmp_path / "link"
        link.symlink_to("/etc")
        assert client.post("/v1/categories/new/fit", json={"folder": str(link)}).status_code == 403
        answer = client.post(
            "/v1/categories/new/fit", json={"folder": str(surfaces.train)}, params=SMALL
        )
        assert answer.status_code == 202, answer.text
        assert ended(client, answer.json()["job_id"])["state"] == "done"


def test_a_data_set_of_the_service_is_evaluated_and_nothing_is_stored(
    workspace: Workspace, surfaces: Surfaces, patchbank: Run, tmp_path: Path
) -> None:
    root = surfaces.root.resolve()
    address = "/v1/categories/brushed/evaluate"
    app = create_app(workspace, ServiceOptions(folders=(root, tmp_path.resolve())))
    with TestClient(app, raise_server_exceptions=False) as client:
        for wanted, status, said in (
            ({"folder": "/etc"}, 403, "serve --folder"),
            ({"folder": f"{root}/.."}, 403, "serve --folder"),
            ({"folder": str(root), "dataset": "mvtek"}, 422, "did you mean"),
        ):
            refused = client.post(address, json=wanted)
            assert (refused.status_code, said in refused.json()["detail"]) == (status, True)
        job = client.post(address, json={"folder": str(root)}, params=SMALL).json()
        assert (job["kind"], job["category"]) == ("evaluate", "brushed")
        done = Job.model_validate(ended(client, job["job_id"]))
        assert done.state == "done", done.error
        assert done.stage is not None
        assert done.done == done.total > 0, done.stage
        assert done.result is not None
        command = patchbank(
            "evaluate", root, "--category", "brushed", "--image-size", "64", "--json"
        )
        measured = command.documents[0]
        for name in ("category", "image_auroc", "recall", "false_alarm_rate", "train_images"):
            assert done.result[name] == pytest.approx(measured[name]), name
        assert client.get("/v1/categories").json()["items"] == []

        # Without anomalous images, some figures do not exist.
        shutil.copytree(surfaces.train, tmp_path / "parts" / "good")
        only_good = {"folder": str(tmp_path / "parts"), "dataset": "folder"}
        job = client.post("/v1/categories/parts/evaluate", json=only_good, params=SMALL).json()
        measured = ended(client, job["job_id"])
        assert measured["state"] == "done", measured["error"]
        assert measured["result"]["recall"] is None

        # What cannot be evaluated fails with its reason.
        job = client.post("/v1/categories/none/evaluate", json={"folder": str(root)}).json()
        failed = ended(client, job["job_id"])
        assert (failed["state"], "none" in failed["error"]) == ("failed", True)

        job = client.post(address, json={"folder": str(root)}, params={"image_size": 448}).json()
        assert client.post(f"/v1/jobs/{job['job_id']}/cancel").status_code == 202
        assert ended(client, job["job_id"])["state"] == "cancelled"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"content": b"x"}, "send images as a form"),
        ({"json": {"folder": "a", "other": 1}}, "send images as a form"),
        ({"files": {"image": ("", b"x")}}, "is not a file of the field `image`"),
        ({"files": {"other": b"x"}}, "is not a file of the field `image`"),
        ({"files": [("image", ("a", b"x")), ("image", ("a", b"y"))]}, "'a' is used twice"),
        ({"files": {"image": b"x"}, "params": {"false_alarm_rate": 2}}, "false_alarm_rate"),
        (
            {"content": b"--x\r\nbroken", "headers": {"content-type": "multipart/form-data"}},
            "send a form",
        ),
        (
            {
                "content": b"no boundary here",
                "headers": {"content-type": "multipart/form-data; boundary=x"},
            },
            "form",
        ),
    ],
)
def test_mistakes_are_said_at_once_and_leave_nothing(
    client: TestClient, workspace: Workspace, options: dict[str, Any], said: str
) -> None:
    before = uploads(workspace)
    answer = client.post("/v1/categories/new/fit", **options)
    assert answer.status_code == 422, answer.text
    assert said in answer.json()["detail"]
    assert client.get("/v1/jobs").json()["items"] == []
    assert uploads(workspace) == before


def test_a_bank_is_read_when_a_job_made_it_and_not_after_a_study(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    made: list[str] = []
    runner = JobRunner(workspace, made.append)
    asked = (
        JobRequest("fit", "new", SMALL, folder=surfaces.good),
        JobRequest("check", "new", {}, folder=surfaces.good.parent),
        JobRequest("calibrate", "new", {}, folder=surfaces.train),
    )
    numbers = [runner.add(request) for request in asked]
    runner.begin()
    end = time.monotonic() + 120
    while runner.count and time.monotonic() < end:
        time.sleep(0.1)
    runner.close()
    for number in numbers:
        job = workspace.database.jobs.get(number)
        assert job.state == "done", job.error
        assert job.done == job.total > 0, (job.kind, job.stage)
    assert made == ["new", "new"]


def test_a_fit_that_fails_says_why_and_changes_nothing(
    learned: Outcome, client: TestClient, workspace: Workspace, files: Files
) -> None:
    broken: Files = [("image", (name, b"no image")) for _, (name, _) in files]
    job = client.post("/v1/categories/brushed/fit", files=broken, params=SMALL).json()
    failed = ended(client, job["job_id"])
    assert failed["state"] == "failed"
    assert "000.png: is not an image of a known format" in failed["error"]
    assert "uploads" not in failed["error"]
    assert "\n" not in failed["error"]
    assert len(history(workspace, "brushed")) == 1


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("exit 3", "its process ended with 3: "),
        ("echo out of memory >&2; exit 1", "its process ended with 1: out of memory"),
        ("printf '{\"result'; exit 9", "its process ended with 9: "),
        (None, "its process could not be started: "),
    ],
)
def test_a_process_that_breaks_fails_its_job_and_no_other(
    client: TestClient,
    workspace: Workspace,
    files: Files,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    program: str | None,
    said: str,
) -> None:
    path = tmp_path / "python"
    if program is not None:
        # It must have read what it is asked before it ends, else that is the error.
        path.write_text(f"#!/bin/sh\nread asked\n{program}\n")
        path.chmod(0o755)
    with monkeypatch.context() as broken:
        broken.setattr("sys.executable", str(path))
        job = client.post("/v1/categories/new/fit", files=files, params=SMALL).json()
        failed = ended(client, job["job_id"])
    assert (failed["state"], failed["error"][: len(said)]) == ("failed", said)
    job = client.post("/v1/categories/new/fit", files=files, params=SMALL).json()
    assert ended(client, job["job_id"])["state"] == "done"


def test_a_job_is_followed_and_cancelled_while_inspections_go_on(
    learned: Outcome, client: TestClient, workspace: Workspace, many: Files, files: Files
) -> None:
    before = uploads(workspace)
    job_id = client.post("/v1/categories/new/fit", files=many).json()["job_id"]
    waiting = client.post("/v1/categories/other/fit", files=files, params=SMALL).json()
    events: list[dict[str, Any]] = []

    def follow() -> None:
        with client.stream("GET", f"/v1/jobs/{job_id}/events") as stream:
            kind = ""
            for line in stream.iter_lines():
                if line.startswith("event: "):
                    kind = line.removeprefix("event: ")
                elif line.startswith("data: ") and kind == "job":
                    events.append(json.loads(line.removeprefix("data: ")))

    follower = threading.Thread(target=follow)
    follower.start()
    running = until(client, job_id, lambda job: job["rate"] is not None)
    assert running["state"] == "running"
    assert running["total"] >= running["done"]
    assert running["rate"] > 0
    assert running["seconds_left"] >= 0
    inspected = client.post("/v1/categories/brushed/inspect", content=files[0][1][1])
    assert inspected.status_code == 200
    assert client.get(f"/v1/jobs/{waiting['job_id']}").json()["state"] == "waiting"
    assert client.post(f"/v1/jobs/{waiting['job_id']}/cancel").status_code == 202
    assert client.post(f"/v1/jobs/{job_id}/cancel").status_code == 202
    assert ended(client, job_id)["state"] == "cancelled"
    assert ended(client, waiting["job_id"])["state"] == "cancelled"
    follower.join(30)
    assert [event["state"] for event in events][-1] == "cancelled"
    assert "running" in {event["state"] for event in events}
    assert workspace.database.categories.names() == ("brushed",)
    assert uploads(workspace) == before


def test_a_category_is_not_removed_while_a_job_makes_a_bank_of_it(
    learned: Outcome, client: TestClient, workspace: Workspace, many: Files, patchbank: Run
) -> None:
    job_id = client.post("/v1/categories/brushed/fit", files=many).json()["job_id"]
    refused = client.delete("/v1/categories/brushed")
    assert (refused.status_code, refused.json()["type"]) == (
        409,
        "urn:patchbank:problem:bank-in-making",
    )
    assert f"job {job_id}, which makes a bank of it (fit), is " in refused.json()["detail"]
    by_command = patchbank("remove", "brushed", "--yes")
    assert (by_command.code, f"cancel it (`POST /v1/jobs/{job_id}" in by_command.complaint) == (
        2,
        True,
    )
    client.post(f"/v1/jobs/{job_id}/cancel")
    assert ended(client, job_id)["state"] == "cancelled"
    # An evaluation makes none; and what a service that was killed left will make none either.
    jobs = workspace.database.jobs
    jobs.begin(jobs.create("evaluate", "brushed"))
    jobs.create("fit", "brushed")
    with workspace.database.connection() as connection:
        connection.execute("update job set alive_at = now() - interval '1 min' where kind = 'fit'")
    assert client.delete("/v1/categories/brushed").status_code == 200
    assert workspace.database.categories.names() == ()


def test_a_service_that_is_killed_leaves_an_interrupted_job_and_no_process(
    running_service: RunningService,
    workspace: Workspace,
    client: TestClient,
    many: Files,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with running_service.client() as asking:
        job_id = asking.post("/v1/categories/new/fit", files=many).json()["job_id"]
        until(asking, job_id, lambda job: job["state"] == "running" and job["done"] > 0)
        children = psutil.Process(running_service.process.pid).children(recursive=True)
        fits = [each for each in children if "patchbank.server.job_process" in each.cmdline()]
        assert len(fits) == 1
        os.kill(running_service.process.pid, signal.SIGKILL)
    assert psutil.wait_procs(fits, timeout=30)[1] == []
    # As if the time went by in which a service says that it is there.
    with workspace.database.connection() as connection:
        connection.execute("update job set alive_at = alive_at - interval '1 minute'")
    job = client.get(f"/v1/jobs/{job_id}").json()
    assert job["state"] == "interrupted"
    assert "start it again" in job["error"]
    assert client.post(f"/v1/jobs/{job_id}/cancel").status_code == 409
    assert workspace.database.categories.names() == ("brushed",)


def test_a_service_that_is_stopped_ends_its_jobs(
    workspace: Workspace, client: TestClient, many: Files
) -> None:
    with TestClient(create_app(workspace)) as stopping:
        job_id = stopping.post("/v1/categories/new/fit", files=many).json()["job_id"]
        until(stopping, job_id, lambda job: job["state"] == "running")
        begin = time.monotonic()
    assert time.monotonic() - begin < 20
    assert client.get(f"/v1/jobs/{job_id}").json()["state"] == "interrupted"
    assert workspace.database.categories.names() == ()


@pytest.fixture
def little(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    changed = {"serve_megabytes": 0.001, "serve_upload_megabytes": 0.1}
    workspace.settings = workspace.settings.model_copy(update=changed)
    with TestClient(create_app(workspace), raise_server_exceptions=False) as opened:
        yield opened


def test_images_to_learn_have_a_limit_of_their_own(little: TestClient) -> None:
    image = {"image": ("a.png", bytes(5_000))}
    assert little.post("/v1/categories/new/inspect", files=image).status_code == 413
    assert little.post("/v1/categories/new/fit", files=image).status_code == 202
    for work in ("fit", "calibrate", "check"):
        # Not refused by its size, whatever else is wrong.
        assert little.post(f"/v1/categories/new/{work}", files=image).status_code != 413
    answer = little.post("/v1/categories/new/fit", files={"image": ("a.png", bytes(200_000))})
    assert answer.status_code == 413
    assert "PATCHBANK_SERVE_UPLOAD_MEGABYTES" in answer.json()["detail"]
