"""Answers to inspections: what they teach, and how that is undone."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

import patchbank
from patchbank.actors import acting_as
from patchbank.errors import ImageError, ParameterError
from patchbank.inspection.judging.defects import add_defects, list_defects
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.living.add import add
from patchbank.inspection.living.history import history
from patchbank.inspection.living.review import Reviewer, review_queue
from patchbank.inspection.living.review_session import ReviewSession
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.store.stored_bank import BankVersion
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


@pytest.fixture
def inspector(workspace: Workspace, surfaces: Surfaces) -> Inspector:
    """What has judged three scratched images and a good one: three fails are in the queue."""
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
    inspector = Inspector(workspace, "brushed")
    for path in (*sorted(surfaces.scratched.iterdir())[:3], sorted(surfaces.good.iterdir())[0]):
        inspector.inspect(path)
    return inspector


def references(workspace: Workspace) -> set[str]:
    content = workspace.database.banks.active("brushed", patches=False).content
    return {image.name for image in content.images}


def test_the_queue_is_what_did_not_pass_and_has_no_answer(
    workspace: Workspace, inspector: Inspector, surfaces: Surfaces
) -> None:
    scratched = [str(path) for path in sorted(surfaces.scratched.iterdir())[:3]]
    waiting = review_queue(workspace, "brushed")
    assert [item.image_name for item in waiting] == scratched
    assert [item.image_name for item in review_queue(workspace, "brushed", limit=1)] == scratched[
        :1
    ]
    assert len(review_queue(workspace, "brushed", limit=2**64)) == 3
    reviewer = Reviewer(workspace, "brushed")
    with pytest.raises(ParameterError, match="has no answer to inspection 18446744073709551616"):
        reviewer.undo(2**64)
    reviewer.answer(waiting[0], "skip")
    assert [item.image_name for item in review_queue(workspace, "brushed")] == scratched[1:]
    # Undone, it is there again; and once more.
    assert reviewer.undo().inspection_id == waiting[0].inspection_id
    assert len(review_queue(workspace, "brushed")) == 3
    reviewer.answer(waiting[0], "skip")
    assert len(review_queue(workspace, "brushed")) == 2
    with pytest.raises(ParameterError, match="limit 0: must be at least 1"):
        review_queue(workspace, "brushed", limit=0)


def test_a_false_alarm_passes_everywhere_and_fails_to_the_bit_when_undone(
    workspace: Workspace, inspector: Inspector
) -> None:
    reviewer = Reviewer(workspace, "brushed")
    waiting = review_queue(workspace, "brushed")[0]
    before = inspector.inspect(waiting.image_name)
    assert before.verdict == "fail"
    with pytest.raises(ParameterError, match=r"fails, .* times the limit; .*--yes"):
        reviewer.answer(waiting, "good")
    assert len(review_queue(workspace, "brushed")) == 4
    done = reviewer.answer(waiting, "good", confirmed=True)
    assert (done.added, done.bank_version) == (waiting.image_name, 2)
    assert "version 2:" in done.remarks[0]
    # Another inspector, which was running before, sees it.
    after = inspector.inspect(waiting.image_name)
    assert (after.verdict, after.bank_version) == ("pass", 2)
    assert after.similar[0].itself
    reviewer.undo()
    again = inspector.inspect(waiting.image_name)
    assert (again.verdict, again.score, again.fail_above) == (
        "fail",
        before.score,
        before.fail_above,
    )


def test_an_answer_is_undone_after_other_changes_too(
    workspace: Workspace, inspector: Inspector
) -> None:
    reviewer = Reviewer(workspace, "brushed")
    first, second, _ = review_queue(workspace, "brushed")
    reviewer.answer(first, "good", confirmed=True)
    reviewer.answer(second, "good", confirmed=True)
    reviewer.undo(first.inspection_id)
    assert references(workspace) & {first.image_name, second.image_name} == {second.image_name}
    assert review_queue(workspace, "brushed")[0].inspection_id == first.inspection_id
    with pytest.raises(ParameterError, match=f"no answer to inspection {first.inspection_id}"):
        reviewer.undo(first.inspection_id)


def test_an_answer_is_undone_where_its_image_made_the_bank_outgrow_its_budget(
    workspace: Workspace, inspector: Inspector
) -> None:
    first = review_queue(workspace, "brushed")[0]
    before = inspector.inspect(first.image_name)
    budget = len(workspace.database.banks.active("brushed").content.features)
    workspace.settings = workspace.settings.model_copy(update={"bank_budget": budget})
    reviewer = Reviewer(workspace, "brushed")
    done = reviewer.answer(first, "good", confirmed=True)
    assert [entry["cause"] for entry in history(workspace, "brushed")][:2] == ["reduce", "add"]
    assert done.bank_version == 3
    reviewer.undo()
    assert first.image_name not in references(workspace)
    again = inspector.inspect(first.image_name)
    assert (again.score, again.fail_above) == (before.score, before.fail_above)


def test_an_undone_answer_takes_back_nothing_that_another_did(
    workspace: Workspace,
    inspector: Inspector,
    surfaces: Surfaces,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A change that comes between reading the bank and undoing the answer stays."""
    reviewer = Reviewer(workspace, "brushed")
    first = review_queue(workspace, "brushed")[0]
    reviewer.answer(first, "good", confirmed=True)
    good = sorted(surfaces.good.iterdir())[1]
    banks = workspace.database.banks
    read = banks.history

    def read_slowly(category: str) -> list[BankVersion]:
        found = read(category)
        monkeypatch.setattr(banks, "history", read)
        add(workspace, "brushed", [good])
        return found

    monkeypatch.setattr(banks, "history", read_slowly)
    reviewer.undo()
    assert good.as_posix() in references(workspace)
    assert first.image_name not in references(workspace)


