"""A service that is killed under load: what was answered is recorded, the rest can come again."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import httpx

from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Outcome
from tests.fixtures.service import running
from tests.fixtures.surfaces import Surfaces

INSPECT = "/v1/categories/brushed/inspect"
ROUNDS, CLIENTS = 2, 4


def test_each_image_is_recorded_once_although_the_service_is_killed(
    learned: Outcome, workspace: Workspace, database_url: str, graphs_home: Path, surfaces: Surfaces
) -> None:
    contents = [path.read_bytes() for path in sorted(surfaces.good.iterdir())]
    answered: dict[str, int] = {}
    without_key: list[int] = []
    # Those whose answer was lost: who sent them cannot know whether they were recorded.
    unknown: dict[str, bytes] = {}

    def post(client: httpx.Client, content: bytes, key: str | None) -> int | None:
        headers = {} if key is None else {"Idempotency-Key": key}
        try:
            answer = client.post(INSPECT, content=content, headers=headers)
        except httpx.TransportError:
            return None
        assert answer.status_code == 200, answer.text
        number: int = answer.json()["inspection_id"]
        return number

    def work(url: str, name: str) -> None:
        with httpx.Client(base_url=url, timeout=60) as client:
            for count in range(10_000):
                content = contents[count % len(contents)]
                key = f"{name} {count}" if count % 2 else None
                number = post(client, content, key)
                if key is None and number is not None:
                    without_key.append(number)
                elif key is not None and number is not None:
                    answered[key] = number
                elif key is not None:
                    unknown[key] = content
                if number is None:
                    return

    chance = random.Random(0)
    for turn in range(ROUNDS):
        with running(graphs_home, database_url) as service:
            clients = [
                threading.Thread(target=work, args=(service.url, f"{turn} {number}"))
                for number in range(CLIENTS)
            ]
            for each in clients:
                each.start()
            enough = len(answered) + len(without_key) + chance.randint(5, 20)
            end = time.monotonic() + 60
            while len(answered) + len(without_key) < enough and time.monotonic() < end:
                time.sleep(0.01)
            service.process.kill()
            for each in clients:
                each.join(60)
    assert without_key
    assert answered
    with running(graphs_home, database_url) as service, service.client() as client:
        for key, content in unknown.items():
            number = post(client, content, key)
            assert number is not None
            answered[key] = number
    with workspace.database.connection() as connection:
        recorded = {row[0] for row in connection.execute("select inspection_id from inspection")}
    assert {*answered.values(), *without_key} <= recorded
    assert len({*answered.values()}) == len(answered)
    # What is there besides was sent without a key, and its answer was lost.
    assert len(recorded) - len(answered) - len(without_key) <= ROUNDS * CLIENTS
