"""Defects, searches, spots, histograms and references by how unusual they are, by the service."""

from __future__ import annotations

import numpy as np
import psycopg
import pytest
from fastapi.testclient import TestClient
from scipy.spatial.distance import cdist

from patchbank.inspection.judging.defects import add_defects
from patchbank.inspection.keeping.bank_map import MOST_PATCHES, bank_map
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

BRUSHED = "/v1/categories/brushed"


def test_defects_are_listed_shown_and_removed(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    assert client.get(f"{BRUSHED}/defects").json() == {"items": [], "next": None}
    scratched = sorted(surfaces.scratched.iterdir())[:3]
    add_defects(workspace, "brushed", scratched, label="scratch")
    first = client.get(f"{BRUSHED}/defects", params={"limit": 2}).json()
    rest = client.get(f"{BRUSHED}/defects", params={"limit": 2, "before": first["next"]}).json()
    assert rest["next"] is None
    found = [*first["items"], *rest["items"]]
    assert {item["name"] for item in found} == {str(path) for path in scratched}
    assert all(item["label"] == "scratch" and item["comparable"] for item in found)
    number = found[1]["defect_id"]
    assert client.get(f"{BRUSHED}/defects/{number}").json() == found[1]
    picture = client.get(found[1]["thumbnail"])
    assert picture.headers["content-type"] == "image/jpeg"
    by_name = client.get(f"{BRUSHED}/defects/thumbnail", params={"name": found[1]["name"]})
    assert by_name.content == picture.content
    gone = client.delete(f"{BRUSHED}/defects/{number}")
    assert gone.json() == {"names": [found[1]["name"]]}
    for answer in (
        client.get(f"{BRUSHED}/defects/{number}"),
        client.get(f"{BRUSHED}/defects/{number}/thumbnail"),
        client.delete(f"{BRUSHED}/defects/{number}"),
    ):
        assert (answer.status_code, f"no defect {number}" in answer.json()["detail"]) == (404, True)
    assert len(client.get(f"{BRUSHED}/defects").json()["items"]) == 2


def test_a_search_finds_what_looks_alike(
    learned: Outcome, client: TestClient, surfaces: Surfaces
) -> None:
    reference = sorted(surfaces.train.iterdir())[0]
    by_image = client.post(
        f"{BRUSHED}/search", content=reference.read_bytes(), params={"top": 3}
    ).json()
    assert [match["itself"] for match in by_image["similar"]] == [True, False, False]
    assert by_image["normal"] is True
    name = by_image["similar"][0]["name"]
    by_name = client.get(f"{BRUSHED}/search", params={"name": name, "top": 3}).json()
    assert [match["name"] for match in by_name["similar"]] == [
        match["name"] for match in by_image["similar"]
    ]
    sent = client.post(
        f"{BRUSHED}/search",
        files={"image": ("part.png", reference.read_bytes())},
        params={"metric": "l2", "threshold": "none", "raw": True},
    ).json()
    assert (sent["image"], sent["metric"], sent["normal"]) == ("part.png", "l2", None)
    for answer, said in (
        (client.get(f"{BRUSHED}/search", params={"name": "no.png"}), "no image or defect"),
        (client.post(f"{BRUSHED}/search", content=b"x"), "image"),
        (
            client.get(f"{BRUSHED}/search", params={"name": name, "threshold": "high"}),
            "threshold 'high'",
        ),
    ):
        assert (answer.status_code, said in answer.json()["detail"]) == (422, True), answer.text


def test_a_spot_is_compared_with_the_nearest_patch_of_the_bank(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    reference = sorted(surfaces.train.iterdir())[0]
    judged = client.post(f"{BRUSHED}/inspect", content=reference.read_bytes()).json()
    address = f"{BRUSHED}/inspections/{judged['inspection_id']}/nearest"
    # A pass, which is in memory alone. Where the bank has a patch of it, that is the nearest.
    content = workspace.database.banks.active("brushed").content
    owner = next(n for n, image in enumerate(content.images) if image.name == str(reference))
    row_of_bank = int((content.patch_image == owner).nonzero()[0][0])
    row, column = int(content.patch_row[row_of_bank]), int(content.patch_column[row_of_bank])
    rows, columns = content.extractor["grid"]
    spot = {"x": 96 * (column + 0.5) / columns, "y": 96 * (row + 0.5) / rows, "top": 2}
    found = client.get(address, params=spot).json()
    assert (found["row"], found["column"]) == (row, column)
    x0, y0, x1, y1 = found["box_xyxy"]
    assert x0 <= spot["x"] < x1
    assert y0 <= spot["y"] < y1
    first, second = found["nearest"]
    assert (first["image"], first["row"], first["column"]) == (str(reference), row, column)
    assert first["distance"] < 1e-3 < second["distance"]
    assert first["box_xyxy"] == found["box_xyxy"]
    assert client.get(first["thumbnail"]).headers["content-type"] == "image/jpeg"

    scratched = sorted(surfaces.scratched.iterdir())[0]
    failed = client.post(f"{BRUSHED}/inspect", content=scratched.read_bytes()).json()
    peak = dict(zip("xy", failed["regions"][0]["peak_xy"], strict=True))
    worst = client.get(
        f"{BRUSHED}/inspections/{failed['inspection_id']}/nearest", params=peak
    ).json()
    assert worst["nearest"][0]["distance"] > 0
    outside = client.get(address, params={"x": 96, "y": 0})
    assert (outside.status_code, "96 x 96 pixels" in outside.json()["detail"]) == (422, True)
    assert client.get(f"{BRUSHED}/inspections/9999/nearest", params=spot).status_code == 404


def test_references_are_listed_by_how_unusual_they_are(
    learned: Outcome, client: TestClient
) -> None:
    seen, before = [], None
    while True:
        after = "" if before is None else f"&before={before}"
        page = client.get(f"{BRUSHED}/references?limit=7&order=unusual{after}").json()
        seen += page["items"]
        before = page["next"]
        if before is None:
            break
    newest = client.get(f"{BRUSHED}/references", params={"limit": 1000}).json()["items"]
    assert sorted(item["reference_id"] for item in seen) == sorted(
        item["reference_id"] for item in newest
    )
    scores = [item["score"] for item in seen]
    assert scores == sorted(scores, reverse=True)
    limits = client.get(BRUSHED).json()
    for place, item in enumerate(seen, start=1):
        # The surfaces differ, so that no two have the same score.
        assert abs(item["p_value"] - place / len(seen)) < 1e-9
        assert item["outlier"] == (item["score"] > limits["pass_below"])
    assert client.get(f"{BRUSHED}/references", params={"order": "name"}).status_code == 422


def test_scores_are_counted_in_bins(
    learned: Outcome, client: TestClient, surfaces: Surfaces
) -> None:
    empty = client.get(f"{BRUSHED}/histogram", params={"bins": 10}).json()
    references = client.get(f"{BRUSHED}/references", params={"limit": 1000}).json()["items"]
    assert (len(empty["edges"]), sum(empty["references"])) == (11, len(references))
    assert empty["inspections"] == {name: [0] * 10 for name in ("pass", "review", "fail")}
    scratched = sorted(surfaces.scratched.iterdir())[0]
    failed = client.post(f"{BRUSHED}/inspect", content=scratched.read_bytes()).json()
    client.post(
        f"{BRUSHED}/inspections/{failed['inspection_id']}/review",
        json={"answer": "defect", "label": "scratch"},
    )
    one = client.get(f"{BRUSHED}/histogram", params={"bins": 10}).json()
    # The highest score of all.
    assert one["inspections"]["fail"] == one["defects"] == [0] * 9 + [1]
    assert one["edges"][0] <= one["pass_below"] <= one["fail_above"] <= one["edges"][-1]
    assert abs(one["edges"][-1] - failed["score"]) < 1e-9


def test_the_map_of_a_bank_shows_its_patches_and_how_they_are_covered(
    learned: Outcome, client: TestClient, workspace: Workspace, database_url: str
) -> None:
    found = client.get(f"{BRUSHED}/map").json()
    content = workspace.database.banks.active("brushed").content
    count = len(found["x"])
    assert count == found["patches"] == len(content.features) <= MOST_PATCHES
    names = [found["references"][slot]["name"] for slot in found["reference"]]
    assert names == [content.images[slot].name for slot in content.patch_image]
    distances = cdist(content.features, content.features)
    distances[content.patch_image[:, None] == content.patch_image] = np.inf
    assert found["distance"] == pytest.approx(distances.min(axis=1).tolist(), rel=1e-5)
    # A patch is where the search by its name says.
    number = int(np.argmax(found["distance"]))
    row, column = int(content.patch_row[number]), int(content.patch_column[number])
    x0, y0, x1, y1 = found["box_xyxy"][number]
    side = 96 / (1 + int(content.patch_row.max()))
    assert (x0 <= (column + 0.5) * side < x1, y0 <= (row + 0.5) * side < y1) == (True, True)
    assert 0 < sum(found["explained"]) <= 1
    assert client.get(found["references"][0]["thumbnail"]).headers["content-type"] == "image/jpeg"
    assert bank_map(workspace, "brushed")["x"] == found["x"]
    sampled = bank_map(workspace, "brushed", most=50)
    assert (len(sampled["x"]), sampled["patches"]) == (50, count)
    # Another version has another map.
    assert client.put(f"{BRUSHED}/thresholds", json={"fail_above": 99}).status_code == 200
    changed = client.get(f"{BRUSHED}/map").json()
    assert (changed["bank_version"], changed["fail_above"]) == (2, 99)
    # Where a patch comes from may not be known, as of banks made elsewhere.
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update patchbank.patch set image_id = null, patch_row = null, patch_column = null"
        )
    unknown = bank_map(workspace, "brushed")
    assert set(unknown["reference"]) == set(unknown["box_xyxy"]) == {None}
    distances = cdist(content.features, content.features)
    np.fill_diagonal(distances, np.inf)
    assert unknown["distance"] == pytest.approx(distances.min(axis=1).tolist(), rel=1e-5)
    assert client.get("/v1/categories/nowhere/map").status_code == 404
