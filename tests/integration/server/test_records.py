"""Recorded inspections through the service."""

from __future__ import annotations

import csv
import io
from datetime import datetime

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from patchbank.actors import current_actor
from patchbank.inspection.judging.defects import add_defects
from patchbank.inspection.keeping.inspections import make_selection, open_inspections
from patchbank.inspection.living.likeness import use_likeness
from patchbank.inspection.measuring.new_limits import NewLimits
from patchbank.inspection.measuring.threshold_curve import threshold_report
from patchbank.inspection.workspace import Workspace
from patchbank.server.models.inspecting import InspectionAnswer
from patchbank.server.models.records import Extractor, Recorded
from patchbank.store.versions import Retention
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

BRUSHED = "/v1/categories/brushed"


def test_inspections_are_listed_shown_drawn_and_written(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    files = [*sorted(surfaces.train.iterdir())[:3], *sorted(surfaces.scratched.iterdir())[:2]]
    answers = []
    for number, file in enumerate(files):
        answer = client.post(
            f"{BRUSHED}/inspect",
            content=file.read_bytes(),
            params={"name": f"cam/{file.name}", "part": str(number), "top": 2},
        )
        answers.append(answer.json())
        InspectionAnswer.model_validate(answers[-1])
    numbers = [answer["inspection_id"] for answer in answers]

    seen, before = [], None
    while True:
        params = {"limit": 2} if before is None else {"limit": 2, "before": before}
        page = client.get(f"{BRUSHED}/inspections", params=params).json()
        seen += page["items"]
        before = page["next"]
        if before is None:
            break
    assert [item["inspection_id"] for item in seen] == numbers[::-1]
    failed = client.get(f"{BRUSHED}/inspections", params={"verdict": "fail"}).json()["items"]
    assert [item["inspection_id"] for item in failed] == numbers[:2:-1]
    (found,) = client.get(f"{BRUSHED}/inspections", params={"part": "1"}).json()["items"]
    assert found["inspection_id"] == numbers[1]
    waiting = client.get(f"{BRUSHED}/inspections", params={"reviewed": "false"}).json()["items"]
    assert waiting == failed

    last = client.get(answers[-1]["urls"]["inspection"]).json()
    Recorded.model_validate(last)
    assert last == failed[0]
    assert last["urls"] == answers[-1]["urls"]
    kept = client.get(last["urls"]["image"])
    assert kept.content == files[-1].read_bytes()
    assert kept.headers["content-type"] == "image/png"
    assert kept.headers["content-disposition"] == f"inline; filename*=UTF-8''{files[-1].name}"
    # By the version that judged, also after another took its place.
    limit = 3 * last["fail_above"]
    assert client.put(f"{BRUSHED}/thresholds", json={"fail_above": limit}).status_code == 200
    drawn = client.get(last["urls"]["heatmap"])
    assert drawn.headers["content-type"] == "image/png"
    with Image.open(io.BytesIO(drawn.content)) as opened:
        assert opened.width > opened.height > 96
    assert client.get(last["urls"]["similar"][0]).headers["content-type"] == "image/jpeg"

    # Of a pass, no image is kept.
    passed = client.get(f"{BRUSHED}/inspections/{numbers[0]}").json()
    assert (passed["verdict"], passed["image_kept"], passed["urls"]["heatmap"]) == (
        "pass",
        False,
        None,
    )
    for path in ("image", "heatmap"):
        missing = client.get(f"{BRUSHED}/inspections/{numbers[0]}/{path}")
        assert missing.status_code == 404
        assert "PATCHBANK_KEEP_IMAGES" in missing.json()["detail"]

    text = client.get(f"{BRUSHED}/inspections.csv")
    assert text.headers["content-type"] == "text/csv; charset=utf-8"
    with open_inspections(workspace, "brushed", make_selection()) as expected:
        written = io.StringIO()
        expected.write_csv(written)
    assert text.text == written.getvalue()
    assert [row["inspection_id"] for row in csv.DictReader(io.StringIO(text.text))] == [
        str(number) for number in numbers
    ]

    for path, status, said in (
        ("inspections?verdict=good", 422, "query.verdict"),
        ("inspections?since=soon", 422, "not a date"),
        ("inspections?before=9999", 404, "no inspection 9999"),
        ("inspections?reviewed=false&verdict=pass", 422, "waits for no review"),
        ("inspections/9999", 404, "no inspection 9999"),
        (f"inspections/{2**64}", 422, "path.inspection_id"),
        ("inspections.csv?until=never", 422, "not a date"),
    ):
        refused = client.get(f"{BRUSHED}/{path}")
        assert (refused.status_code, said in refused.json()["detail"]) == (status, True), (
            refused.text
        )
    assert client.get("/v1/categories/brush/inspections.csv").status_code == 404


def test_a_record_has_all_that_was_answered(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    workspace.settings = workspace.settings.model_copy(update={"max_kept_image_megabytes": 0.0001})
    scratched = sorted(surfaces.scratched.iterdir())
    add_defects(workspace, "brushed", scratched[:6], label="scratch")
    use_likeness(workspace, "brushed")
    content, files = scratched[6].read_bytes(), [*scratched, *surfaces.good.iterdir()]
    images = [("image", (file.name, file.read_bytes())) for file in files]
    answers = [
        client.post(f"{BRUSHED}/inspect", content=content).json(),
        client.post(
            f"{BRUSHED}/inspect", content=content, headers={"Idempotency-Key": "7f2c"}
        ).json(),
        *client.post(f"{BRUSHED}/inspect:batch", files=images).json()["items"],
    ]
    records = [client.get(answer["urls"]["inspection"]).json() for answer in answers]
    extractor = client.get(BRUSHED).json()["extractor"]
    for answer, record in zip(answers, records, strict=True):
        # The file of a heatmap is where a command wrote it, and the words are made of the figures.
        assert answer.keys() - record.keys() == {"heatmap", "recorded", "in_words"}
        assert record.keys() - answer.keys() == {"extractor", "review"}
        Extractor.model_validate(record["extractor"])
        words = record["extractor"].pop("in_words")
        assert words == "efficientnet-lite0, layers blocks.4, blocks.10; 96 pixels; f32"
        assert record["extractor"] == {name: extractor[name] for name in record["extractor"]}
        moments = [datetime.fromisoformat(each.pop("inspected_at")) for each in (answer, record)]
        assert moments[0] == moments[1]
        # How long recording took is not known before it is done.
        assert answer.pop("timings_ms").items() >= record.pop("timings_ms").items()
        for name in ("brightness", "sharpness"):
            assert record.pop(name) == pytest.approx(answer.pop(name), rel=1e-6)
        assert record == {**record, **{name: answer[name] for name in answer.keys() & record}}
    first, passed = records[0], records[-1]
    assert first["remarks"] == [
        "images of more than 0.0001 MB are not kept; raise PATCHBANK_MAX_KEPT_IMAGE_MEGABYTES"
    ]
    assert first["likeness"]["label"] == "scratch"
    assert "scratch" in {(each["probable_defect"] or {}).get("label") for each in records}
    assert len(first["similar_defects"]) == 6
    assert (first["width"], first["calibration_images"], first["actor"]) == (
        96,
        24,
        current_actor(),
    )
    assert (passed["verdict"], passed["remarks"], passed["similar_defects"]) == ("pass", [], [])


def test_what_a_pruned_version_judged_cannot_be_drawn_again(
    learned: Outcome, client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    content = sorted(surfaces.scratched.iterdir())[0].read_bytes()
    judged = client.post(f"{BRUSHED}/inspect", content=content).json()
    with Workspace(home=workspace.home, database_url=workspace.database_url) as other:
        # Asked for by the first use of the banks.
        other.database.retention = Retention(versions=2, days=0)
        for factor in (2, 3, 4):
            limits = NewLimits(fail_above=factor * judged["fail_above"])
            threshold_report(other, "brushed", new=limits)
    assert client.get(f"{BRUSHED}/history").json()["items"][-1]["state"] == "pruned"
    # Until then the version is still in memory.
    client.post(f"{BRUSHED}/inspect", content=content)
    spot = f"{judged['urls']['inspection']}/nearest?x=1&y=1"
    for address in (judged["urls"]["heatmap"], spot):
        refused = client.get(address)
        assert refused.status_code == 409, refused.text
        assert refused.json()["type"] == "urn:patchbank:problem:bank-gone"
        assert "bank version 1 of category 'brushed' was pruned" in refused.json()["detail"]
    # What was recorded is still told, and what is in memory shown.
    told = client.get(judged["urls"]["inspection"]).json()
    assert told["bank_version"] == 1
    assert told["extractor_fingerprint"] == judged["extractor_fingerprint"]
    assert told["extractor"]["backbone"] == "efficientnet-lite0"
    assert client.get(judged["urls"]["map"]).status_code == 200
