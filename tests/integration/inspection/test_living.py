"""Images added to a bank and withdrawn from it, beside an inspector that goes on judging."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial.distance import cdist

from patchbank.api import open_bank
from patchbank.errors import BankGoneError, BankReplacedError, NoImagesError, ParameterError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.living.add import AddReport, add
from patchbank.inspection.living.history import history
from patchbank.inspection.living.undo import undo
from patchbank.inspection.living.withdraw import withdraw
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.store.bank_content import BankContent
from patchbank.store.stored_bank import BankVersion, StoredBank
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


class Seen(NamedTuple):
    """What an inspection says, without times."""

    score: float
    p_value: float
    verdict: str
    fail_above: float
    similar: tuple[str, ...]


def seen(inspection: Inspection) -> Seen:
    return Seen(
        inspection.score,
        inspection.p_value,
        inspection.verdict,
        inspection.thresholds.fail_above,
        tuple(match.image for match in inspection.similar),
    )


@pytest.fixture
def learned_bank(workspace: Workspace, surfaces: Surfaces) -> Workspace:
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
    return workspace


def test_an_added_image_passes_and_undo_gives_the_former_verdict_to_the_bit(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    scratched, good = sorted(surfaces.scratched.iterdir()), sorted(surfaces.good.iterdir())
    live = Inspector(learned_bank, "brushed")
    images = [*scratched[:4], *good[:4]]
    before = [seen(live.inspect(image)) for image in images]
    assert before[0].verdict == "fail"

    held = add(learned_bank, "brushed", [scratched[0]])
    assert [image.name for image in held.held] == [scratched[0].as_posix()]
    assert held.bank_version is None
    assert live.inspect(scratched[0]).bank_version == 1

    report = add(learned_bank, "brushed", [scratched[0]], force=True)
    assert (report.bank_version, report.version_before) == (2, 1)
    (added,) = report.added
    assert (added.verdict, added.score) == ("fail", before[0].score)
    assert added.patches > 0
    now = live.inspect(scratched[0])
    assert (now.bank_version, now.verdict) == (2, "pass")
    assert now.similar[0].image == scratched[0].as_posix()
    assert now.similar[0].itself

    undone = undo(learned_bank, "brushed")
    assert (undone.bank_version, undone.same_as, undone.undone) == (3, 1, "add")
    assert [seen(live.inspect(image)) for image in images] == before


def test_only_what_the_bank_does_not_represent_comes_into_it(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    scratched = sorted(surfaces.scratched.iterdir())
    banks = learned_bank.database.banks
    before = banks.active("brushed").content
    report = add(learned_bank, "brushed", scratched[:2], force=True)
    after = banks.active("brushed").content
    rows = after.features[len(before.features) :]
    assert len(rows) == sum(image.patches for image in report.added) < 2 * 64
    assert (after.features[: len(before.features)] == before.features).all()
    # Whole images are within the radius now, and no row came that was within it before.
    extractor = learned_bank.extractor(SETTINGS.extractor)
    index, old = NeighbourIndex(after.features), NeighbourIndex(before.features)
    for number, path in enumerate(scratched[:2]):
        patches = extractor.extract_one(path).inspected_patches
        assert index.nearest(patches).distances.max() <= before.covering_radius
        own = after.patch_image[len(before.features) :] == len(before.images) + number
        assert old.nearest(rows[own]).distances.min() > before.covering_radius
        grid = after.patch_row[len(before.features) :], after.patch_column[len(before.features) :]
        places = grid[0][own].astype(int) * 8 + grid[1][own]
        assert (patches[places] == rows[own]).all()


def test_withdrawing_what_was_added_gives_the_former_scores_to_the_bit(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    scratched, good = sorted(surfaces.scratched.iterdir()), sorted(surfaces.good.iterdir())
    live = Inspector(learned_bank, "brushed")
    images = [*scratched[:4], *good[:4]]
    before = [seen(live.inspect(image)) for image in images]
    add(learned_bank, "brushed", scratched[:3], force=True)
    add(learned_bank, "brushed", good[:2])
    withdraw(learned_bank, "brushed", [str(scratched[1])])
    withdraw(learned_bank, "brushed", [str(scratched[0]), str(scratched[2])])
    report = withdraw(learned_bank, "brushed", [path.as_posix() for path in good[:2]])
    assert (report.same_as, report.restored_patches) == (1, 0)
    assert [seen(live.inspect(image)) for image in images] == before


def test_withdrawing_restores_the_cover_of_the_other_references(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    banks = learned_bank.database.banks
    before = banks.active("brushed").content
    withdrawn = [image.name for image in before.images[:6]]
    report = withdraw(learned_bank, "brushed", withdrawn)
    after = banks.active("brushed").content
    assert report.removed_patches == np.count_nonzero(before.patch_image < 6)
    assert report.restored_patches > 0
    assert not {image.name for image in after.images} & set(withdrawn)
    assert (after.patch_image >= 0).all()
    extractor = learned_bank.extractor(SETTINGS.extractor)
    index = NeighbourIndex(after.features)
    for image in after.images:
        assert image.origin is not None
        patches = extractor.extract_one(Path(image.origin)).inspected_patches
        farthest = index.nearest(patches).distances.max()
        assert farthest <= before.covering_radius * 1.001
    # A fit of the same images gives nearly the same scores.
    fit(learned_bank, "fresh", [Path(str(image.origin)) for image in after.images], SETTINGS)
    for path in [*sorted(surfaces.good.iterdir())[:5], *sorted(surfaces.scratched.iterdir())[:5]]:
        ours = Inspector(learned_bank, "brushed").inspect(path).score
        fresh = Inspector(learned_bank, "fresh").inspect(path).score
        assert ours == pytest.approx(fresh, rel=0.15)


def test_scores_after_a_change_are_those_of_images_left_out(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    good = sorted(surfaces.good.iterdir())
    banks = learned_bank.database.banks
    before = banks.active("brushed").content.scores
    report = add(learned_bank, "brushed", good[:3])
    after = banks.active("brushed").content
    assert len(after.scores) == len(before) + 3
    # New images have the score that the bank without them gave, but for holes that are filled.
    for image, score in zip(report.added, after.scores.score[-3:], strict=True):
        assert score <= image.score * 1.001
        assert score > 0
    stayed = after.scores.score[:-3]
    assert np.count_nonzero(stayed != before.score) == report.renewed_scores - 3
    extractor = learned_bank.extractor(SETTINGS.extractor)
    patches = [
        extractor.extract_one(Path(str(image.origin))).inspected_patches for image in after.images
    ]
    for slot in (0, 1, len(patches) - 1):
        assert after.scores.score[slot] == pytest.approx(_left_out(after, patches, slot), rel=2e-3)


def _left_out(bank: BankContent, patches: Sequence[NDArray[np.float32]], slot: int) -> float:
    """Return an image's score by the bank without it and with its holes filled, naively."""

    def distances(queries: NDArray[np.float32], rows: NDArray[np.float32]) -> NDArray[np.float64]:
        return cdist(queries.astype(np.float64), rows.astype(np.float64))

    rest = bank.features[bank.patch_image != slot]
    others = np.concatenate([rows for number, rows in enumerate(patches) if number != slot])
    lost = bank.patch_image[distances(others, bank.features).argmin(axis=1)] == slot
    candidates = others[lost]
    while True:
        minima = distances(candidates, rest).min(axis=1)
        if not len(candidates) or minima.max() <= bank.covering_radius:
            break
        rest = np.concatenate([rest, candidates[[minima.argmax()]]])
    nearest = np.sort(distances(patches[slot], rest).min(axis=1))
    return float(nearest[-max(1, min(8, round(len(nearest) / 100))) :].mean())


