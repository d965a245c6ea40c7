"""What a client is told to do about an error: a route where one helps, and no command."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.remedies import detail_of
from tests.fixtures.commands import Outcome

BRUSHED = "/v1/categories/brushed"


@pytest.mark.parametrize(
    ("method", "path", "body", "said"),
    [
        ("GET", "/v1/categories/none", None, "`GET /v1/categories` lists"),
        ("GET", "/v1/categories/brush", None, "did you mean 'brushed'? `GET /v1/categories` lists"),
        ("GET", f"{BRUSHED}/inspections/999", None, "`GET .../inspections` lists them"),
        ("GET", f"{BRUSHED}/inspections/999/review/effect", None, "`GET .../review` lists"),
        ("DELETE", f"{BRUSHED}/defects/999", None, "`GET .../defects` lists them"),
        ("GET", f"{BRUSHED}/search?name=none", None, "`GET .../references` lists"),
        (
            "POST",
            f"{BRUSHED}/quarantine/dismiss",
            {"pixels_sha256": ["0" * 64]},
            "`GET .../quarantine` lists",
        ),
    ],
)
def test_a_route_is_named_instead_of_a_command(
    learned: Outcome,
    client: TestClient,
    method: str,
    path: str,
    body: dict[str, object] | None,
    said: str,
) -> None:
    answer = client.request(method, path, json=body)
    detail = answer.json()["detail"].replace("/v1/categories/{category}", "...")
    assert said in detail
    assert "patchbank " not in detail


def test_a_bank_that_is_missing_or_not_calibrated(learned: Outcome, workspace: Workspace) -> None:
    details = []
    for damage in (
        "delete from calibration_score",
        "update bank set state = 'retired'",
    ):
        with workspace.database.connection() as connection:
            connection.execute(damage.encode())
        with TestClient(create_app(workspace)) as client:
            answer = client.post(f"{BRUSHED}/inspect", content=b"image")
            assert answer.status_code == 409, answer.text
            details.append(answer.json()["detail"])
    below = "/v1/categories/{category}"
    assert details == [
        "category 'brushed': its imported bank has no threshold yet; calibrate it with images of "
        f"good parts: `POST {below}/calibrate`",
        f"category 'brushed' has no bank; fit it with images of good parts: `POST {below}/fit`",
    ]


def test_what_only_an_administrator_can_do_stays_a_command() -> None:
    text = "the database is old; run `patchbank database upgrade`"
    assert detail_of(ValueError(text)) == text
