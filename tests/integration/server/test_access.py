"""Who may use the service, and what is refused at its door."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from patchbank.errors import LastAdminError, ParameterError
from patchbank.inspection.keeping.access import (
    Keyring,
    create_key,
    key_uses,
    list_keys,
    revoke_key,
)
from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.service import ServiceOptions
from tests.fixtures.commands import Outcome, Run, finish, start
from tests.fixtures.surfaces import Surfaces

INSPECT = "/v1/categories/brushed/inspect"


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


@pytest.fixture
def image(surfaces: Surfaces) -> bytes:
    return sorted(surfaces.train.iterdir())[0].read_bytes()


@pytest.fixture
def quick_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Check a key against the database at each use."""
    monkeypatch.setattr("patchbank.inspection.keeping.access._CHECK_SECONDS", 0.0)


def test_a_key_is_needed_from_the_first_on_and_refused_when_revoked(
    learned: Outcome, quick_checks: None, workspace: Workspace, client: TestClient, image: bytes
) -> None:
    assert client.post(INSPECT, content=image).status_code == 200
    create_key(workspace, "boss", "admin")
    key = create_key(workspace, "camera 3", "operator")
    refused = client.post(INSPECT, content=image)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"] == "Bearer"
    assert "a key is needed" in refused.json()["detail"]
    assert client.post(INSPECT, content=image, headers=bearer("pbk_x")).status_code == 401
    assert client.post(INSPECT, content=image, headers=bearer(key.secret)).status_code == 200
    revoke_key(workspace, "camera 3")
    refused = client.post(INSPECT, content=image, headers=bearer(key.secret))
    assert refused.status_code == 401
    assert refused.json()["detail"] == "the key 'camera 3' was revoked; ask for another"


def test_each_use_is_recorded_also_what_was_refused(
    learned: Outcome, quick_checks: None, workspace: Workspace, image: bytes
) -> None:
    create_key(workspace, "boss", "admin")
    key = create_key(workspace, "camera", "operator")
    with TestClient(create_app(workspace)) as client:
        for headers in (bearer(key.secret), bearer(key.secret), {}, bearer("pbk_guess")):
            client.post(INSPECT, content=image, headers=headers)
    action = "POST /v1/categories/{category}/inspect"
    assert sorted(
        (use.name, use.address, use.action, use.outcome, use.times) for use in key_uses(workspace)
    ) == [
        ("", "testclient", action, "no valid key", 2),
        ("camera", "testclient", action, "allowed", 2),
    ]
    assert [use.name for use in key_uses(workspace, "camera")] == ["camera"]


def test_an_inspection_says_whose_key_sent_it(
    learned: Outcome, workspace: Workspace, client: TestClient, image: bytes
) -> None:
    create_key(workspace, "boss", "admin")
    headers = [bearer(create_key(workspace, name, "operator").secret) for name in ("east", "west")]
    for number in range(6):
        who = headers[number % 2]
        if number < 2:
            answer = client.post(INSPECT, content=image, headers=who)
        elif number < 4:
            answer = client.post(INSPECT, content=image, headers={**who, "Idempotency-Key": "1"})
        else:
            files = [("image", (f"{each}.png", image)) for each in range(3)]
            answer = client.post(f"{INSPECT}:batch", files=files, headers=who)
        assert answer.status_code == 200, answer.text
    actors = [each.actor for each in reversed(workspace.database.inspections.recent("brushed"))]
    assert actors == ["east", "west"] * 2 + ["east"] * 3 + ["west"] * 3


def test_who_tries_keys_from_many_addresses_does_not_fill_the_record(
    learned: Outcome, workspace: Workspace
) -> None:
    create_key(workspace, "boss", "admin")
    keyring = Keyring(workspace)
    for number in range(5_000):
        keyring.count(None, f"2001:db8::{number:x}", "POST /login", "no valid key")
    keyring.close()
    uses = key_uses(workspace, limit=10_000)
    # The hour may change meanwhile.
    assert 101 <= len(uses) <= 202
    assert sum(use.times for use in uses) == 5_000
    assert max(uses, key=lambda use: use.times).address == "others"


def test_keys_by_command(patchbank: Run) -> None:
    first = patchbank("keys", "create", "anna", "--role", "engineer")
    assert (first.code, "the role admin first" in first.complaint) == (2, True)
    assert patchbank("keys", "list", "--json").documents == []
    assert patchbank("keys", "create", "boss", "--role", "admin").code == 0
    made = patchbank("keys", "create", "anna", "--role", "engineer", "--json").document
    assert made["secret"].startswith("pbk_")
    taken = patchbank("keys", "create", "anna", "--role", "admin")
    assert taken.code == 2
    assert "a valid key has it" in taken.complaint
    assert "role 'boss'" in patchbank("keys", "create", "ben", "--role", "boss").complaint
    listed, _ = patchbank("keys", "list", "--json").documents
    assert (listed["name"], listed["role"], listed["revoked_at"]) == ("anna", "engineer", None)
    assert made["secret"] not in patchbank("keys", "list").out
    assert patchbank("keys", "revoke", "anna").code == 0
    assert "no valid key has this name" in patchbank("keys", "revoke", "anna").complaint
    # The name is free again.
    assert patchbank("keys", "create", "anna", "--role", "admin").code == 0
    assert len(patchbank("keys", "list", "--json").documents) == 3
    assert patchbank("keys", "uses").code == 0