def test_what_is_remembered_between_changes_changes_no_score(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    train, good = sorted(surfaces.train.iterdir()), sorted(surfaces.good.iterdir())
    scratched = sorted(surfaces.scratched.iterdir())
    fit(learned_bank, "anew", train, SETTINGS)

    def change(category: str, step: int) -> None:
        if step == 2:
            undo(learned_bank, category)
        elif step % 2:
            withdraw(learned_bank, category, [str(train[step]), str(train[step + 7])])
        else:
            add(learned_bank, category, [good[step], scratched[step]], force=True)

    banks = learned_bank.database.banks
    for step in range(6):
        change("brushed", step)
        with learned_bank.database.connection() as connection:
            connection.execute(
                "delete from reference_neighbours where category_id = %s",
                [banks.active_key("anew").category_id],
            )
        change("anew", step)
        ours, anew = banks.active("brushed").content, banks.active("anew").content
        assert (ours.features == anew.features).all()
        assert (ours.scores.score == anew.scores.score).all()
        assert (ours.scores.map_maximum == anew.scores.map_maximum).all()
    with learned_bank.database.connection() as connection:
        row = connection.execute("select count(*) from reference_neighbours").fetchone()
    assert row == (2,)


def test_a_reference_without_its_file_is_known_by_its_kept_features(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    folder = tmp_path / "train"
    shutil.copytree(surfaces.train, folder)
    fit(workspace, "brushed", sorted(folder.iterdir()), SETTINGS)
    names = sorted(path.as_posix() for path in folder.iterdir())
    shutil.rmtree(folder)
    report = withdraw(workspace, "brushed", names[:4])
    assert report.restored_patches > 0
    assert report.unchecked_scores == 0
    assert [remark.partition(" are too few ")[0] for remark in report.remarks] == [
        "20 reference images"
    ]
    # Without features too, the images go, and a remark says what could not be done.
    with workspace.database.connection() as connection:
        connection.execute("delete from reference_features")
    report = withdraw(workspace, "brushed", names[4:6])
    assert report.restored_patches == 0
    assert report.unchecked_scores == len(names) - 6
    assert "could not be checked" in report.remarks[0]


def test_features_that_were_not_kept_are_computed_from_the_files(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    names = [image.name for image in learned_bank.database.banks.active("brushed").content.images]
    with learned_bank.database.connection() as connection:
        connection.execute("delete from reference_features")
    report = withdraw(learned_bank, "brushed", names[:3])
    assert report.restored_patches > 0
    assert report.unchecked_scores == 0
    with learned_bank.database.connection() as connection:
        row = connection.execute("select count(*) from reference_features").fetchone()
    assert row == (len(names) - 3,)


def test_undo_goes_back_step_by_step_and_can_be_undone(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    good = sorted(surfaces.good.iterdir())
    add(learned_bank, "brushed", [good[0]])
    add(learned_bank, "brushed", [good[1]])
    assert undo(learned_bank, "brushed").same_as == 2
    assert undo(learned_bank, "brushed").same_as == 1
    with pytest.raises(ParameterError, match="nothing to undo; version 1 is the first"):
        undo(learned_bank, "brushed")
    # Back to what was undone, and another step from there.
    assert undo(learned_bank, "brushed", 3).bank_version == 6
    assert len(learned_bank.database.banks.active("brushed").content.images) == 26
    add(learned_bank, "brushed", [good[2]])
    assert undo(learned_bank, "brushed").same_as == 3
    with pytest.raises(BankGoneError, match="has no bank version 40"):
        undo(learned_bank, "brushed", 40)
    entries = {entry["bank_version"]: entry for entry in history(learned_bank, "brushed")}
    assert [entries[version]["cause"] for version in range(1, 9)] == [
        "fit", "add", "add", "undo", "undo", "undo", "add", "undo",
    ]  # fmt: skip
    assert entries[2]["added"] == [good[0].as_posix()]
    assert entries[4]["withdrawn"] == [good[1].as_posix()]
    assert entries[6]["added"] == [good[0].as_posix(), good[1].as_posix()]
    assert entries[1]["actor"]


def test_an_undo_takes_back_no_change_that_nobody_saw(
    learned_bank: Workspace, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = sorted(surfaces.good.iterdir())[:2]
    add(learned_bank, "brushed", [first])
    banks = learned_bank.database.banks
    read = banks.history

    def read_slowly(category: str) -> list[BankVersion]:
        found = read(category)
        monkeypatch.setattr(banks, "history", read)
        add(learned_bank, "brushed", [second])
        return found

    monkeypatch.setattr(banks, "history", read_slowly)
    with pytest.raises(BankReplacedError, match="nothing was changed, try again"):
        undo(learned_bank, "brushed")
    names = {image.name for image in banks.active("brushed").content.images}
    assert {first.as_posix(), second.as_posix()} <= names


def test_repeats_are_refused_and_names_stay_unique(
    learned_bank: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    good = sorted(surfaces.good.iterdir())
    add(learned_bank, "brushed", [good[0]], names=["a.png"])
    with pytest.raises(NoImagesError, match=r"again\.png: already a reference of this bank"):
        add(learned_bank, "brushed", [good[0]], names=["again.png"])
    withdraw(learned_bank, "brushed", ["a.png"])
    # Its record stays, since an undo may need it.
    other = add(learned_bank, "brushed", [good[1]], names=["a.png"])
    assert [image.name for image in other.added] == ["a.png (2)"]
    back = add(learned_bank, "brushed", [good[0]], names=["a.png"])
    assert [image.name for image in back.added] == ["a.png"]


def test_nothing_given_and_versions_that_are_no_numbers_are_refused(
    learned: Outcome, database_url: str, graphs_home: Path
) -> None:
    with open_bank("brushed", home=graphs_home, database_url=database_url) as bank:
        for change in (bank.add, bank.withdraw, bank.fit):
            with pytest.raises(NoImagesError, match="image"):
                change([])
        for version in ("1", 1.5, True):
            for go_back in (bank.undo, bank.activate):
                with pytest.raises(ParameterError, match="must be a whole number"):
                    go_back(version)  # type: ignore[arg-type]
        assert len(bank.history()) == 1
        assert len(bank.withdraw(Path("000.png")).withdrawn) == 1


def test_the_last_images_stay(learned_bank: Workspace) -> None:
    names = [image.name for image in learned_bank.database.banks.active("brushed").content.images]
    with pytest.raises(NoImagesError, match="4 references would remain, and at least 5 are"):
        withdraw(learned_bank, "brushed", names[4:])
    with pytest.raises(NoImagesError, match="1 reference would remain, and at least 2 are"):
        withdraw(learned_bank, "brushed", names[1:], force=True)
    with pytest.raises(ParameterError, match="no image has this name"):
        withdraw(learned_bank, "brushed", ["nobody.png"])
    # Another number is another image; another letter may be meant.
    with pytest.raises(ParameterError, match="no image has this name; use the path that it was"):
        withdraw(learned_bank, "brushed", [names[0].replace("000", "999")])
    with pytest.raises(ParameterError, match=r"did you mean '.*000\.png'"):
        withdraw(learned_bank, "brushed", [names[0].replace(".png", ".jpg")])
    assert withdraw(learned_bank, "brushed", names[2:], force=True).images == 2


def test_regions_and_tiles_are_kept_to(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    settings = make_fit_settings(scale=1, tile=96, overlap=16, ignore_box="0%,0%,30%,100%")
    fit(workspace, "tiled", sorted(surfaces.train.iterdir())[:8], settings)
    stored = workspace.database.banks.active("tiled")
    scratched = sorted(surfaces.scratched.iterdir())
    live = Inspector(workspace, "tiled")
    before = live.inspect(scratched[0])
    report = add(workspace, "tiled", scratched[:2], force=True)
    assert isinstance(report, AddReport)
    content = workspace.database.banks.active("tiled").content
    image = content.images[-1]
    extractor = live._bank.ready.extractor.settings
    inspected = extractor.inspected_of(image.width, image.height)
    assert inspected is not None
    came = slice(stored.patch_count, None)
    assert inspected[content.patch_row[came], content.patch_column[came]].all()
    assert live.inspect(scratched[0]).score < before.score
    withdraw(workspace, "tiled", [str(path) for path in scratched[:2]])
    assert live.inspect(scratched[0]).score == before.score
    # In tiles, an image of another size shows the part at another scale.
    Image.open(scratched[2]).resize((192, 192)).save(tmp_path / "large.png")
    large = add(workspace, "tiled", [tmp_path / "large.png"], force=True, dry_run=True)
    assert "1 of 1 image has a size, such as 192 x 192, unlike every reference" in large.remarks[0]


def test_a_bank_that_outgrows_its_budget_gets_its_patches_chosen_anew(
    learned_bank: Workspace, surfaces: Surfaces
) -> None:
    good, scratched = sorted(surfaces.good.iterdir()), sorted(surfaces.scratched.iterdir())
    banks = learned_bank.database.banks
    live = Inspector(learned_bank, "brushed")
    before = seen(live.inspect(good[5]))
    fitted = len(banks.active("brushed").content.features)
    came = [good[0], *scratched[:3]]
    planned = add(learned_bank, "brushed", came, force=True, budget=fitted, dry_run=True)
    assert planned.chosen_anew is not None
    assert planned.chosen_anew <= fitted < planned.bank_size
    assert f"exceed its budget: {planned.chosen_anew:,} would be" in planned.foreseen()[-1]
    report = add(learned_bank, "brushed", came, force=True, budget=fitted, effect=5)
    assert report.bank_version == 3
    assert report.bank_size == report.chosen_anew == planned.chosen_anew
    assert "more than its budget" in report.remarks[-1]
    assert "the effect shown is that of the addition before" in report.remarks[-1]
    content = banks.active("brushed").content
    assert len(content.features) == report.bank_size
    # Every patch of every reference is represented.
    extractor, index = learned_bank.extractor(SETTINGS.extractor), NeighbourIndex(content.features)
    patches = [
        extractor.extract_one(Path(str(image.origin))).inspected_patches for image in content.images
    ]
    for slot, rows in enumerate(patches):
        assert index.nearest(rows).distances.max() <= content.covering_radius * 1.001
        own = content.patch_image == slot
        places = content.patch_row[own].astype(int) * 8 + content.patch_column[own]
        assert content.features[own] == pytest.approx(rows[places], rel=1e-3, abs=1e-3)
    # A running inspector takes it over, and the scores are those of images left out.
    assert live.inspect(good[0]).bank_version == 3
    for slot in (0, 5):
        expected = _left_out(content, patches, slot)
        assert content.scores.score[slot] == pytest.approx(expected, rel=5e-3)
    assert [entry["cause"] for entry in history(learned_bank, "brushed")][:2] == ["reduce", "add"]
    undo(learned_bank, "brushed", 1)
    assert seen(live.inspect(good[5])) == before


def test_the_commands_say_what_they_did(
    workspace: Workspace, surfaces: Surfaces, patchbank: Run, tmp_path: Path
) -> None:
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), SETTINGS)
    scratched, good = sorted(surfaces.scratched.iterdir()), sorted(surfaces.good.iterdir())
    named = patchbank("add", "brushed", scratched[0])
    assert named.code == 2
    assert "of a data set (scratch); give its good images" in named.complaint
    held = patchbank("add", "brushed", shutil.copy(scratched[0], tmp_path / "0.png"))
    assert held.code == 1
    assert "0.png: fails, score" in held.err
    assert "version 1, unchanged" in held.out
    added = patchbank("add", "brushed", good[0], good[1], "--json").document
    assert (added["bank_version"], len(added["added"])) == (2, 2)
    shown = patchbank("history", "brushed").out.splitlines()
    assert "add by " in shown[0]
    assert good[0].as_posix() in shown[0]
    gone = patchbank("withdraw", "brushed", good[0], "--json").document
    assert gone["withdrawn"] == [good[0].as_posix()]
    text = patchbank("undo", "brushed").out
    assert "withdraw undone, version 4 is active, the same as version 2" in text
    assert patchbank("undo", "brushed", "1", "--json").document["same_as"] == 1
    few = patchbank("withdraw", "brushed", "nobody.png")
    assert few.code == 2
    assert few.complaint == (
        "withdraw from brushed: 'nobody.png': no image has this name; use the path that it was "
        "fitted or added with"
    )
    known = patchbank("add", "brushed", sorted(surfaces.train.iterdir())[0])
    assert known.complaint.startswith("category 'brushed': /")
    assert known.complaint.endswith("000.png: already a reference of this bank; left out")


def test_times_are_local_for_people(
    learned_bank: Workspace, patchbank: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        (entry,) = patchbank("history", "brushed", "--json").documents
        local = datetime.fromisoformat(entry["created_at"]) + timedelta(hours=9)
        shown = f"{local:%Y-%m-%d %H:%M:%S}"
        assert shown in patchbank("history", "brushed").out
        assert patchbank("show", "brushed").out.count(shown) == 2
        assert shown in patchbank("categories").out
    finally:
        monkeypatch.undo()
        time.tzset()


def test_a_change_that_weakens_the_promise_says_so(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    rate = make_fit_settings(image_size=64, false_alarm_rate=0.05)
    train = sorted(surfaces.train.iterdir())[:21]
    fit(workspace, "brushed", train, rate)
    enough = withdraw(workspace, "brushed", [train[0].as_posix()])
    assert enough.remarks == ()
    few = withdraw(workspace, "brushed", [path.as_posix() for path in train[1:5]])
    assert few.remarks == (
        "16 reference images are too few for a false-alarm rate of 5 %: expect up to 5.88 %; "
        "add 3 more good images",
    )
    more = add(workspace, "brushed", [train[1]])
    assert more.remarks == ()
    # Noise taught as good moves the limit so far that a person should look.
    noise = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "0.png")
    moved = add(workspace, "brushed", [tmp_path / "0.png"], force=True)
    assert any(remark.startswith("the threshold changes from") for remark in moved.remarks)


def test_an_addition_reads_the_patches_of_the_bank_once(
    learned_bank: Workspace, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading them takes much of the time in which a correction takes effect."""
    banks, read = learned_bank.database.banks, []
    active = banks.active

    def counted(category: str, *, patches: bool = True, thumbnails: bool = False) -> StoredBank:
        read.append(patches)
        return active(category, patches=patches, thumbnails=thumbnails)

    monkeypatch.setattr(banks, "active", counted)
    add(learned_bank, "brushed", sorted(surfaces.good.iterdir())[:1])
    assert read.count(True) == 1
