"""Recorded defects with their regions, and what a fail says of them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.errors import ParameterError
from patchbank.inspection.judging.defects import (
    add_defects,
    add_synthetic_defects,
    list_defects,
    new_defect,
    refresh_defects,
    remove_defects,
)
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.live_bank import LiveBank
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import SIDE, Surfaces, brushed

SCHEMA = json.loads((Path(__file__).parents[3] / "docs" / "inspection.schema.json").read_text())


def dotted(seed: int) -> npt.NDArray[np.uint8]:
    """Return a brushed surface with another kind of defect: a row of black dots."""
    pixels = brushed(seed)
    row = int(np.random.default_rng(seed).integers(20, SIDE - 20))
    for column in range(16, SIDE - 16, 10):
        pixels[row : row + 4, column : column + 4] = 0
    return pixels


@pytest.fixture
def defects(tmp_path: Path, surfaces: Surfaces) -> dict[str, list[Path]]:
    """Eight scratches, and eight rows of dots."""
    folder = tmp_path / "dots"
    folder.mkdir()
    for seed in range(8):
        Image.fromarray(dotted(300 + seed)).save(folder / f"{seed}.png")
    return {"scratch": sorted(surfaces.scratched.iterdir()), "dots": sorted(folder.iterdir())}


def learn(workspace: Workspace, surfaces: Surfaces, image_size: int = 64) -> None:
    settings = make_fit_settings(image_size=image_size)
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), settings)


def test_a_fail_names_the_defects_it_is_like(
    workspace: Workspace, surfaces: Surfaces, defects: dict[str, list[Path]], tmp_path: Path
) -> None:
    learn(workspace, surfaces)
    inspector = Inspector(workspace, "brushed")
    new = tmp_path / "new.png"
    Image.fromarray(brushed(400, scratched=True)).save(new)
    before = inspector.inspect(new)
    assert (before.verdict, before.similar_defects, before.probable_defect) == ("fail", (), None)
    # A running inspector sees what is recorded meanwhile.
    for label, paths in defects.items():
        add_defects(workspace, "brushed", paths[:6], label=label)
    after = inspector.inspect(new)
    assert after.score == before.score
    assert [match.label for match in after.similar_defects[:6]] == ["scratch"] * 6
    similarities = [match.similarity for match in after.similar_defects]
    assert similarities == sorted(similarities, reverse=True)
    assert len(after.similar_defects) == 10
    assert str(after.probable_defect) == "probably scratch (6 of 6 nearest)"
    document = after.to_json()
    jsonschema.validate(document, SCHEMA)
    assert document["probable_defect"] == {"label": "scratch", "agreeing": 6, "nearest": 6}
    assert document["similar_defects"][0]["label"] == "scratch"
    assert len(inspector.inspect(new, top=2).similar_defects) == 2
    # A pass has no region to compare.
    passed = inspector.inspect(sorted(surfaces.good.iterdir())[0])
    assert (passed.verdict, passed.similar_defects) == ("pass", ())
    # What is in the book itself is left out of what it says.
    (known,) = inspector.inspect_many(defects["dots"][:1])
    assert isinstance(known, Inspection)
    assert known.similar_defects[0].itself
    assert f"{known.similar_defects[0].similarity:.4f}" == "1.0000"
    assert known.probable_defect is None or known.probable_defect.nearest == 5
    # In the database, the same.
    stored = Inspector(workspace, "brushed", in_database=True).inspect(new)
    assert [match.name for match in stored.similar_defects] == [
        match.name for match in after.similar_defects
    ]
    np.testing.assert_allclose(
        [match.similarity for match in stored.similar_defects], similarities, rtol=1e-4
    )
    remove_defects(
        workspace, "brushed", [defect.name for defect in list_defects(workspace, "brushed")]
    )
    assert inspector.inspect(new).similar_defects == ()


def test_synthetic_defects_are_marked_and_name_nothing(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    learn(workspace, surfaces)
    add_synthetic_defects(workspace, "brushed", 8)
    found = Inspector(workspace, "brushed").inspect(sorted(surfaces.scratched.iterdir())[0])
    assert {match.synthetic for match in found.similar_defects} == {True}
    assert found.probable_defect is None


def test_an_image_is_recorded_once_and_keeps_its_label(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    learn(workspace, surfaces)
    first, second = sorted(surfaces.scratched.iterdir())[:2]
    monkeypatch.chdir(first.parent)
    copy = Path(shutil.copy(first, tmp_path / "copy.png"))
    added = add_defects(workspace, "brushed", [first, copy, second], label="  long \n scratch ")
    assert added.names == (first.as_posix(), second.as_posix())
    assert added.remarks == (f"{copy} is the same image as {first}; recorded once",)
    # Whatever path leads to it, and whatever case the label has.
    again = add_defects(workspace, "brushed", [first.name])
    assert again.names == (first.as_posix(),)
    assert again.remarks == (
        f"recorded before, and updated under the same name: {first.name} as {first}",
        f"recorded before with a label, which stays: {first} as long scratch",
    )
    spelled = add_defects(workspace, "brushed", [copy], label="Long Scratch")
    assert spelled.remarks[0] == "label 'Long Scratch': recorded as 'long scratch', as others are"
    labels = {defect.name: defect.label for defect in list_defects(workspace, "brushed")}
    assert labels == dict.fromkeys((first.as_posix(), second.as_posix()), "long scratch")
    for label, problem in (("a\x01b", "cannot be shown"), (" \n", "must not be empty")):
        with pytest.raises(ParameterError, match=problem):
            add_defects(workspace, "brushed", [first], label=label)
    reference = sorted(surfaces.train.iterdir())[0]
    (remark,) = add_defects(workspace, "brushed", [reference], label="dots").remarks
    assert remark.startswith("1 defect is a reference of the bank too, so that images alike pass")
    assert remark.endswith(f"patchbank withdraw brushed {reference}")


def test_an_image_speaks_for_its_label_once(
    workspace: Workspace, surfaces: Surfaces, defects: dict[str, list[Path]], tmp_path: Path
) -> None:
    """Also one that was recorded twice before images were known by their content."""
    learn(workspace, surfaces)
    for label, paths in defects.items():
        add_defects(workspace, "brushed", paths[:6], label=label)
    inspector = Inspector(workspace, "brushed", record=False)
    new = []
    for seed in range(6):
        new.append(tmp_path / f"{seed}.png")
        Image.fromarray(brushed(400 + seed, scratched=True)).save(new[-1])
    before = [inspector.inspect(path).probable_defect for path in new]
    assert any(before)
    bank = LiveBank(workspace, "brushed").ready
    for label, paths in defects.items():
        twice = [
            new_defect(
                bank,
                f"again/{path.name}",
                label,
                bank.extractor.extract_one(path, thumbnail_side=96),
                origin=None,
            )
            for path in paths[:6]
        ]
        workspace.database.defects.add("brushed", bank.extractor.fingerprint, twice)
    assert [inspector.inspect(path).probable_defect for path in new] == before


def test_boxes_say_where_the_defect_is(workspace: Workspace, surfaces: Surfaces) -> None:
    learn(workspace, surfaces)
    good, other = sorted(surfaces.good.iterdir())[:2]
    boxes = ["50,20,12,11", "0%,75%,10%,10%"]
    add_defects(workspace, "brushed", [good], label="marked", boxes=boxes)
    (marked,) = list_defects(workspace, "brushed")
    share = round(0.75 * SIDE), round(0.85 * SIDE), round(0.1 * SIDE)
    assert sorted(marked.boxes) == [[0, share[0], share[2], share[1]], [50, 20, 62, 31]]
    for images, wrong, problem in (
        ([good], ["1,2,3"], "give x,y,width,height"),
        ([good], [f"1,2,{SIDE},5"], f"ends outside of .*, which has {SIDE} x {SIDE} pixels"),
        ([good], ["1,1,.2,.2"], "holds no pixel of"),
        ([good, other], ["1,2,3,4"], "the defect of one image is, and 2 images were given"),
    ):
        with pytest.raises(ParameterError, match=problem):
            add_defects(workspace, "brushed", images, boxes=wrong)


def test_a_mask_says_which_regions_are_the_defect(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    learn(workspace, surfaces)
    paths = sorted(surfaces.scratched.iterdir())[:2]
    add_defects(workspace, "brushed", paths)
    found = {defect.name: defect.boxes for defect in list_defects(workspace, "brushed")}
    masks = surfaces.root / "brushed" / "ground_truth" / "scratch"
    # Six of the masks are of other images. Each scratch is in the bank's own region.
    added = add_defects(workspace, "brushed", paths, masks=masks)
    assert added.remarks == ()
    for defect in list_defects(workspace, "brushed"):
        mask = np.asarray(Image.open(masks / f"{Path(defect.name).stem}_mask.png")) > 0
        rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
        (box,) = defect.boxes
        assert box == found[defect.name][0]
        assert box[0] <= columns[0] < columns[-1] < box[2]
        assert box[1] <= rows[0] < rows[-1] < box[3]
    # What the bank does not outline is where the mask says.
    good = sorted(surfaces.good.iterdir())[1]
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[20:31, 50:62], mask[70:75, 10:14] = 255, 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    add_defects(workspace, "brushed", [good], label="marked", masks=tmp_path / "mask.png")
    (marked,) = (d for d in list_defects(workspace, "brushed") if d.label == "marked")
    assert sorted(marked.boxes) == [[10, 70, 14, 75], [50, 20, 62, 31]]
    # Nothing stands out in a good image: its strongest spot is the defect, where one says it is.
    add_defects(workspace, "brushed", sorted(surfaces.good.iterdir())[:1], label="faint")
    assert [len(d.boxes) for d in list_defects(workspace, "brushed") if d.label == "faint"] == [1]
    wrong = tmp_path / "masks"
    wrong.mkdir()
    with pytest.raises(
        ParameterError, match=r"named like one of the images, such as 000_mask\.png"
    ):
        add_defects(workspace, "brushed", paths, masks=wrong)
    with pytest.raises(ParameterError, match="is one file for 2 images"):
        add_defects(workspace, "brushed", paths, masks=masks / "000_mask.png")


def test_regions_of_images_seen_in_tiles(
    workspace: Workspace, surfaces: Surfaces, defects: dict[str, list[Path]]
) -> None:
    settings = make_fit_settings(scale=1.0, tile=64)
    fit(workspace, "brushed", sorted(surfaces.train.iterdir()), settings)
    for label, paths in defects.items():
        add_defects(workspace, "brushed", paths[:6], label=label)
    inspector = Inspector(workspace, "brushed")
    for path in defects["scratch"][6:]:
        found = inspector.inspect(path)
        assert [match.label for match in found.similar_defects[:3]] == ["scratch"] * 3


def test_defects_of_another_extractor_are_brought_up_to_date_from_their_files(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    learn(workspace, surfaces)
    kept, changed, gone = (tmp_path / f"{name}.png" for name in ("kept", "changed", "gone"))
    for seed, path in enumerate((kept, changed, gone)):
        Image.fromarray(brushed(200 + seed, scratched=True)).save(path)
    add_defects(workspace, "brushed", [kept, changed, gone], label="scratch")
    assert refresh_defects(workspace, "brushed").names == ()
    learn(workspace, surfaces, image_size=96)
    inspector = Inspector(workspace, "brushed")
    assert inspector.inspect(kept).similar_defects == ()
    Image.fromarray(brushed(1)).save(changed)
    gone.unlink()
    refreshed = refresh_defects(workspace, "brushed")
    assert refreshed.names == (str(kept),)
    assert [refusal.image for refusal in refreshed.refused] == [str(changed), str(gone)]
    assert "was changed; add it again" in refreshed.refused[0].error
    assert "cannot be read" in refreshed.refused[1].error
    comparable = {defect.name: defect.comparable for defect in list_defects(workspace, "brushed")}
    assert comparable == {str(kept): True, str(changed): False, str(gone): False}
    (match,) = inspector.inspect(kept).similar_defects
    assert (match.name, match.label, match.itself) == (str(kept), "scratch", True)


def test_the_commands_show_what_a_fail_is_like(
    learned: object,
    patchbank: Run,
    surfaces: Surfaces,
    defects: dict[str, list[Path]],
    tmp_path: Path,
) -> None:
    masks = surfaces.root / "brushed" / "ground_truth" / "scratch"
    done = patchbank(
        "defects", "add", "brushed", *defects["scratch"][:6], "--label", "scratch", "--mask", masks
    )
    assert done.code == 0, done.err
    assert patchbank("defects", "add", "brushed", *defects["dots"][:6], "--label", "dots").code == 0
    new = tmp_path / "new"
    new.mkdir()
    for seed in range(6):
        Image.fromarray(brushed(400 + seed, scratched=True)).save(new / f"{seed}.png")
    page = tmp_path / "page"
    listed = patchbank("inspect", "brushed", new, "--report", page).out.splitlines()
    named = [line for line in listed if line.endswith("  probably scratch (6 of 6 nearest)")]
    assert 1 <= len(named) == sum("probably" in line for line in listed)
    html = (page / "index.html").read_text()
    assert "probably scratch (6 of 6 nearest)" in html
    assert "Recorded defects most similar to the strongest region" in html
    assert 'alt="defect ' in html
    path = next(path for path in sorted(new.iterdir()) if str(path) in named[0])
    single = patchbank("inspect", "brushed", path, "--heatmaps", tmp_path / "pictures").out
    assert "  probably scratch (6 of 6 nearest)\n" in single
    assert single.count("  (defect: scratch)\n") == 3
    (first, *_) = patchbank("defects", "list", "brushed", "--json").documents
    assert first["regions"][0]["box_xyxy"]
    assert "all defects are up to date" in patchbank("defects", "refresh", "brushed").err
