"""Sinks by the routes and on the Admin page."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from fastapi.testclient import TestClient

from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.models.sinks import SinkAdded, SinkList, SinkRemoved, SinkTried
from patchbank.server.service import ServiceOptions
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.pages import inspect, visiting
from tests.fixtures.receiver import Receiver
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import Surfaces

if TYPE_CHECKING:
    from playwright.sync_api import Browser

INSPECT = "/v1/categories/brushed/inspect"


def test_a_webhook_is_added_tried_listed_and_removed(
    learned: Outcome, client: TestClient, surfaces: Surfaces, receiver: Receiver, patchbank: Run
) -> None:
    target = f"{receiver.url}?token=of+the+receiver"
    made = client.post("/v1/sinks", json={"name": "mes", "target": target})
    added = SinkAdded.model_validate(made.json())
    assert added.secret is not None
    receiver.trust(added.secret)
    tried = client.post(f"/v1/sinks/{added.sink_id}/test")
    assert SinkTried.model_validate(tried.json()) == SinkTried(arrived=True, error=None)
    answer = client.post(INSPECT, content=min(surfaces.train.iterdir()).read_bytes()).json()
    deadline = time.monotonic() + 30
    while answer["inspection_id"] not in receiver.numbers:
        assert time.monotonic() < deadline
        time.sleep(0.02)

    receiver.close()
    tried = client.post(f"/v1/sinks/{added.sink_id}/test")
    assert tried.json()["arrived"] is False
    assert tried.json()["error"].startswith("sink 'mes': nothing arrives at http://127.0.0.1:")
    client.post(INSPECT, content=min(surfaces.train.iterdir()).read_bytes())
    while True:
        listed = client.get("/v1/sinks")
        (sink,) = SinkList.model_validate(listed.json()).items
        if sink.failures:
            break
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert (sink.delivered, sink.waiting, sink.categories) == (1, 1, None)
    assert sink.last_error
    assert sink.waiting_since is not None
    for secret in (added.secret, "of+the+receiver"):
        assert secret not in listed.text + tried.text
        assert secret not in patchbank("audit", "brushed", "--json").out

    removed = client.delete(f"/v1/sinks/{added.sink_id}").json()
    assert SinkRemoved.model_validate(removed) == SinkRemoved(removed="mes", not_sent=1)
    for missing in (
        client.delete(f"/v1/sinks/{added.sink_id}"),
        client.post(f"/v1/sinks/{added.sink_id}/test"),
    ):
        assert missing.status_code == 404
    events = client.get("/v1/categories/brushed/audit").json()["items"][:2]
    assert [event["kind"] for event in events] == ["remove sink", "add sink"]
    assert events[0]["detail"]["not_sent"] == 1
    assert events[1]["detail"] == {
        "sink": "mes",
        "kind": "webhook",
        "target": f"{receiver.url}?...",
        "verdicts": ["pass", "review", "fail"],
    }
    assert patchbank("audit", "verify").code == 0


def test_what_cannot_be_a_sink_is_refused(learned: Outcome, client: TestClient) -> None:
    mqtt = {"name": "a", "target": "mqtt://host"}
    for wanted, status, said in (
        ({"name": "a", "target": "https://host/", "categories": ["brush"]}, 404, "did you mean"),
        ({"name": "a", "target": "https://host/", "secret": "short"}, 422, "24 to 64 bytes"),
        ({"name": "a", "target": "https://host/", "secret": "whsec_é"}, 422, "24 to 64 bytes"),
        ({"name": "a", "target": "https://host/", "verdicts": ["good"]}, 422, "verdicts"),
        ({**mqtt, "user": "a\0b"}, 422, "control characters"),
        ({**mqtt, "user": "a", "secret": "a\0b"}, 422, "cannot be printed"),
        ({"name": "a", "target": "/tmp/results.csv"}, 403, "serve --folder"),
        ({"name": "a", "target": "a\0.csv"}, 422, "target"),
    ):
        refused = client.post("/v1/sinks", json=wanted)
        assert (refused.status_code, said in refused.json()["detail"]) == (status, True), (
            wanted,
            refused.text,
        )
    assert client.get("/v1/sinks").json() == {"items": []}


def test_csv_files_are_written_below_the_folders_of_the_service_only(
    learned: Outcome, workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    allowed = (tmp_path / "allowed").resolve()
    allowed.mkdir()
    (allowed / "link").symlink_to(tmp_path)
    options = ServiceOptions(folders=(allowed,))
    with TestClient(create_app(workspace, options), raise_server_exceptions=False) as client:
        for target in (f"{allowed}/../a.csv", f"{allowed}/link/a.csv", f"{allowed}-else/a.csv"):
            refused = client.post("/v1/sinks", json={"name": "a", "target": target})
            assert refused.status_code == 403, target
        wanted = {"name": "a", "target": f"{allowed}/a.csv", "categories": ["brushed"]}
        assert client.post("/v1/sinks", json=wanted).json()["secret"] is None
        client.post(INSPECT, content=min(surfaces.train.iterdir()).read_bytes())
    # The end of the service sends what it can.
    assert len((allowed / "a.csv").read_text().splitlines()) == 2
    assert not (tmp_path / "a.csv").exists()


def test_sinks_are_administered_on_the_page(
    browser: Browser, running_service: RunningService, surfaces: Surfaces, receiver: Receiver
) -> None:
    with visiting(browser, running_service.url) as (tab, problems):
        tab.goto(running_service.url + "/admin")
        tab.get_by_text("No sinks yet").wait_for()
        form = tab.locator("#add-sink")
        form.get_by_label("Target").fill("mqtt://broker")
        form.get_by_label("User").wait_for()
        form.get_by_label("Name").fill("mes <1>")
        form.get_by_label("Target").fill(receiver.url)
        form.get_by_label("User").wait_for(state="hidden")
        form.get_by_label("fail").check()
        form.get_by_role("button", name="Add the sink").click()
        made = tab.locator("#sink-made code")
        made.wait_for()
        row = tab.locator("#sinks tbody tr")
        row.get_by_text("mes <1>").wait_for()
        assert "fail" in row.inner_text()
        # The secret is long, and a phone is narrow.
        tab.set_viewport_size({"width": 420, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= 420
        tab.set_viewport_size({"width": 1440, "height": 900})
        # The receiver does not know the secret yet.
        row.get_by_role("button", name="Send a test").click()
        tab.get_by_text("answered 401").wait_for()
        receiver.trust(made.inner_text())
        row.get_by_role("button", name="Send a test").click()
        tab.get_by_text("The test arrived at mes <1>.").wait_for()
        inspect(running_service, min(surfaces.scratched.iterdir()))
        row.get_by_text("1, the last").wait_for(timeout=30_000)
        tab.reload()
        row.get_by_text("mes <1>").wait_for()
        assert tab.locator("#sink-made").is_hidden()
        tab.once("dialog", lambda dialog: dialog.accept())
        row.get_by_role("button", name="Remove").click()
        tab.get_by_text("No sinks yet").wait_for()
    assert problems == []
