"""What `evaluate` and `demo` make of broken data, interrupts and folders that cannot be written."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.fixtures.commands import Run, finish, start
from tests.fixtures.surfaces import Surfaces

SMALL = ("--image-size", "96")


@pytest.fixture
def root(surfaces: Surfaces, tmp_path: Path) -> Path:
    """Return a data set whose first category, `[b]x[`, is sound."""
    shutil.copytree(surfaces.root / "brushed", tmp_path / "set" / "[b]x[")
    return tmp_path / "set"


def add_broken(root: Path, name: str = "broken") -> None:
    """Add a category whose train images are texts."""
    shutil.copytree(root / "[b]x[", root / name)
    for file in (root / name / "train" / "good").iterdir():
        file.write_text("no picture")


def test_a_broken_category_costs_no_other(patchbank: Run, root: Path) -> None:
    add_broken(root, "a-broken")
    add_broken(root, "z-broken")
    outcome = patchbank("evaluate", root, *SMALL, "--json")
    assert outcome.code == 2
    by_name = {document["category"]: document for document in outcome.documents}
    assert set(by_name) == {"a-broken", "[b]x[", "z-broken", "average"}
    assert outcome.documents[-1] == by_name["average"]
    for name in ("a-broken", "z-broken"):
        assert by_name[name].keys() == {"category", "error"}
        assert f"patchbank: {name}: {by_name[name]['error']}" in outcome.err.splitlines()
    assert by_name["average"]["categories"] == 1
    assert by_name["average"]["image_auroc"] == by_name["[b]x["]["image_auroc"] == 1.0


def test_labelled_defects_count_in_no_figure(patchbank: Run, root: Path) -> None:
    without = patchbank("evaluate", root, *SMALL, "--json").documents[0]
    three = ("--labelled-defects", "3", "--seed", "1", "--json")
    outcome = patchbank("evaluate", root, *SMALL, *three)
    assert outcome.code == 0
    found, again = outcome.documents[0], patchbank("evaluate", root, *SMALL, *three).documents[0]
    assert found["test_anomalous"] == without["test_anomalous"] - 3
    assert found["test_good"] == without["test_good"]
    assert without["labelled_defects"] is None
    labelled = found["labelled_defects"]
    assert (labelled["images"], labelled["seed"]) == (3, 1)
    assert labelled["image_auroc_without"] == 1.0
    assert any(remark.startswith("3 labelled defects drawn") for remark in found["remarks"])
    for name in ("image_auroc", "recall", "fail_above", "labelled_defects"):
        assert again[name] == found[name]


def test_labelled_defects_are_learned_where_references_depend_on_one_another(
    patchbank: Run, root: Path
) -> None:
    train = root / "[b]x[" / "train" / "good"
    random = np.random.default_rng(3)
    for path in sorted(train.iterdir()):
        pixels = np.asarray(Image.open(path)) + random.integers(-2, 3, (96, 96, 1))
        again = np.clip(pixels, 0, 255).astype(np.uint8)
        Image.fromarray(again).save(path.with_stem(f"{path.stem}_again"))
    five = ("--labelled-defects", "5", "--json")
    found = patchbank("evaluate", root, *SMALL, *five).documents[0]
    assert found["independent_references"] == 24
    assert found["labelled_defects"]["used"]
    # Each alone, its other picture would vouch for it, and the limit would be lower.
    alone = patchbank("evaluate", root, *SMALL, *five, "--group-by", "image").documents[0]
    assert alone["fail_above"] < found["fail_above"]


def test_labelled_defects_must_leave_some_to_judge(patchbank: Run, root: Path) -> None:
    outcome = patchbank("evaluate", root, *SMALL, "--labelled-defects", "8", "--json")
    assert outcome.code == 2
    assert "8 labelled defects: there are 8 anomalous images to draw from" in outcome.err
    assert "give at most 7" in outcome.err


def test_what_is_done_is_shown_with_names_as_they_are(patchbank: Run, root: Path) -> None:
    add_broken(root)
    test = root / "[b]x[" / "test"
    (test / "a [b]").mkdir()
    shutil.move(test / "scratch" / "000.png", test / "a [b]" / "000.png")
    outcome = patchbank("evaluate", root, *SMALL)
    assert outcome.code == 2
    assert "patchbank: broken: " in outcome.err
    header, row, average, *shares, empty, kinds, second, third = outcome.out.splitlines()
    rows = [second, third]
    assert empty == shares[0] == ""
    _, title, columns, only = shares
    assert title == "at the threshold in use, with 95 % intervals:"
    assert columns.split() == ["category", "recall", "missed", "false", "alarms"]
    assert only.startswith("[b]x[     100.0 % (63.1 to 100.0 %)  0.0 % (0.0 to 36.9 %)  ")
    assert kinds.split()[:4] == ["category", "kind", "of", "defect"]
    assert [row.split()[:5] for row in rows] == [
        ["[b]x[", "a", "[b]", "1", "of"],
        ["[b]x[", "scratch", "7", "of", "7"],
    ]
    assert "image AUROC" in header
    assert row.split()[:2] == ["[b]x[", "1.0000"]
    assert average.split()[:2] == ["average", "1.0000"]


def test_nothing_is_averaged_where_every_category_is_broken(patchbank: Run, root: Path) -> None:
    add_broken(root)
    shutil.rmtree(root / "[b]x[")
    as_json = patchbank("evaluate", root, *SMALL, "--json")
    assert as_json.code == 2
    assert as_json.document["category"] == "broken"
    for_people = patchbank("evaluate", root, *SMALL)
    assert for_people.code == 2
    assert for_people.complaint.startswith("broken: ")
    assert for_people.out == ""


def test_a_mistake_in_the_settings_is_said_once(patchbank: Run, root: Path) -> None:
    add_broken(root)
    outcome = patchbank("evaluate", root, "--layers", "nowhere")
    assert outcome.code == 2
    assert "nowhere" in outcome.complaint
    assert outcome.out == ""


def test_a_mask_that_cannot_be_used_is_left_out(patchbank: Run, root: Path) -> None:
    truth = root / "[b]x[" / "ground_truth" / "scratch"
    (truth / "000_mask.png").write_bytes((truth / "000_mask.png").read_bytes()[:60])
    damaged = patchbank("evaluate", root, *SMALL, "--json")
    assert damaged.code == 0, damaged.err
    (line,) = (line for line in damaged.err.splitlines() if "000_mask.png" in line)
    assert line.startswith("[b]x[: [b]x[/test/scratch/000.png is not counted in the pixel figures")
    # The figures are those of a data set that never had this mask.
    (truth / "000_mask.png").unlink()
    without = patchbank("evaluate", root, *SMALL, "--json")
    with_damaged, with_none = damaged.documents, without.documents
    for document in (*with_damaged, *with_none):
        assert document.pop("fit_seconds") > 0
        assert document.pop("milliseconds_per_image") > 0
        document.pop("remarks")
    assert with_damaged == with_none
    assert damaged.documents[0]["test_anomalous"] == 8
    assert damaged.documents[0]["pixel_auroc"] > 0.9


def test_an_interrupt_shows_what_was_done(
    root: Path, surfaces: Surfaces, database_url: str, graphs_home: Path
) -> None:
    # Remarks come with each finished category: the first one's tells when to interrupt.
    (root / "[b]x[" / "test" / "scratch" / "text.png").write_text("no picture")
    for number in range(30):
        shutil.copytree(surfaces.root / "brushed", root / f"later{number}")
    process = start("evaluate", root, *SMALL, home=graphs_home, url=database_url)
    assert process.stderr is not None
    assert "text.png" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130
    assert "interrupted" in outcome.err
    header, first, *_ = outcome.out.splitlines()
    assert "image AUROC" in header
    assert first.split()[:2] == ["[b]x[", "1.0000"]
    assert "average" not in outcome.out


@pytest.mark.parametrize("obstacle", [".", "heatmaps", "index.html"])
def test_the_demo_finds_out_first_that_its_page_cannot_be_written(
    patchbank: Run, tmp_path: Path, obstacle: str
) -> None:
    folder = tmp_path / "demo"
    if obstacle == "index.html":
        (folder / obstacle).mkdir(parents=True)
    else:
        (folder / obstacle).parent.mkdir(exist_ok=True)
        (folder / obstacle).write_text("in the way")
    outcome = patchbank("demo", "--folder", folder)
    assert outcome.code == 2
    assert str(folder) in outcome.complaint
    assert outcome.out == ""
    assert patchbank("categories", "--json").documents == []
