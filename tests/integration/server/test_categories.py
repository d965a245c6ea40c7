"""Categories and banks through the service."""

from __future__ import annotations

import io
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from patchbank.errors import BankChangedError
from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.keeping.manage import show_category
from patchbank.inspection.learning.change_rate import ChangedRule, change_rule
from patchbank.inspection.living.bank import until_saved
from patchbank.inspection.living.history import history
from patchbank.inspection.measuring.new_limits import NewLimits
from patchbank.inspection.measuring.threshold_curve import threshold_report
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.server.models import categories as models
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

BRUSHED = "/v1/categories/brushed"


def test_a_category_is_shown_as_by_the_command(
    learned: Outcome, client: TestClient, workspace: Workspace
) -> None:
    (brief,) = client.get("/v1/categories").json()["items"]
    assert (brief["category"], brief["bank_version"]) == ("brushed", 1)
    shown = client.get(BRUSHED).json()
    expected = show_category(workspace, "brushed")
    for document in (shown, expected):
        document["learned_at"] = models.CategoryBrief.model_validate(
            {name: document[name] for name in brief}
        ).learned_at
        for entry in document["history"]:
            entry["created_at"] = None
    assert shown == expected
    versions = client.get(f"{BRUSHED}/history").json()["items"]
    assert [(entry["bank_version"], entry["cause"]) for entry in versions] == [(1, "fit")]
    curve = client.get(f"{BRUSHED}/thresholds").json()
    assert curve == threshold_report(workspace, "brushed").to_json()


def test_references_page_after_page_with_their_pictures(
    learned: Outcome, client: TestClient
) -> None:
    count = learned.document["images"]
    seen: list[dict[str, Any]] = []
    address: dict[str, Any] = {"limit": 7}
    while True:
        page = client.get(f"{BRUSHED}/references", params=address).json()
        seen += page["items"]
        if page["next"] is None:
            break
        assert len(page["items"]) == 7
        address["before"] = page["next"]
    numbers = [item["reference_id"] for item in seen]
    assert len(numbers) == count
    assert numbers == sorted(set(numbers), reverse=True)
    assert all(item["score"] > 0 for item in seen)
    answer = client.get(seen[0]["thumbnail"])
    assert answer.headers["content-type"] == "image/jpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    with Image.open(io.BytesIO(answer.content)) as opened:
        assert max(opened.size) <= 256
    by_name = client.get(f"{BRUSHED}/references/thumbnail", params={"name": seen[0]["name"]})
    assert by_name.content == answer.content
    assert "/" not in by_name.headers["content-disposition"].split("''")[1]
    for path in ("9999/thumbnail", "thumbnail?name=../../etc/passwd"):
        missing = client.get(f"{BRUSHED}/references/{path}")
        assert (missing.status_code, missing.json()["type"]) == (
            404,
            "urn:patchbank:problem:not-found",
        )


def test_limits_are_set_undone_and_activated(
    learned: Outcome, client: TestClient, workspace: Workspace
) -> None:
    before = client.get(f"{BRUSHED}/thresholds").json()
    wanted = {"pass_below": 0.9 * before["fail_above"], "fail_above": 2 * before["fail_above"]}
    changed = client.put(f"{BRUSHED}/thresholds", json=wanted).json()
    assert {name: changed[name] for name in wanted} == wanted
    assert (changed["bank_version"], changed["version_before"]) == (2, 1)
    undone = client.post(f"{BRUSHED}/undo", json={}).json()
    assert (undone["bank_version"], undone["same_as"], undone["undone"]) == (3, 1, "threshold")
    active = client.post(f"{BRUSHED}/activate", json={"version": 2}).json()
    assert (active["bank_version"], active["same_as"]) == (4, 2)
    assert client.get(f"{BRUSHED}/thresholds").json()["fail_above"] == wanted["fail_above"]
    for path, body, status, said in (
        ("thresholds", {}, 422, "give a rate or a score"),
        ("thresholds", {"fail_above": -1}, 422, "two scores above 0"),
        ("thresholds", {"fail_above": 1, "review_rate": 0.1}, 422, "not by both"),
        ("thresholds", {"failabove": 1}, 422, "failabove"),
        ("activate", {"version": 4}, 422, "active"),
        ("activate", {"version": 99}, 409, "99"),
        ("undo", {"version": 2**40}, 422, "body.version"),
    ):
        method = "PUT" if path == "thresholds" else "POST"
        answer = client.request(method, f"{BRUSHED}/{path}", json=body)
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    assert show_category(workspace, "brushed")["bank_version"] == 4


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "thresholds", {"review_rate": 0.1}),
        ("POST", "undo", {}),
        ("POST", "undo", {"version": 1}),
        ("POST", "activate", {"version": 1}),
        ("POST", "references", None),
        ("POST", "references/withdraw", {"references": [1]}),
        ("POST", "quarantine/confirm", {"pixels_sha256": ["0" * 64]}),
    ],
)
def test_a_bank_that_was_changed_meanwhile_is_left_alone(
    learned: Outcome,
    client: TestClient,
    surfaces: Surfaces,
    method: str,
    path: str,
    body: dict[str, Any] | None,
) -> None:
    assert client.put(f"{BRUSHED}/thresholds", json={"review_rate": 0.05}).status_code == 200
    history = client.get(f"{BRUSHED}/history").json()
    sent: dict[str, Any] = {"json": body}
    if body is None:
        sent = {"content": sorted(surfaces.good.iterdir())[0].read_bytes()}
    refused = client.request(method, f"{BRUSHED}/{path}", params={"expected_version": 1}, **sent)
    assert (refused.status_code, refused.json()["type"]) == (
        409,
        "urn:patchbank:problem:bank-changed",
    )
    assert "version 2 is in use now instead of version 1" in refused.json()["detail"]
    assert client.get(f"{BRUSHED}/history").json() == history