def test_a_defect_goes_into_the_book_and_out_of_it_again(
    workspace: Workspace, inspector: Inspector
) -> None:
    reviewer = Reviewer(workspace, "brushed")
    first, second, _ = review_queue(workspace, "brushed")
    with pytest.raises(ParameterError, match="a defect needs a label, for example crack"):
        reviewer.answer(first, "defect")
    with pytest.raises(ParameterError, match="leave the label out"):
        reviewer.answer(first, "skip", label="crack")
    with pytest.raises(ParameterError, match="answer 'bad': must be good, defect or skip"):
        reviewer.answer(first, "bad")
    assert reviewer.answer(first, "defect", label="scratch").added == first.image_name
    (defect,) = list_defects(workspace, "brushed")
    assert (defect.label, defect.comparable, len(defect.boxes) > 0) == ("scratch", True, True)
    (match,) = inspector.inspect(second.image_name).similar_defects
    assert (match.name, match.label) == (first.image_name, "scratch")
    # Another answer takes the place of the first, with what followed.
    reviewer.answer(first, "defect", label="dent")
    assert [item.label for item in list_defects(workspace, "brushed")] == ["dent"]
    assert workspace.database.reviews.labels("brushed") == ["dent", "scratch"]
    reviewer.undo()
    assert list_defects(workspace, "brushed") == []
    # A defect of that name that was there before stays when the answer is undone.
    add_defects(workspace, "brushed", [first.image_name], label="old")
    added = reviewer.answer(first, "defect", label="new").added
    assert added == f"{first.image_name} (inspection {first.inspection_id})"
    reviewer.undo()
    # With the same label there is nothing to record twice, and nothing to take back.
    same = reviewer.answer(first, "defect", label="Old")
    assert same.added is None
    assert same.remarks == (
        "label 'Old': recorded as 'old', as others are",
        f"the defect book has this image already, as {first.image_name}",
    )
    reviewer.undo()
    assert [item.label for item in list_defects(workspace, "brushed")] == ["old"]


def test_a_kept_image_is_enough_and_without_one_only_the_answer_is_recorded(
    workspace: Workspace,
    inspector: Inspector,
    surfaces: Surfaces,
    tmp_path: Path,
    database_url: str,
) -> None:
    path = tmp_path / "new.png"
    for source in sorted(surfaces.scratched.iterdir())[3:5]:
        path.write_bytes(source.read_bytes())
        inspector.inspect(path)
    *_, first, second = review_queue(workspace, "brushed")
    path.unlink()
    reviewer = Reviewer(workspace, "brushed")
    assert reviewer.answer(first, "good", confirmed=True).added == str(path)
    # The camera gave the next image the same name.
    again = reviewer.answer(second, "good", confirmed=True)
    assert again.added == f"{path} (2)"
    reviewer.undo()
    with psycopg.connect(database_url) as connection:
        connection.execute("delete from patchbank.inspection_image")
    with pytest.raises(
        ImageError, match="was not kept, and its file was moved, changed or deleted"
    ):
        reviewer.answer(second, "good", confirmed=True)
    done = reviewer.answer(second, "defect", label="scratch")
    assert done.added is None
    assert "has nothing to compare with" in done.remarks[0]
    assert list_defects(workspace, "brushed") == []


def test_an_interrupted_session_loses_nothing(workspace: Workspace, inspector: Inspector) -> None:
    first, second, third = review_queue(workspace, "brushed")
    reviewer = Reviewer(workspace, "brushed")
    # As if it was killed: before the change of the bank, and between it and its record.
    with acting_as("eve"):
        reviewer.promise(first)
    reviewer.promise(second)
    add(workspace, "brushed", [second.image_name], force=True)
    assert [item.inspection_id for item in review_queue(workspace, "brushed")] == [
        third.inspection_id
    ]
    done = Reviewer(workspace, "brushed").keep_promises()
    assert [report.added for report in done] == [first.image_name, second.image_name]
    assert Reviewer(workspace, "brushed").keep_promises() == []
    # It stays the answer of whoever gave it.
    (by_eve,) = workspace.database.reviews.last("brushed", actor="eve")
    assert (by_eve.inspection_id, by_eve.in_use) == (first.inspection_id, True)
    assert inspector.inspect(first.image_name).verdict == "pass"
    reviewer.undo(second.inspection_id)
    assert references(workspace) & {first.image_name, second.image_name} == {first.image_name}


