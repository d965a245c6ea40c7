"""What makes inspections over HTTP quick, and that it changes nothing else."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from patchbank.errors import BankGoneError, DatabaseError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.wanted import Judged
from patchbank.inspection.keeping.manage import remove_category
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.server.recording import RecordingLine
from patchbank.store.banks import Banks
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces

INSPECT = "/v1/categories/brushed/inspect"


@pytest.fixture
def image(surfaces: Surfaces) -> bytes:
    return sorted(surfaces.train.iterdir())[0].read_bytes()


def test_a_warm_up_judges_and_records_nothing(learned: Outcome, workspace: Workspace) -> None:
    inspector = Inspector(workspace, "brushed")
    inspector.warm_up()
    assert workspace.database.inspections.recent("brushed") == []


def test_the_service_warms_its_banks_up(
    learned: Outcome, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.app.state.service.warming.join()  # type: ignore[attr-defined]
    ready = client.get("/health/ready").json()
    assert (ready["status"], ready["banks"]) == ("ready", {"brushed": 1})


def test_a_version_is_asked_for_unless_that_was_done_since_the_image_came(
    learned: Outcome, workspace: Workspace, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = Inspector(workspace, "brushed")
    asked: list[str] = []
    original = Banks.active_state

    def counted(self: Banks, category: str) -> Any:
        asked.append(category)
        return original(self, category)

    monkeypatch.setattr(Banks, "active_state", counted)
    arrived = time.monotonic()
    inspector.judge(image, since=arrived)
    inspector.judge(image, since=arrived)
    assert len(asked) == 1
    inspector.judge(image, since=time.monotonic())
    assert len(asked) == 2
    inspector.judge(image)
    assert len(asked) == 3


def test_what_was_active_when_an_image_came_judges_it(
    learned: Outcome, patchbank: Run, workspace: Workspace, surfaces: Surfaces, image: bytes
) -> None:
    inspector = Inspector(workspace, "brushed")
    before = time.monotonic()
    inspector.judge(image, since=before)
    assert patchbank("fit", "brushed", surfaces.train, "--image-size", "64").code == 0
    # An image from before the fit may be judged by the old version, one from after it may not.
    assert inspector.judge(image, since=time.monotonic()).inspection.bank_version == 2


def test_waiting_inspections_share_a_commit() -> None:
    commits: list[list[str]] = []
    go_on = threading.Event()

    def record(judged: Sequence[Any]) -> Sequence[Any]:
        go_on.wait()
        commits.append(list(judged))
        if "gone" in judged:
            raise BankGoneError
        return [f"{name} recorded" for name in judged]

    async def run() -> list[Any]:
        line = RecordingLine(record)
        names: list[Any] = ["a", "b", "c", "d"]
        first = asyncio.create_task(line.recorded(names[0]))
        await asyncio.sleep(0.05)
        others = [asyncio.create_task(line.recorded(name)) for name in names[1:]]
        await asyncio.sleep(0)
        assert line.pending == 4
        others[1].cancel()
        go_on.set()
        answers = await asyncio.gather(first, *others, return_exceptions=True)
        gone: Any = "gone"
        with pytest.raises(BankGoneError):
            await line.recorded(gone)
        assert line.pending == 0
        line.close()
        return answers

    # Apart, as this thread may have the loop of a browser.
    with ThreadPoolExecutor(1) as apart:
        answers = apart.submit(asyncio.run, run()).result()
    assert commits == [["a"], ["b", "c", "d"], ["gone"]]
    assert [answers[0], answers[1], answers[3]] == ["a recorded", "b recorded", "d recorded"]
    assert isinstance(answers[2], asyncio.CancelledError)


def test_many_clients_have_each_their_record(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    contents = [path.read_bytes() for path in sorted(surfaces.good.iterdir())]

    def ask(number: int) -> dict[str, Any]:
        answer = client.post(INSPECT, content=contents[number], params={"part": str(number)})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    records = {record.part: record for record in workspace.database.inspections.recent("brushed")}
    assert len(records) == 8
    for number, answer in enumerate(answers):
        record = records[str(number)]
        assert (record.inspection_id, record.sha256) == (answer["inspection_id"], answer["sha256"])


def test_a_bank_that_went_before_the_record_is_replaced_by_its_successor(
    learned: Outcome,
    client: TestClient,
    surfaces: Surfaces,
    image: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    record = service.recording._record
    replaced: list[object] = []

    def replace_first(judged: Sequence[Judged]) -> Sequence[Inspection]:
        if not replaced:
            replaced.append(remove_category(service.workspace, "brushed"))
            paths = sorted(surfaces.train.iterdir())
            fit(service.workspace, "brushed", paths, FitSettings(ExtractorSettings(image_size=64)))
        found: Sequence[Inspection] = record(judged)
        return found

    monkeypatch.setattr(service.recording, "_record", replace_first)
    answer = client.post(INSPECT, content=image)
    assert answer.status_code == 200, answer.text
    assert answer.json()["recorded"]


def test_a_database_that_is_away_is_said_to_each(
    learned: Outcome, client: TestClient, image: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]

    def away(judged: Sequence[Judged]) -> Sequence[Inspection]:
        raise DatabaseError("the database is away")

    monkeypatch.setattr(service.recording, "_record", away)
    answer = client.post(INSPECT, content=image)
    assert answer.status_code == 503
    assert answer.json()["detail"] == "the database is away"


def test_images_of_any_size_warm_up(patchbank: Run, workspace: Workspace, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(8):
        pixels = random.integers(0, 256, (70, 130, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{number}.png")
    assert patchbank("fit", "wide", tmp_path, "--image-size", "64").code == 0
    Inspector(workspace, "wide").warm_up()