def test_the_version_that_was_seen_is_changed(
    learned: Outcome, client: TestClient, surfaces: Surfaces
) -> None:
    good, bad = sorted(surfaces.good.iterdir())[0], sorted(surfaces.scratched.iterdir())[0]
    held = client.post(f"{BRUSHED}/references", content=bad.read_bytes()).json()["held"]
    assert len(held) == 1
    (waiting,) = client.get(f"{BRUSHED}/quarantine").json()["items"]
    newest = client.get(f"{BRUSHED}/references", params={"limit": 1}).json()["items"]
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("PUT", "thresholds", {"json": {"review_rate": 0.05}}),
        ("POST", "undo", {"json": {}}),
        ("POST", "activate", {"json": {"version": 2}}),
        ("POST", "references", {"content": good.read_bytes()}),
        ("POST", "references/withdraw", {"json": {"references": [newest[0]["reference_id"]]}}),
        ("POST", "quarantine/confirm", {"json": {"pixels_sha256": [waiting["pixels_sha256"]]}}),
    ]
    for seen, (method, path, sent) in enumerate(requests, 1):
        done = client.request(
            method, f"{BRUSHED}/{path}", params={"expected_version": seen}, **sent
        )
        assert done.status_code == 200, done.text
        assert done.json()["bank_version"] == seen + 1


def test_a_change_between_the_look_and_the_save_is_noticed(
    learned: Outcome, workspace: Workspace
) -> None:
    others: list[int] = []

    def rule_of(rule: ThresholdRule, _: Calibration) -> ThresholdRule:
        if not others:
            new = NewLimits(review_rate=0.05)
            others.append(threshold_report(workspace, "brushed", new=new).bank_version)
        return rule.changed(0.1, None)

    def change() -> ChangedRule:
        return change_rule(workspace, "brushed", rule_of, cause="threshold", expected_version=1)

    with pytest.raises(BankChangedError, match="version 2 is in use now instead of version 1"):
        until_saved(change)
    assert [entry["bank_version"] for entry in history(workspace, "brushed")] == [2, 1]


def test_roles_of_the_routes_of_categories(
    learned: Outcome,
    workspace: Workspace,
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("patchbank.inspection.keeping.access._CHECK_SECONDS", 0.0)
    headers = {
        role: {"Authorization": f"Bearer {create_key(workspace, role, role).secret}"}
        for role in ("admin", "engineer", "operator")
    }

    def status(role: str, method: str, path: str = "", body: object = None) -> int:
        return client.request(method, BRUSHED + path, headers=headers[role], json=body).status_code

    assert status("operator", "GET") == 200
    assert status("operator", "PUT", "/thresholds", {"review_rate": 0.1}) == 403
    assert status("engineer", "PUT", "/thresholds", {"review_rate": 0.1}) == 200
    assert show_category(workspace, "brushed")["history"][0]["actor"] == "engineer"
    assert status("engineer", "DELETE") == 403
    assert status("admin", "DELETE") == 200
    assert status("admin", "GET") == 404
