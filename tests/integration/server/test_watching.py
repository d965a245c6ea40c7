"""Drift, the event log and keys through the service."""

from __future__ import annotations

import itertools

import psycopg
from fastapi.testclient import TestClient

from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

BRUSHED = "/v1/categories/brushed"


def test_drift_is_told(learned: Outcome, client: TestClient, surfaces: Surfaces) -> None:
    nothing = client.get(f"{BRUSHED}/drift").json()
    assert (nothing["changed"], nothing["inspections"]) == (False, 0)
    assert nothing["verdict"].startswith("no inspections are recorded")
    for file in sorted(surfaces.scratched.iterdir())[:3]:
        client.post(f"{BRUSHED}/inspect", content=file.read_bytes(), params={"station": "a"})
    found = client.get(f"{BRUSHED}/drift", params={"station": "a", "suggested": True}).json()
    assert (found["inspections"], found["station"]) == (3, "a")
    # All of them failed: none is proposed.
    assert found["suggested"] == {"images": [], "looked_at": 0, "command": ""}
    assert client.get(f"{BRUSHED}/drift", params={"station": "b"}).json()["inspections"] == 0
    for params in ({"days": 0}, {"base": "x"}, {"images_per_false_alarm": "nan"}, {"days": "inf"}):
        assert client.get(f"{BRUSHED}/drift", params=params).status_code == 422, params
    assert client.get("/v1/categories/brush/drift").status_code == 404


def test_the_event_log_is_listed_and_verified(
    learned: Outcome, client: TestClient, database_url: str
) -> None:
    for limit in (4.0, 5.0):
        client.put(f"{BRUSHED}/thresholds", json={"fail_above": limit})
    first = client.get(f"{BRUSHED}/audit", params={"limit": 2}).json()
    rest = client.get(f"{BRUSHED}/audit", params={"before": first["next"]}).json()
    events = [*first["items"], *rest["items"]]
    assert [event["position"] for event in events] == list(range(len(events), 0, -1))
    assert rest["next"] is None
    for newer, older in itertools.pairwise(events):
        assert newer["previous_hash"] == older["hash"]
    verified = client.get(f"{BRUSHED}/audit/verify", params={"expect": events[1]["hash"]}).json()
    assert verified["passed"] is True
    assert verified["logs"][0]["head"] == events[0]["hash"]
    assert client.get("/v1/audit/verify").json()["logs"] == verified["logs"]
    missing = client.get("/v1/audit/verify", params={"expect": "0" * 64}).json()
    assert (missing["passed"], missing["missing"]) == (False, "0" * 64)
    refused = client.get("/v1/audit/verify", params={"expect": "no hash"})
    assert (refused.status_code, "is not a hash" in refused.json()["detail"]) == (422, True)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("alter table patchbank.event disable trigger all")
        connection.execute("update patchbank.event set actor = 'nobody' where position = 2")
    changed = client.get(f"{BRUSHED}/audit/verify").json()
    assert changed["passed"] is False
    assert "event 2" in changed["logs"][0]["problem"]


def test_the_log_of_a_removed_category_is_listed(learned: Outcome, client: TestClient) -> None:
    assert client.delete(BRUSHED).status_code == 200
    assert client.get(f"{BRUSHED}/audit").status_code == 404
    (log,) = client.get("/v1/audit").json()["items"]
    assert (log["category"], log["removed"]) == ("brushed", True)
    newest = client.get(f"/v1/audit/{log['category_id']}", params={"limit": 1}).json()
    (event,) = newest["items"]
    assert (event["kind"], event["category"], event["position"]) == ("remove", "brushed", 2)
    rest = client.get(f"/v1/audit/{log['category_id']}", params={"before": newest["next"]}).json()
    assert ([event["kind"] for event in rest["items"]], rest["next"]) == (["fit"], None)
    missing = client.get("/v1/audit/999")
    assert (missing.status_code, missing.json()["detail"]) == (
        404,
        "there is no log of changes with the number 999",
    )


def test_keys_are_made_used_and_revoked(
    learned: Outcome, client: TestClient, workspace: Workspace
) -> None:
    assert client.get("/v1/keys").json() == {"items": []}
    first = client.post("/v1/keys", json={"name": "camera", "role": "operator"})
    assert (first.status_code, "the role admin first" in first.json()["detail"]) == (422, True)
    admin = client.post("/v1/keys", json={"name": "boss", "role": "admin"}).json()
    # From now on a key is needed; whether one is, is looked up once a second.
    headers = {"Authorization": f"Bearer {admin['secret']}"}
    camera = client.post(
        "/v1/keys", json={"name": "camera/3 <b>", "role": "operator"}, headers=headers
    ).json()
    as_camera = {"Authorization": f"Bearer {camera['secret']}"}
    assert client.get(BRUSHED, headers=as_camera).status_code == 200
    for path in ("/v1/keys", "/v1/keys/uses", "/v1/audit/verify", f"{BRUSHED}/audit"):
        refused = client.get(path, headers=as_camera)
        assert (refused.status_code, "this needs the role" in refused.json()["detail"]) == (
            403,
            True,
        ), path
    listed = client.get("/v1/keys", headers=headers)
    assert [key["name"] for key in listed.json()["items"]] == ["boss", "camera/3 <b>"]
    assert camera["secret"] not in listed.text
    number = listed.json()["items"][1]["key_id"]
    revoked = client.post(f"/v1/keys/{number}/revoke", headers=headers).json()
    assert (revoked["name"], revoked["revoked_by"]) == ("camera/3 <b>", "boss")
    twice = client.post(f"/v1/keys/{number}/revoke", headers=headers)
    assert (twice.status_code, "no valid key" in twice.json()["detail"]) == (404, True)
    taken = client.post("/v1/keys", json={"name": "boss", "role": "admin"}, headers=headers)
    assert (taken.status_code, "a valid key has it" in taken.json()["detail"]) == (422, True)
    assert (
        client.post("/v1/keys", json={"name": "x", "role": "owner"}, headers=headers).status_code
        == 422
    )
    # Uses are written once a second; the end of the service writes them too.
    service = client.app.state.service  # type: ignore[attr-defined]
    service.keyring._write()
    uses = client.get("/v1/keys/uses", params={"name": "camera/3 <b>"}, headers=headers).json()
    outcomes = {(use["action"], use["outcome"]) for use in uses["items"]}
    assert ("GET /v1/keys", "role") in outcomes
    assert ("GET /v1/categories/{category}", "allowed") in outcomes
    assert create_key(workspace, "camera/3 <b>", "operator").role == "operator"