def test_the_last_key_of_an_admin_goes_last(
    quick_checks: None, workspace: Workspace, client: TestClient, patchbank: Run
) -> None:
    boss = create_key(workspace, "boss", "admin")
    create_key(workspace, "camera", "operator")
    numbers = {key.name: key.key_id for key in list_keys(workspace)}
    headers = bearer(boss.secret)
    refused = client.post(f"/v1/keys/{numbers['boss']}/revoke", headers=headers)
    assert (refused.status_code, refused.json()["type"]) == (
        409,
        "urn:patchbank:problem:last-admin",
    )
    assert "make another admin's key first, or revoke all others first" in refused.json()["detail"]
    by_command = patchbank("keys", "revoke", "boss")
    assert (by_command.code, by_command.complaint) == (2, refused.json()["detail"])
    assert client.get("/v1/keys", headers=headers).status_code == 200
    # With another admin's, it goes; and the last of all goes as well.
    create_key(workspace, "deputy", "admin")
    assert client.post(f"/v1/keys/{numbers['boss']}/revoke", headers=headers).status_code == 200
    with pytest.raises(LastAdminError):
        revoke_key(workspace, "deputy")
    revoke_key(workspace, "camera")
    revoke_key(workspace, "deputy")
    assert all(key.revoked_at is not None for key in list_keys(workspace))


@pytest.mark.parametrize("second", ["revoke", "create"])
def test_the_last_two_keys_of_admins_are_not_revoked_at_once(
    workspace: Workspace, second: str
) -> None:
    create_key(workspace, "boss", "admin")
    if second == "revoke":
        create_key(workspace, "deputy", "admin")
        create_key(workspace, "camera", "operator")
    with ThreadPoolExecutor(1) as others:
        with workspace.database.connection() as first:
            first.execute("update access_key set revoked_at = now() where name = 'boss'")
            begun = (
                others.submit(revoke_key, workspace, "deputy")
                if second == "revoke"
                else others.submit(create_key, workspace, "camera", "operator")
            )
            with pytest.raises(TimeoutError):
                begun.result(0.5)
        with pytest.raises(ParameterError, match="admin"):
            begun.result(10)


def test_other_machines_need_keys(graphs_home: Path, database_url: str) -> None:
    outcome = finish(
        start("serve", "--host", "0.0.0.0", "--port", "0", home=graphs_home, url=database_url)
    )
    assert outcome.code == 2
    assert outcome.complaint.startswith("host 0.0.0.0: others can reach this address")


def test_a_taken_port_is_said_in_one_line(
    learned: Outcome, running_service: object, graphs_home: Path, database_url: str
) -> None:
    port = running_service.url.rsplit(":")[-1]  # type: ignore[attr-defined]
    outcome = finish(start("serve", "--port", port, home=graphs_home, url=database_url))
    assert outcome.code == 2
    assert outcome.complaint.startswith(f"host 127.0.0.1, port {port}: address already in use")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://testserver:81"},
        {"Origin": "null"},
        {"Origin": "http://[x"},
    ],
)
def test_pages_of_other_sites_are_refused(
    learned: Outcome, client: TestClient, image: bytes, headers: dict[str, str]
) -> None:
    answer = client.post(INSPECT, content=image, headers=headers)
    assert answer.status_code == 403
    assert "pages of other sites" in answer.json()["detail"]
    own = {"Origin": "http://testserver", "Sec-Fetch-Site": "same-origin"}
    assert client.post(INSPECT, content=image, headers=own).status_code == 200


def test_names_that_lead_here_are_refused(workspace: Workspace) -> None:
    with TestClient(create_app(workspace, ServiceOptions(hosts=("localhost",)))) as client:
        assert client.get("/health/live", headers={"Host": "localhost:8420"}).status_code == 200
        answer = client.get("/health/live", headers={"Host": "evil.example"})
        assert answer.status_code == 403
        assert "the service is not called 'evil.example'" in answer.json()["detail"]
        assert "key may not" not in answer.json()["title"]
        assert client.get("/health/live", headers={"Host": "[::"}).status_code == 403


def test_head_and_other_methods(learned: Outcome, client: TestClient) -> None:
    seen, head = client.get("/v1/categories"), client.head("/v1/categories")
    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == seen.headers["content-length"]
    assert client.head("/v1/categories/none").status_code == 404
    # A stream without an end.
    assert client.head("/v1/categories/brushed/events").status_code == 200
    refused = client.patch("/v1/categories/brushed")
    assert refused.status_code == 405
    assert refused.headers["allow"] == "DELETE, GET, HEAD"
    assert "the address takes DELETE, GET, HEAD" in refused.json()["detail"]
    assert client.post("/login/none").status_code in (404, 405)


def test_large_bodies_are_refused_before_they_are_read(
    learned: Outcome, client: TestClient
) -> None:
    read = []

    def endless() -> Iterator[bytes]:
        for number in range(1_000):
            read.append(number)
            yield bytes(1_000_000)

    answer = client.post(INSPECT, content=endless())
    assert answer.status_code == 413
    assert "at most 64 MB are taken (PATCHBANK_SERVE_MEGABYTES)" in answer.json()["detail"]
    answer = client.post(INSPECT, content=b"x", headers={"Content-Length": "65000001"})
    assert answer.status_code == 413
