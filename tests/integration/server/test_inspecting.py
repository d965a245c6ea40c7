"""Judging through the service."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi.testclient import TestClient

from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.judging import JudgingPool
from patchbank.server.models.inspecting import InspectionAnswer
from tests.fixtures.commands import Outcome
from tests.fixtures.service import RunningService
from tests.fixtures.surfaces import Surfaces

INSPECT = "/v1/categories/brushed/inspect"


@pytest.fixture
def image(surfaces: Surfaces) -> Path:
    return sorted(surfaces.train.iterdir())[0]


def test_an_image_is_judged_as_by_the_inspector(
    learned: Outcome, client: TestClient, workspace: Workspace, image: Path
) -> None:
    answer = client.post(
        INSPECT, content=image.read_bytes(), params={"name": "a.png", "part": "7", "top": 3}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    InspectionAnswer.model_validate(found)
    direct = Inspector(workspace, "brushed").inspect(image.read_bytes(), name="a.png", top=3)
    assert found["score"] == direct.score
    assert found["similar"] == [match.to_json() for match in direct.similar]
    assert (found["image"], found["part"], found["recorded"]) == ("a.png", "7", True)
    assert found["urls"]["inspection"] == (
        f"/v1/categories/brushed/inspections/{found['inspection_id']}"
    )


def test_a_form_gives_the_image_its_file_name(
    learned: Outcome, client: TestClient, image: Path
) -> None:
    with image.open("rb") as file:
        answer = client.post(INSPECT, files={"image": ("cam/3.png", file)})
    assert answer.status_code == 200, answer.text
    assert answer.json()["image"] == "cam/3.png"


IMAGE = ("a.png", b"not read")


@pytest.mark.parametrize(
    ("path", "options", "status", "kind", "said"),
    [
        ("/v1/categories/brush/inspect", {}, 404, "unknown-category", "did you mean 'brushed'?"),
        (INSPECT, {"content": b""}, 422, "image", "the image is empty"),
        (INSPECT, {"content": b"no image"}, 422, "image", "image"),
        (INSPECT, {"params": {"top": "-1"}}, 422, "not-valid", "query.top: input should be"),
        (INSPECT, {"params": {"part": "\x07"}}, 422, "parameter", "control characters"),
        (INSPECT, {"files": {"other": b"x"}}, 422, "image", "no file in the field `image`"),
        (INSPECT, {"files": {"image": IMAGE, "part": (None, "4711")}}, 422, "parameter", "'part'"),
        (INSPECT, {"params": {"parts": "4711"}}, 422, "parameter", "did you mean 'part'?"),
        (INSPECT, {"params": {"idempotency-key": "a"}}, 422, "parameter", "no parameter 'idem"),
        (INSPECT, {"params": {"category": "a"}}, 422, "parameter", "no parameter 'category'"),
        ("/v1/nothing", {}, 404, "not-found", "POST /v1/nothing: there is no such address"),
    ],
)
def test_mistakes_are_problem_documents(
    learned: Outcome,
    client: TestClient,
    image: Path,
    path: str,
    options: dict[str, Any],
    status: int,
    kind: str,
    said: str,
) -> None:
    if "files" not in options:
        options = {"content": image.read_bytes(), **options}
    answer = client.post(path, **options)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert document["type"] == f"urn:patchbank:problem:{kind}"
    assert document["status"] == status
    assert said in document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]


def test_a_full_pool_refuses_and_frees_its_places() -> None:
    import asyncio

    from patchbank.errors import BusyError

    begun, release = threading.Event(), threading.Event()

    def wait(alone: bool) -> bool:
        begun.set()
        return release.wait() and alone

    async def run() -> list[bool]:
        pool = JudgingPool(at_once=1, most_waiting=2)
        first = asyncio.create_task(pool.run(wait))
        second, third = (asyncio.create_task(pool.run(lambda alone: alone)) for _ in range(2))
        await asyncio.to_thread(begun.wait)
        with pytest.raises(BusyError, match="busy with 3 images"):
            await pool.run(lambda alone: alone)
        # Who gives up while waiting leaves at once; who is being served, when the work is done.
        first.cancel()
        second.cancel()
        await asyncio.sleep(0)
        assert pool.taken == 2
        release.set()
        found = [await third, await pool.run(lambda alone: alone)]
        pool.close()
        assert pool.taken == 0
        return found

    # In a thread: the browser of other tests keeps a loop in this one.
    with ThreadPoolExecutor(1) as apart:
        assert apart.submit(lambda: asyncio.run(run())).result() == [True, True]


def test_a_busy_service_says_when_to_ask_again(
    learned: Outcome, client: TestClient, image: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(service.pool, "_most", 0)
    answer = client.post(INSPECT, content=image.read_bytes())
    assert answer.status_code == 503
    assert answer.headers["retry-after"] == "1"


def test_a_damaged_bank_is_not_waited_for(
    learned: Outcome, image: Path, workspace: Workspace
) -> None:
    with workspace.database.connection() as connection:
        connection.execute("update bank set settings = '[1]'")
    with TestClient(create_app(workspace)) as client:
        answer = client.post(INSPECT, content=image.read_bytes())
    assert (answer.status_code, answer.json()["type"]) == (
        503,
        "urn:patchbank:problem:damaged-bank",
    )
    assert "fit the category again" in answer.json()["detail"]
    assert "retry-after" not in answer.headers


def test_clients_at_once_get_the_scores_of_one_alone(
    shared_service: RunningService, surfaces: Surfaces
) -> None:
    images = [path.read_bytes() for path in sorted(surfaces.train.iterdir())[:4]]
    with shared_service.client() as client:
        alone = [client.post(INSPECT, content=image).json()["score"] for image in images]
        together: list[float] = [0.0] * 4

        def ask(number: int) -> None:
            answer = client.post(INSPECT, content=images[number])
            together[number] = answer.json()["score"]

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    # On other numbers of threads, sums come in another order.
    assert together == pytest.approx(alone, rel=1e-4)


def test_a_stop_finishes_what_was_begun(running_service: RunningService, image: Path) -> None:
    with running_service.client() as client:
        assert client.post(INSPECT, content=image.read_bytes()).status_code == 200
        statuses: list[int] = []
        asking = threading.Thread(
            target=lambda: statuses.append(
                client.post(INSPECT, content=image.read_bytes()).status_code
            )
        )
        asking.start()
        # It is there as soon as the service counts it.
        while client.get("/health/ready").json()["taken"] == 0 and asking.is_alive():
            pass
        running_service.process.terminate()
        asking.join()
    assert statuses == [200]
    assert running_service.process.wait(timeout=30) == 0


def test_health(shared_service: RunningService) -> None:
    with shared_service.client() as client:
        assert client.get("/health/live").json() == {"status": "alive"}
        while (ready := client.get("/health/ready")).json()["warming"]:
            assert ready.status_code == 503
        assert ready.status_code == 200
        document = ready.json()
    assert document["banks"] == {"brushed": 1}
    assert document["database"] == "reachable"


def test_records_carry_the_number_of_the_request(
    learned: Outcome, database_url: str, graphs_home: Path
) -> None:
    from tests.fixtures.commands import start

    process = start(
        "serve", "--port", "0", home=graphs_home, url=database_url, PATCHBANK_LOG="json"
    )
    assert process.stderr is not None
    url = json.loads(process.stderr.readline())["message"].split()[-1]
    number = httpx.get(url + "/health/live").headers["x-request-id"]
    process.terminate()
    _, err = process.communicate(timeout=60)
    records = [json.loads(line) for line in err.splitlines()]
    (record,) = [record for record in records if record.get("request_id") == number]
    assert record["message"].startswith("GET /health/live 200 in ")
