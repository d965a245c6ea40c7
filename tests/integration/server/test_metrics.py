"""What Prometheus reads: counted where it happens, and bounded."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.workspace import Workspace
from patchbank.line.sinks.configured import SinkOptions, add_sink
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

INSPECT = "/v1/categories/brushed/inspect"


def read(client: TestClient) -> dict[tuple[str, ...], float]:
    """Return the samples by name and labels' values."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_inspections_times_banks_and_errors_are_counted(
    learned: Outcome, client: TestClient, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.app.state.service.warming.join()  # type: ignore[attr-defined]
    good = sorted(surfaces.train.iterdir())[0].read_bytes()
    bad = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    answers = [client.post(INSPECT, content=content).json() for content in (good, good, bad)]
    client.post(f"{INSPECT}:batch", files={"image": good})
    client.post(INSPECT, content=bad, headers={"Idempotency-Key": "1"})
    client.post(INSPECT, content=bad, headers={"Idempotency-Key": "1"})
    client.post(INSPECT, content=b"no image")
    client.get("/no/such/page")
    pool = client.app.state.service.pool  # type: ignore[attr-defined]
    with monkeypatch.context() as busy:
        busy.setattr(pool, "_most", 0)
        assert client.post(INSPECT, content=good).status_code == 503

    found = read(client)
    passed, failed = answers[0]["verdict"], answers[2]["verdict"]
    assert passed != failed
    assert found["patchbank_inspections_total", "brushed", passed] == 3
    assert found["patchbank_inspections_total", "brushed", failed] == 2
    assert found["patchbank_score_of_limit_count", "brushed"] == 5
    shares = [answer["score"] / answer["fail_above"] for answer in answers]
    total = 2 * shares[0] + shares[1] + 2 * shares[2]
    assert found["patchbank_score_of_limit_sum", "brushed"] == pytest.approx(total)
    stages = {*answers[0]["timings_ms"]}
    for stage in stages:
        assert found["patchbank_stage_seconds_count", stage] == 5
    route = "/v1/categories/{category}/inspect"
    assert found["patchbank_answers_total", "POST", route, "200"] == 5
    assert found["patchbank_answers_total", "POST", route, "422"] == 1
    assert found["patchbank_answers_total", "POST", route, "503"] == 1
    assert found["patchbank_answers_total", "other", "other", "404"] == 1
    assert found["patchbank_images_refused_total",] == 1
    assert found["patchbank_images_taken",] == 0
    assert found["patchbank_images_room",] >= 16
    assert found["patchbank_jobs",] == 0
    assert found["patchbank_bank_version", "brushed"] == 1
    assert found["patchbank_bank_references", "brushed"] == learned.document["images"]
    assert found["patchbank_bank_patches", "brushed"] == learned.document["bank_size"]
    age = time.time() - found["patchbank_bank_created_timestamp_seconds", "brushed"]
    assert 0 < age < 3600
    assert found["process_resident_memory_bytes",] > 1e7


def test_drift_is_looked_for_beside_the_answer(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    inspector = Inspector(workspace, "brushed")
    for path in [*sorted(surfaces.good.iterdir())] * 6 + [
        *sorted(surfaces.scratched.iterdir())
    ] * 10:
        inspector.inspect(path)
    client.app.state.service.warming.join()  # type: ignore[attr-defined]
    end = time.monotonic() + 60
    while ("patchbank_drift_changes", "brushed") not in (found := read(client)):
        assert time.monotonic() < end
        time.sleep(0.1)
    assert found["patchbank_drift_changes", "brushed"] >= 1


def test_labels_do_not_grow_without_bound(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    metrics = client.app.state.service.metrics  # type: ignore[attr-defined]
    inspection = Inspector(workspace, "brushed").inspect(sorted(surfaces.train.iterdir())[0])
    for number in range(150):
        metrics.inspected(replace(inspection, category=f"category {number}"))
        client.get(f"/v1/categories/{number}")
        client.get(f"/other/{number}")
    found = read(client)
    name = "patchbank_inspections_total"
    counted = {key[1]: value for key, value in found.items() if key[0] == name}
    assert len(counted) == 101
    assert counted["(others)"] == 150 - len(counted) + 1
    routes = {key[2] for key in found if key[0] == "patchbank_answers_total"}
    assert routes <= {"/v1/categories/{category}", "other", "/metrics"}


def test_metrics_need_a_key_where_there_are_keys(client: TestClient, workspace: Workspace) -> None:
    create_key(workspace, "boss", "admin")
    secret = create_key(workspace, "prometheus", "operator").secret
    assert client.get("/metrics").status_code == 401
    answer = client.get("/metrics", headers={"Authorization": f"Bearer {secret}"})
    assert answer.status_code == 200


def test_sinks_that_are_behind_are_shown(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    add_sink(workspace, "mes", "http://127.0.0.1:9/", SinkOptions())
    client.post(INSPECT, content=sorted(surfaces.train.iterdir())[0].read_bytes())
    deadline = time.monotonic() + 30
    while not (found := read(client)).get(("patchbank_sink_failures", "mes")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert found["patchbank_sink_waiting", "mes"] == 1
