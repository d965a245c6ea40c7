"""Several images in one request, and requests that come again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.keeping.manage import remove_category
from patchbank.inspection.workspace import Workspace
from patchbank.server.models.inspecting import BatchAnswer
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

INSPECT = "/v1/categories/brushed/inspect"
BATCH = INSPECT + ":batch"
Files = list[tuple[str, tuple[str, bytes]]]


@pytest.fixture
def files(surfaces: Surfaces) -> Files:
    paths = sorted(surfaces.good.iterdir())[:3]
    return [("image", (path.name, path.read_bytes())) for path in paths]


def test_each_image_has_its_answer_or_its_reason(
    learned: Outcome, client: TestClient, workspace: Workspace, files: Files
) -> None:
    files.insert(1, ("image", ("broken.png", b"no image")))
    answer = client.post(BATCH, files=files, params={"part": ["1", "2", "3", "4"]})
    assert answer.status_code == 200, answer.text
    items = answer.json()["items"]
    BatchAnswer.model_validate(answer.json())
    assert [item["image"] for item in items] == ["000.png", "broken.png", "001.png", "002.png"]
    assert "broken.png" in items[1]["refused"]
    assert [items[number]["part"] for number in (0, 2, 3)] == ["1", "3", "4"]
    records = workspace.database.inspections.recent("brushed")
    assert {record.inspection_id for record in records} == {
        items[number]["inspection_id"] for number in (0, 2, 3)
    }


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"content": b"x"}, "send a form with the images"),
        ({"files": {"other": b"x"}}, "no file in the field `image`"),
        ({"params": {"part": ["1", "2"]}}, "part: 2 given for 3 images"),
    ],
)
def test_mistakes_are_said(
    learned: Outcome, client: TestClient, files: Files, options: dict[str, Any], said: str
) -> None:
    if "params" in options:
        options = {"files": files, **options}
    answer = client.post(BATCH, **options)
    assert answer.status_code == 422
    assert said in answer.json()["detail"]


def test_a_request_that_comes_again_is_recorded_once(
    learned: Outcome, client: TestClient, workspace: Workspace, files: Files
) -> None:
    content = files[0][1][1]
    headers = {"Idempotency-Key": "7f2c"}
    first = client.post(INSPECT, content=content, headers=headers)
    assert first.status_code == 200, first.text
    assert client.post(INSPECT, content=content, headers=headers).json() == first.json()
    assert len(workspace.database.inspections.recent("brushed")) == 1

    other = client.post(INSPECT, content=files[1][1][1], headers=headers)
    assert other.status_code == 422
    assert "another image or other parameters came under this key" in other.json()["detail"]
    other = client.post(INSPECT, content=content, headers=headers, params={"part": "8"})
    assert other.status_code == 422
    assert client.post(INSPECT, content=content, headers={"Idempotency-Key": ""}).status_code == 422
    assert len(workspace.database.inspections.recent("brushed")) == 1


def test_the_same_request_twice_at_once_is_recorded_once(
    learned: Outcome, client: TestClient, workspace: Workspace, files: Files
) -> None:
    content = files[0][1][1]

    def ask(number: int) -> Any:
        return client.post(INSPECT, content=content, headers={"Idempotency-Key": "once"}).json()

    with ThreadPoolExecutor(4) as threads:
        first, *others = threads.map(ask, range(4))
    assert all(other == first for other in others)
    assert len(workspace.database.inspections.recent("brushed")) == 1


def test_answers_are_kept_a_day(
    learned: Outcome,
    client: TestClient,
    workspace: Workspace,
    files: Files,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("patchbank.store.answered_requests._FORGET_SECONDS", -1)
    content = files[0][1][1]
    headers = {"Idempotency-Key": "7f2c"}
    first = client.post(INSPECT, content=content, headers=headers).json()
    with workspace.database.connection() as connection:
        connection.execute("update answered_request set answered_at = now() - interval '25 hours'")
    again = client.post(INSPECT, content=content, headers=headers).json()
    assert again["inspection_id"] != first["inspection_id"]
    client.post(INSPECT, content=content, headers={"Idempotency-Key": "other"})
    with workspace.database.connection() as connection:
        row = connection.execute("select count(*) from answered_request").fetchone()
    assert row == (2,)


def test_a_batch_waits_its_turn_once_it_has_begun(
    learned: Outcome, client: TestClient, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = client.app.state.service.pool  # type: ignore[attr-defined]
    monkeypatch.setattr(pool, "_most", 1)
    answer = client.post(BATCH, files=files)
    assert all("score" in item for item in answer.json()["items"])
    monkeypatch.setattr(pool, "_most", 0)
    answer = client.post(BATCH, files=files)
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_keys_of_different_callers_are_different(
    learned: Outcome, client: TestClient, workspace: Workspace, files: Files
) -> None:
    create_key(workspace, "boss", "admin")
    answers = []
    for name in ("camera-1", "camera-2"):
        secret = create_key(workspace, name, "operator").secret
        headers = {"Idempotency-Key": "1", "Authorization": f"Bearer {secret}"}
        answers.append(client.post(INSPECT, content=files[0][1][1], headers=headers).json())
    assert answers[0]["inspection_id"] != answers[1]["inspection_id"]


def test_a_removed_category_forgets_its_answers(
    learned: Outcome, client: TestClient, workspace: Workspace, files: Files
) -> None:
    headers = {"Idempotency-Key": "7f2c"}
    assert client.post(INSPECT, content=files[0][1][1], headers=headers).status_code == 200
    remove_category(workspace, "brushed")
    assert client.post(INSPECT, content=files[0][1][1], headers=headers).status_code == 404


def test_a_batch_that_comes_again_is_recorded_once(
    learned: Outcome, client: TestClient, workspace: Workspace, files: Files
) -> None:
    headers = {"Idempotency-Key": "batch"}
    first = client.post(BATCH, files=files[:2], headers=headers).json()
    # What a broken connection left undone is done.
    again = client.post(BATCH, files=files, headers=headers).json()
    assert again["items"][:2] == first["items"]
    assert len(workspace.database.inspections.recent("brushed")) == 3
