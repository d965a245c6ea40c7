"""Whether the service can judge, as load balancers and monitors ask."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fastapi.testclient import TestClient

from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.networks import write_network
from tests.fixtures.surfaces import Surfaces

DAMAGED = "What is stored of a bank is incomplete, or holds values that it cannot have"


@pytest.fixture
def quick_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try what cannot judge again whenever somebody asks."""
    monkeypatch.setattr("patchbank.server.warming._AGAIN_SECONDS", 0.0)


def warmed(client: TestClient) -> tuple[int, dict[str, Any]]:
    """Return the answer when all banks were tried."""
    deadline = time.monotonic() + 60
    while (answer := client.get("/health/ready")).json()["warming"]:
        assert answer.status_code == 503
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer.status_code, answer.json()


def test_a_service_without_categories_is_ready(client: TestClient) -> None:
    status, ready = warmed(client)
    assert (status, ready["status"]) == (200, "ready")
    assert (ready["banks"], ready["cannot_judge"]) == ({}, {})


def test_banks_that_cannot_judge_are_named_and_tried_again(
    learned: Outcome,
    patchbank: Run,
    surfaces: Surfaces,
    database_url: str,
    workspace: Workspace,
    quick_tries: None,
    backbones_folder: Path,
    tmp_path: Path,
) -> None:
    network = write_network(tmp_path / "small.onnx")
    added = patchbank("backbone", "add", "small", "--onnx", network, "--outputs", "b")
    assert added.code == 0, added.err
    small = ("--backbone", "small", "--image-size", "64")
    fitted = patchbank("fit", "small", surfaces.train, *small)
    assert fitted.code == 0, fitted.err
    put_away = tmp_path / "put away"
    shutil.move(backbones_folder, put_away)

    image = min(surfaces.good.iterdir()).read_bytes()
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        status, ready = warmed(client)
        assert (status, ready["status"]) == (200, "ready"), "another bank judges"
        assert ready["banks"] == {"brushed": 1}
        assert ready["cannot_judge"] == {"small": "The backbone is unknown"}
        assert "\npatchbank_banks_unusable 1.0\n" in client.get("/metrics").text

        # Requests find out as well.
        assert client.post("/v1/categories/small/inspect", content=image).status_code == 422

    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update patchbank.bank set embedding_mean = '[1,2]' where category_id = "
            "(select category_id from patchbank.category where name = 'brushed')"
        )
    with TestClient(create_app(workspace), raise_server_exceptions=False) as client:
        status, ready = warmed(client)
        assert (status, ready["status"]) == (503, "not ready")
        assert ready["banks"] == {}
        assert ready["cannot_judge"] == {"brushed": DAMAGED, "small": "The backbone is unknown"}

        # What is repaired is found without a request.
        again = patchbank("fit", "brushed", surfaces.train, "--image-size", "96")
        assert again.code == 0, again.err
        shutil.move(put_away, backbones_folder)
        deadline = time.monotonic() + 60
        while (answer := client.get("/health/ready")).json()["cannot_judge"]:
            assert time.monotonic() < deadline, answer.text
            time.sleep(0.05)
        assert answer.status_code == 200
        assert answer.json()["banks"] == {"brushed": 2, "small": 1}
