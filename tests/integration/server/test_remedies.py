"""What a client is told to do about an error: a route where one helps, and no command."""

from __future__ import annotations

import pytest
from fastapi.testclient import TestClient

from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.remedies import FLAGS, detail_of
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

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


@pytest.mark.parametrize(
    ("method", "path", "body", "detail"),
    [
        (
            "PUT",
            f"{BRUSHED}/thresholds",
            {"false_alarm_rate": 0.01, "fail_above": 3.0},
            "limits are set by rates (`false_alarm_rate`, `review_rate`, `estimate`) or by scores "
            "(`fail_above`, `pass_below`), not by both",
        ),
        (
            "POST",
            f"{BRUSHED}/search?threshold=0.9&metric=l2",
            "image",
            "threshold: applies only to cosine similarity among references; leave out `metric` and "
            "`among`",
        ),
        (
            "POST",
            "/v1/sinks",
            {"name": "mes", "target": "ftp://x"},
            "target 'ftp://x': must begin with http://, https://, mqtt:// or mqtts://, or be a "
            "file that ends in .csv",
        ),
    ],
)
def test_a_field_is_named_instead_of_a_flag(
    learned: Outcome,
    client: TestClient,
    surfaces: Surfaces,
    method: str,
    path: str,
    body: dict[str, object] | str,
    detail: str,
) -> None:
    if isinstance(body, str):
        image = sorted(surfaces.good.iterdir())[0].read_bytes()
        answer = client.request(method, path, content=image)
    else:
        answer = client.request(method, path, json=body)
    assert (answer.status_code, answer.json()["detail"]) == (422, detail)


def test_a_forced_withdrawal_can_be_asked_for_and_a_forced_fit_cannot() -> None:
    text = "2 references would remain; add others first, or --force to keep as few as two"
    assert detail_of(ValueError(text)) == text.replace("--force", "`force`")
    assert detail_of(ValueError("add 3 more, or --force: a.png")) == "add 3 more: a.png"


def test_a_confirmation_is_asked_for_in_the_words_of_the_api(
    learned: Outcome, client: TestClient, surfaces: Surfaces
) -> None:
    image = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    number = client.post(f"{BRUSHED}/inspect", content=image).json()["inspection_id"]
    refused = client.post(f"{BRUSHED}/inspections/{number}/review", json={"answer": "good"})
    assert refused.status_code == 409
    assert refused.json()["detail"].endswith(
        'look at the image again, and confirm with `"confirmed": true` that it shows a good part'
    )


def test_every_field_that_is_named_exists(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    parameters = {
        parameter["name"]
        for methods in document["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", ())
    }
    fields = {
        name
        for schema in document["components"]["schemas"].values()
        for name in schema.get("properties", ())
    }
    assert {flag.replace("-", "_") for flag in FLAGS} <= parameters | fields


def test_what_only_an_administrator_can_do_stays_a_command() -> None:
    for text in (
        "the database is old; run `patchbank database upgrade`",
        "keep them: `patchbank export brushed FILE --force`",
        "use --memory-limit 2GB or more",
    ):
        assert detail_of(ValueError(text)) == text
