"""Adding, quarantine and withdrawal through the service."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

BRUSHED = "/v1/categories/brushed"
REFERENCES = f"{BRUSHED}/references"


def form(paths: list[Path]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", (path.name, path.read_bytes(), "image/png")) for path in paths]


@pytest.fixture
def scratched(surfaces: Surfaces) -> list[Path]:
    return sorted(surfaces.scratched.iterdir())


def test_images_are_added_and_withdrawn(
    learned: Outcome, client: TestClient, surfaces: Surfaces
) -> None:
    before = client.get(BRUSHED).json()
    good = sorted(surfaces.good.iterdir())[:2]
    named = [("image", (f"new-{path.name}", path.read_bytes(), "image/png")) for path in good]
    planned = client.post(REFERENCES, files=named, params={"dry_run": True, "effect": 10}).json()
    assert (planned["dry_run"], planned["bank_version"]) == (True, None)
    assert planned["effect"] == {"judged_again": 0, "by_score": 0, "changes": []}
    assert client.get(BRUSHED).json() == before

    added = client.post(REFERENCES, files=named).json()
    assert [image["name"] for image in added["added"]] == [f"new-{path.name}" for path in good]
    assert (added["version_before"], added["bank_version"]) == (1, 2)
    assert added["images"] == before["images"] + 2
    again = client.post(REFERENCES, content=good[0].read_bytes())
    assert again.status_code == 422
    assert "image-" in again.json()["detail"]

    newest = client.get(REFERENCES, params={"limit": 2}).json()["items"]
    assert {item["name"] for item in newest} == {f"new-{path.name}" for path in good}
    gone = client.post(
        f"{REFERENCES}/withdraw", json={"references": [item["reference_id"] for item in newest]}
    ).json()
    assert sorted(gone["withdrawn"]) == [f"new-{path.name}" for path in good]
    assert gone["bank_version"] == 3
    # To the bit, as before.
    assert gone["same_as"] == 1
    after = client.get(BRUSHED).json()
    assert after["fail_above"] == before["fail_above"]

    for body, status, said in (
        ({}, 422, "give the numbers of references"),
        ({"references": [newest[0]["reference_id"]]}, 404, "no reference with the number"),
        ({"pixels_sha256": ["0" * 64]}, 404, "no reference with the pixels 000"),
        ({"pixels_sha256": ["../../etc/passwd"]}, 422, "body.pixels_sha256.0"),
        ({"references": [2**63 - 1]}, 404, "no reference"),
    ):
        refused = client.post(f"{REFERENCES}/withdraw", json=body)
        assert (refused.status_code, said in refused.json()["detail"]) == (status, True), (
            refused.text
        )
    everything = client.get(REFERENCES, params={"limit": 1000}).json()["items"]
    few = client.post(
        f"{REFERENCES}/withdraw",
        json={"references": [item["reference_id"] for item in everything[4:]]},
    )
    assert (few.status_code, "would remain" in few.json()["detail"]) == (422, True)


def test_what_fails_is_held_until_a_person_decides(
    learned: Outcome, client: TestClient, workspace: Workspace, scratched: list[Path]
) -> None:
    held = client.post(REFERENCES, files=form(scratched[:3])).json()
    assert (held["bank_version"], held["added"]) == (None, [])
    assert [image["name"] for image in held["held"]] == [path.name for path in scratched[:3]]
    listed = client.get(f"{BRUSHED}/quarantine").json()["items"]
    assert [item["name"] for item in listed] == [path.name for path in scratched[:3]]
    assert listed[0]["reason"].startswith("fails, ")
    picture = client.get(listed[0]["picture"])
    assert picture.headers["content-type"] == "image/jpeg"
    one, two, three = (item["pixels_sha256"] for item in listed)

    confirmed = client.post(f"{BRUSHED}/quarantine/confirm", json={"pixels_sha256": [one]}).json()
    (added,) = confirmed["added"]
    assert (added["name"], confirmed["bank_version"]) == (scratched[0].name, 2)
    assert added["confirmed"].startswith("fails, ")
    dismissed = client.post(f"{BRUSHED}/quarantine/dismiss", json={"pixels_sha256": [two]}).json()
    assert dismissed == {"names": [scratched[1].name]}
    left = client.get(f"{BRUSHED}/quarantine").json()["items"]
    assert [item["pixels_sha256"] for item in left] == [three]
    for action in ("confirm", "dismiss"):
        refused = client.post(f"{BRUSHED}/quarantine/{action}", json={"pixels_sha256": [one]})
        assert (refused.status_code, "holds no image" in refused.json()["detail"]) == (404, True)
        nothing = client.post(f"{BRUSHED}/quarantine/{action}", json={"pixels_sha256": []})
        assert nothing.status_code == 422
    assert client.get(f"{BRUSHED}/quarantine/{two}/picture").status_code == 404

    forced = client.post(
        REFERENCES,
        content=scratched[3].read_bytes(),
        params={"name": "../../forced.png", "force": True},
    ).json()
    assert [image["name"] for image in forced["added"]] == ["../../forced.png"]
    withdrawn = client.post(
        f"{REFERENCES}/withdraw",
        json={"pixels_sha256": [workspace_pixels(workspace, "../../forced.png")]},
    ).json()
    assert withdrawn["withdrawn"] == ["../../forced.png"]


def workspace_pixels(workspace: Workspace, name: str) -> str | None:
    images = workspace.database.banks.active("brushed", patches=False).content.images
    return next(image.pixels_sha256 for image in images if image.name == name)


def test_what_cannot_be_added_is_refused(
    learned: Outcome, client: TestClient, scratched: list[Path]
) -> None:
    content = scratched[0].read_bytes()
    for sent, status, said in (
        ({"content": b""}, 422, "the image is empty"),
        ({"content": b"no image"}, 422, "image-"),
        ({"files": {"other": ("1.png", content)}}, 422, "no file in the field `image`"),
        ({"files": form(scratched[:1] * 2)}, 422, "used twice"),
        ({"files": form(scratched[:1] * 101)}, 422, "at most 100 at once"),
        ({"files": form(scratched[:2]), "params": {"name": "1.png"}}, 422, "name: several images"),
    ):
        refused = client.post(REFERENCES, **sent)
        assert (refused.status_code, said in refused.json()["detail"]) == (status, True), (
            refused.text
        )
    assert client.get(f"{BRUSHED}/quarantine").json() == {"items": []}
    assert client.get(BRUSHED).json()["bank_version"] == 1
