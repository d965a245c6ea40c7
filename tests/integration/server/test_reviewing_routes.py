"""Reviews through the service."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi import Request
from fastapi.testclient import TestClient

from patchbank.errors import BusyError
from patchbank.inspection.judging.defects import remove_defects
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.living.review import Reviewer, review_queue
from patchbank.inspection.measuring.costs import Costs
from patchbank.inspection.measuring.judged_defects import JudgedDefects, judge_defects
from patchbank.inspection.measuring.threshold_curve import threshold_report
from patchbank.inspection.workspace import Workspace
from patchbank.server.app import create_app
from patchbank.server.disconnecting import until_gone
from tests.fixtures.commands import Outcome
from tests.fixtures.surfaces import Surfaces

BRUSHED = "/v1/categories/brushed"


@pytest.fixture
def failed(learned: Outcome, client: TestClient, surfaces: Surfaces) -> list[int]:
    """Numbers of three inspections that failed."""
    numbers = []
    for file in sorted(surfaces.scratched.iterdir())[:3]:
        answer = client.post(
            f"{BRUSHED}/inspect", content=file.read_bytes(), params={"name": file.name}
        ).json()
        assert answer["verdict"] == "fail"
        numbers.append(answer["inspection_id"])
    return numbers


def until_done(client: TestClient, number: int) -> dict[str, Any]:
    """Wait until the bank has changed by an answer, and return the answer."""
    for _ in range(300):
        (found,) = (
            item
            for item in client.get(f"{BRUSHED}/answers").json()["items"]
            if item["inspection_id"] == number
        )
        if not found["pending"]:
            return dict(found)
        time.sleep(0.1)
    pytest.fail(f"the answer to inspection {number} changed nothing within 30 s")


def waiting(client: TestClient) -> list[int]:
    queue = client.get(f"{BRUSHED}/review").json()
    assert queue["waiting"] == len(queue["items"])
    return [item["inspection_id"] for item in queue["items"]]


def test_a_false_alarm_is_taught_and_undone(
    failed: list[int], client: TestClient, workspace: Workspace, surfaces: Surfaces
) -> None:
    number = failed[0]
    assert waiting(client) == failed
    first = client.get(f"{BRUSHED}/review", params={"limit": 1}).json()
    assert (len(first["items"]), first["waiting"]) == (1, 3)
    assert client.get(f"{BRUSHED}/review", params={"since": "now"}).json()["items"] == []

    look = client.get(f"{BRUSHED}/inspections/{number}/review").json()
    assert look["inspection"] == client.get(f"{BRUSHED}/inspections/{number}").json()
    assert look["now"]["score"] == look["inspection"]["score"]
    assert look["now"]["recorded"] is False
    assert look["doubt"].startswith("fails, ")
    effect = client.get(f"{BRUSHED}/inspections/{number}/review/effect").json()
    assert effect["in_words"][0].startswith("would add 1 image with ")
    assert effect["addition"]["dry_run"] is True
    changes = effect["addition"]["effect"]["changes"]
    assert number in [change["inspection_id"] for change in changes]

    refused = client.post(f"{BRUSHED}/inspections/{number}/review", json={"answer": "good"})
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:patchbank:problem:doubt"
    assert waiting(client) == failed
    given = {"answer": "good", "confirmed": True}
    done = client.post(f"{BRUSHED}/inspections/{number}/review", json=given).json()
    assert (done["answer"], done["pending"], done["added"]) == ("good", True, None)
    assert waiting(client) == failed[1:]
    taught = until_done(client, number)
    assert (taught["bank_version"], taught["answer"]) == (2, "good")
    assert client.get(BRUSHED).json()["bank_version"] == 2
    file = sorted(surfaces.scratched.iterdir())[0]
    again = client.post(f"{BRUSHED}/inspect", content=file.read_bytes()).json()
    assert (again["verdict"], again["bank_version"]) == ("pass", 2)

    # Who answers once more is told; nothing changes.
    twice = client.post(f"{BRUSHED}/inspections/{number}/review", json={"answer": "skip"})
    assert (twice.status_code, twice.json()["type"]) == (409, "urn:patchbank:problem:answered")
    assert " answered good already" in twice.json()["detail"]
    undone = client.post(f"{BRUSHED}/review/undo", json={}).json()
    assert (undone["inspection_id"], undone["answer"]) == (number, "undone")
    assert undone["image"] == file.name
    assert waiting(client) == failed
    back = client.post(f"{BRUSHED}/inspect", content=file.read_bytes()).json()
    assert (back["verdict"], back["score"]) == ("fail", look["now"]["score"])
    assert client.get(f"{BRUSHED}/answers").json()["items"] == []
    nothing = client.post(f"{BRUSHED}/review/undo", json={"inspection_id": failed[1]})
    assert (nothing.status_code, "has no answer" in nothing.json()["detail"]) == (422, True)


def test_you_undo_your_own_last_answer(
    failed: list[int], client: TestClient, workspace: Workspace
) -> None:
    headers = {}
    for name, role in (("boss", "admin"), ("eve", "engineer"), ("anna", "engineer")):
        headers[name] = {"authorization": f"Bearer {create_key(workspace, name, role).secret}"}

    def answer(name: str, number: int, given: dict[str, Any]) -> dict[str, Any]:
        path = f"{BRUSHED}/inspections/{number}/review"
        return dict(client.post(path, json=given, headers=headers[name]).json())

    assert answer("eve", failed[0], {"answer": "good", "confirmed": True})["waiting"] == 2
    crack = {"answer": "defect", "label": "crack"}
    assert answer("boss", failed[1], crack)["waiting"] == 1
    # What eve said is carried out on nobody else's behalf, also after the boss's answer.
    client.headers.update(headers["boss"])
    assert until_done(client, failed[0])["actor"] == "eve"
    undo = f"{BRUSHED}/review/undo"
    nothing = client.post(undo, json={}, headers=headers["anna"])
    assert nothing.status_code == 422
    assert nothing.json()["detail"] == "category 'brushed' has no answer by anna to undo"
    undone = client.post(undo, json={}, headers=headers["eve"]).json()
    assert (undone["inspection_id"], undone["waiting"]) == (failed[0], 2)
    (left,) = client.get(f"{BRUSHED}/answers").json()["items"]
    assert (left["inspection_id"], left["actor"]) == (failed[1], "boss")
    assert client.post(undo, json={}, headers=headers["eve"]).status_code == 422
    # Another's answer is undone by its number.
    by_number = client.post(undo, json={"inspection_id": failed[1]}, headers=headers["eve"])
    assert by_number.json()["waiting"] == 3


def test_an_answer_says_whether_what_followed_is_still_in_use(
    failed: list[int], client: TestClient, workspace: Workspace
) -> None:
    def in_use() -> dict[int, bool]:
        items = client.get(f"{BRUSHED}/answers").json()["items"]
        return {item["inspection_id"]: item["in_use"] for item in items}

    path = f"{BRUSHED}/inspections/{{}}/review"
    client.post(path.format(failed[0]), json={"answer": "good", "confirmed": True})
    client.post(path.format(failed[1]), json={"answer": "defect", "label": "crack"})
    client.post(path.format(failed[2]), json={"answer": "skip"})
    assert until_done(client, failed[0])["bank_version"] == 2
    assert in_use() == {failed[0]: True, failed[1]: True, failed[2]: False}
    assert client.post(f"{BRUSHED}/undo", json={}).status_code == 200
    assert in_use() == {failed[0]: False, failed[1]: True, failed[2]: False}
    (defect,) = workspace.database.defects.of_category("brushed")
    remove_defects(workspace, "brushed", [defect.name])
    assert in_use() == {failed[0]: False, failed[1]: False, failed[2]: False}
    assert client.post(f"{BRUSHED}/undo", json={"version": 2}).status_code == 200
    assert in_use()[failed[0]]


def test_defects_are_labelled_and_located(
    failed: list[int],
    client: TestClient,
    workspace: Workspace,
    surfaces: Surfaces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two, three = failed
    whole = client.post(
        f"{BRUSHED}/inspections/{one}/review", json={"answer": "defect", "label": "Scratch"}
    ).json()
    assert (whole["pending"], whole["added"], whole["label"]) == (False, whole["image"], "Scratch")
    # What the bank passed, and a person saw.
    settings = workspace.settings.model_copy(update={"keep_images": "all"})
    monkeypatch.setattr(workspace, "settings", settings)
    good = sorted(surfaces.good.iterdir())[0]
    missed = Inspector(workspace, "brushed").inspect(good.read_bytes())
    assert (missed.verdict, missed.regions) == ("pass", ())
    box = client.post(
        f"{BRUSHED}/inspections/{missed.inspection_id}/review",
        json={"answer": "defect", "label": "scratch", "boxes": ["25%,50%,25%,25%"]},
    ).json()
    assert "recorded as 'Scratch'" in box["remarks"][0]
    defects = {item.name: item for item in workspace.database.defects.of_category("brushed")}
    assert defects[box["added"]].boxes == [[24, 48, 48, 72]]
    assert client.get(f"{BRUSHED}/labels").json()["items"] == ["Scratch"]
    client.post(f"{BRUSHED}/inspections/{two}/review", json={"answer": "skip"})
    assert (
        client.post(f"{BRUSHED}/inspections/{three}/review", json={"answer": "skip"}).json()[
            "pending"
        ]
        is False
    )
    assert waiting(client) == []

    # In place of an earlier answer.
    replaced = client.post(
        f"{BRUSHED}/inspections/{one}/review",
        json={"answer": "defect", "label": "dent", "replace": True},
    )
    assert replaced.json()["label"] == "dent"
    newest = client.get(f"{BRUSHED}/answers", params={"limit": 1}).json()["items"]
    assert [(item["inspection_id"], item["label"]) for item in newest] == [(one, "dent")]
    labels = {item.name: item.label for item in workspace.database.defects.of_category("brushed")}
    assert labels == {whole["added"]: "dent", box["added"]: "Scratch"}

    for number, body, status, said in (
        (one, {"answer": "defect"}, 422, "needs a label"),
        (one, {"answer": "good", "label": "dent", "confirmed": True}, 422, "only a defect"),
        (one, {"answer": "skip", "boxes": ["1,2,3,4"]}, 422, "only a defect has boxes"),
        (one, {"answer": "defect", "label": "dent", "boxes": ["1,2"]}, 422, "box '1,2'"),
        (
            one,
            {"answer": "defect", "label": "dent", "boxes": ["90,0,20,5"], "replace": True},
            422,
            "ends outside",
        ),
        (one, {"answer": "perhaps"}, 422, "body.answer"),
        (9999, {"answer": "skip"}, 404, "no inspection 9999"),
        (2**63 - 1, {"answer": "skip"}, 404, "no inspection"),
    ):
        refused = client.post(f"{BRUSHED}/inspections/{number}/review", json=body)
        assert (refused.status_code, said in refused.json()["detail"]) == (status, True), (
            refused.text
        )
    # What was refused undid nothing.
    assert client.get(f"{BRUSHED}/answers", params={"limit": 1}).json()["items"] == newest


def test_labelled_defects_show_what_each_limit_finds_and_what_mistakes_cost(
    failed: list[int],
    client: TestClient,
    workspace: Workspace,
    surfaces: Surfaces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    judged: list[str] = []

    def counting(*arguments: Any, **options: Any) -> JudgedDefects:
        judged.append("again")
        return judge_defects(*arguments, **options)

    asked = f"{BRUSHED}/thresholds"
    none = client.get(asked, params={"recorded_defects": True})
    assert (none.status_code, "none is recorded" in none.json()["detail"]) == (422, True)
    assert client.get(asked).json()["known_defects"] is None
    for number in failed[:2]:
        answer = {"answer": "defect", "label": "scratch"}
        posted = client.post(f"{BRUSHED}/inspections/{number}/review", json=answer)
        assert posted.status_code == 200, posted.text
    monkeypatch.setattr("patchbank.inspection.measuring.judged_defects.judge_defects", counting)
    costs = {"cost_miss": 500, "cost_false_alarm": 2, "defect_rate": 0.01}
    found = client.get(asked, params=costs).json()
    assert client.get(asked, params={"recorded_defects": True}).json() == {
        **found,
        "proposal": None,
    }
    assert judged == ["again"]
    known = found["known_defects"]
    # The images are those that were kept with the inspections: they score as they did.
    scores = [
        client.get(f"{BRUSHED}/inspections/{number}").json()["score"] for number in failed[:2]
    ]
    assert known["scores"] == pytest.approx(sorted(scores))
    assert known["fail_above"]["recall"]["count"] == known["pass_below"]["recall"]["count"] == 2
    assert known["fail_above"]["miss_rate"]["interval"] == known["intervals"][0]
    assert [len(pair) for pair in known["intervals"]] == [2, 2, 2]
    assert known["intervals"][1] == pytest.approx([0.01258, 0.98742], abs=1e-5)
    # The same as the command, also of an image that comes later.
    client.post(
        f"{BRUSHED}/inspections/{failed[2]}/review", json={"answer": "defect", "label": "dent"}
    )
    later = client.get(asked, params=costs).json()
    assert judged == ["again", "again"]
    assert (
        later
        == threshold_report(
            workspace, "brushed", recorded_defects=True, costs=Costs(500, 2, 0.01)
        ).to_json()
    )
    # The rate that is proposed gives the limit that is proposed.
    proposal = later["proposal"]
    limits = client.put(asked, json={"false_alarm_rate": proposal["false_alarm_rate"]}).json()
    assert limits["fail_above"] == proposal["fail_above"]
    refusals: tuple[tuple[dict[str, float], str], ...] = (
        ({"cost_miss": 5}, "needs all three"),
        ({**costs, "cost_miss": 1e300}, "less than or equal to"),
        ({**costs, "defect_rate": 1}, "less than 1"),
    )
    for wrong, said in refusals:
        refused = client.get(asked, params=wrong)
        assert (refused.status_code, said in refused.json()["detail"]) == (422, True), refused.text


def test_work_ends_when_whoever_asked_has_gone() -> None:
    async def ask(*messages: str) -> list[int]:
        left, done = list(messages), []

        async def receive() -> dict[str, Any]:
            if left:
                return {"type": left.pop(0), "body": b"", "more_body": False}
            await asyncio.sleep(60)
            raise AssertionError

        async with until_gone(Request({"type": "http"}, receive)) as progress:
            for number in range(5):
                await asyncio.sleep(0.2)
                progress("judged", number, 5)
                done.append(number)
        return done

    # Where a browser was driven before, this thread has a loop.
    with ThreadPoolExecutor(1) as thread:
        stayed = thread.submit(asyncio.run, ask("http.request"))
        assert stayed.result() == list(range(5))
        gone = thread.submit(asyncio.run, ask("http.request", "http.disconnect"))
        with pytest.raises(BusyError, match="nobody waits"):
            gone.result()


def test_what_a_stop_left_undone_is_done_after_the_next_start(
    failed: list[int], client: TestClient, workspace: Workspace
) -> None:
    reviewer = Reviewer(workspace, "brushed")
    assert reviewer.promise(review_queue(workspace, "brushed")[0]) is None
    actor = workspace.database.reviews.last("brushed")[0].actor
    with TestClient(create_app(workspace)) as next_one:
        taught = until_done(next_one, failed[0])
    assert (taught["bank_version"], taught["actor"]) == (2, actor)


def test_a_name_that_a_client_chose_is_not_taken_for_a_path(
    learned: Outcome,
    client: TestClient,
    workspace: Workspace,
    surfaces: Surfaces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = workspace.settings.model_copy(update={"keep_images": "none"})
    monkeypatch.setattr(workspace, "settings", settings)
    file = sorted(surfaces.scratched.iterdir())[0]
    judged = Inspector(workspace, "brushed").inspect(file.read_bytes(), name=str(file))
    assert not judged.image_kept
    number = judged.inspection_id
    look = client.get(f"{BRUSHED}/inspections/{number}/review").json()
    assert (look["now"], look["doubt"]) == (None, None)
    refused = client.post(f"{BRUSHED}/inspections/{number}/review", json={"answer": "good"})
    assert (refused.status_code, "was not kept" in refused.json()["detail"]) == (422, True)
    effect = client.get(f"{BRUSHED}/inspections/{number}/review/effect").json()
    assert effect == {"in_words": [], "addition": None}