def test_a_session_changes_the_bank_in_the_background(
    workspace: Workspace, inspector: Inspector
) -> None:
    first, second, third = review_queue(workspace, "brushed")
    with ReviewSession(Reviewer(workspace, "brushed")) as session:
        session.prepare(first)
        judged = session.look(first)
        assert judged is not None
        assert judged.verdict == "fail"
        foreseen = session.effect(first)
        assert foreseen is not None
        assert foreseen.foreseen()[0].startswith("would add 1 image with ")
        assert foreseen.foreseen()[1].startswith("then threshold ")
        assert "of the last 4 inspections (judged again)" in foreseen.foreseen()[2]
        assert "from fail to pass" in foreseen.foreseen()[2]
        assert foreseen.bank_version is None
        with pytest.raises(ParameterError, match="fails, "):
            session.answer(first, "good", judged=judged)
        assert session.answer(first, "good", judged=judged, confirmed=True).pending
        session.answer(second, "good", judged=judged, confirmed=True)
        session.answer(third, "defect", label="scratch")
        assert session.undo().inspection_id == third.inspection_id
        assert list_defects(workspace, "brushed") == []
        # Whether it was made already or not.
        assert session.undo().inspection_id == second.inspection_id
        assert {report.added for report in session.news(wait=True)} <= {first.image_name}
        now = session.look(first)
        assert now is not None
        assert now.verdict == "pass"
    assert [item.inspection_id for item in review_queue(workspace, "brushed")] == [
        second.inspection_id, third.inspection_id,
    ]  # fmt: skip
    assert references(workspace) & {first.image_name, second.image_name} == {first.image_name}


def test_two_people_who_review_do_not_undo_each_other(
    workspace: Workspace, inspector: Inspector
) -> None:
    first, second, third = review_queue(workspace, "brushed")
    other = Reviewer(workspace, "brushed")
    with ReviewSession(Reviewer(workspace, "brushed")) as session:
        judged = session.look(first)
        other.answer(first, "defect", label="scratch")
        for answer in ("good", "skip"):
            with pytest.raises(ParameterError, match=r"answered defect \(scratch\) meanwhile"):
                session.answer(first, answer, judged=judged, confirmed=True)
        assert [item.label for item in list_defects(workspace, "brushed")] == ["scratch"]
    # Who begins a review does what another is about to do: it is done once, and undone at once.
    other.promise(second)
    assert [report.added for report in Reviewer(workspace, "brushed").keep_promises()] == [
        second.image_name
    ]
    late = other.keep_promise(second)
    assert (late.added, late.remarks) == (second.image_name, ("another process saw to it",))
    other.undo(second.inspection_id)
    assert second.image_name not in references(workspace)
    # What another undid is not done any more.
    other.promise(third)
    Reviewer(workspace, "brushed").undo(third.inspection_id)
    assert other.keep_promise(third).remarks == ("the answer was undone",)
    assert third.image_name not in references(workspace)


def test_an_image_that_is_a_reference_or_a_recorded_defect(
    workspace: Workspace, inspector: Inspector
) -> None:
    first, second, _ = review_queue(workspace, "brushed")
    add(workspace, "brushed", [first.image_name], force=True)
    reviewer = Reviewer(workspace, "brushed")
    done = reviewer.answer(first, "good")
    assert done.added is None
    assert "is a reference of the bank already" in done.remarks[0]
    reviewer.undo()
    # It was none of the answer.
    assert first.image_name in references(workspace)
    # What is recorded as a defect is doubted although it passes.
    add(workspace, "brushed", [second.image_name], force=True)
    add_defects(workspace, "brushed", [second.image_name], label="scratch")
    judged = reviewer.look(second)
    assert judged is not None
    assert judged.verdict == "pass"
    assert reviewer.doubt(judged) == "recorded as a defect (scratch)"


def test_the_last_answer_is_the_last_given_not_the_last_carried_out(
    workspace: Workspace, inspector: Inspector
) -> None:
    first, second, _ = review_queue(workspace, "brushed")
    reviewer = Reviewer(workspace, "brushed")
    reviewer.promise(first)
    reviewer.answer(second, "skip")
    reviewer.keep_promise(first)
    assert [reviewer.undo().inspection_id for _ in range(2)] == [
        second.inspection_id, first.inspection_id,
    ]  # fmt: skip
    assert first.image_name not in references(workspace)


def test_the_python_api(
    workspace: Workspace, inspector: Inspector, graphs_home: Path, database_url: str
) -> None:
    with patchbank.open("brushed", home=graphs_home, database_url=database_url) as bank:
        first, *_ = bank.queue(since="1h")
        assert bank.review(first.inspection_id, "defect", label="scratch").label == "scratch"
        review = bank.inspections()[0].review
        assert review is not None
        assert (review["answer"], review["label"]) == ("defect", "scratch")
        assert bank.undo_review() == first.inspection_id
        assert bank.inspections()[0].review is None
        with pytest.raises(ParameterError, match="has no inspection 999"):
            bank.review(999, "skip")
