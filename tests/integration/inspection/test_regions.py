"""Regions of interest: ignored patches are neither learned nor judged."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.errors import ParameterError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.manage import show_category
from patchbank.inspection.keeping.transfer import export_bank, import_bank_file
from patchbank.inspection.learning import learn as learning
from patchbank.inspection.learning.calibrate import calibrate
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.learning.settled_regions import largest_inspected
from patchbank.inspection.measuring.candidates import options_given
from patchbank.inspection.measuring.held_out import DefectTrial, Images, Judged
from patchbank.inspection.measuring.tune_report import fit_command
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.budget import Parts
from patchbank.vision.decoded_image import DEFAULT_LIMITS
from patchbank.vision.regions import make_regions

WIDTH, HEIGHT = 320, 240
# Around the label, which is at 200 to 300 and 20 to 60; its neighbourhood is seen by patches too.
BOX = "176,0,144,88"
SCALES = [{"image_size": 224}, {"scale": 1.0, "tile": 224, "overlap": 64}]


def surface(seed: int, *, label: int = 0) -> npt.NDArray[np.uint8]:
    """Return a brushed surface with a label whose content changes with its number."""
    random = np.random.default_rng(seed)
    grey = random.normal(140, 8, (HEIGHT, 1)) + random.normal(0, 4, (HEIGHT, WIDTH))
    blocks = np.random.default_rng([label, 1]).integers(0, 2, (4, 10)) * 220.0
    grey[20:60, 200:300] = np.kron(blocks, np.ones((10, 10)))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, axis=2)


GOOD = [surface(seed) for seed in range(10)]
NAMES = [f"{number}.png" for number in range(10)]
OTHER_LABEL = surface(50, label=1)
SAME_LABEL = surface(50)


def learned(workspace: Workspace, **options: object) -> LearnedBank:
    chosen = make_fit_settings(layers="blocks.4", **options)  # type: ignore[arg-type]
    return learn(workspace, GOOD, chosen, names=NAMES)


@pytest.mark.parametrize("options", SCALES)
@pytest.mark.parametrize("score", ["top8", "reweighted"])
def test_what_a_label_says_changes_neither_verdict_nor_map(
    workspace: Workspace, options: dict[str, float], score: str
) -> None:
    settings = make_fit_settings(
        layers="blocks.4",
        ignore_box=BOX,
        image_score=score,
        **options,  # type: ignore[arg-type]
    )
    bank = fit(workspace, "plate", GOOD, settings, names=NAMES).bank
    extractor = bank.settings.extractor
    inspected = extractor.inspected_of(WIDTH, HEIGHT)
    assert inspected is not None
    # No patch of the bank is from the region, and those that are count.
    assert inspected[bank.content.patch_row, bank.content.patch_column].all()
    assert bank.patches == 10 * np.count_nonzero(inspected)
    inspector = Inspector(workspace, "plate", record=False)
    same = inspector.inspect(SAME_LABEL, name="same")
    other = inspector.inspect(OTHER_LABEL, name="other")
    # It is painted over, so that the patches beside it do not see it either.
    assert other.score == same.score
    np.testing.assert_array_equal(other.full_map(), same.full_map())
    missing = np.isnan(other.full_map())
    assert missing[10:80, 190:].all()
    assert not missing[:, :160].any()
    assert missing.mean() == pytest.approx(1 - inspected.mean(), abs=0.01)
    in_database = Inspector(workspace, "plate", record=False, in_database=True)
    assert in_database.inspect(OTHER_LABEL, name="other").score == pytest.approx(
        other.score, rel=1e-5
    )
    # Without the region, the label is what stands out.
    plain = learn(
        workspace, GOOD,
        make_fit_settings(layers="blocks.4", image_score=score, **options),  # type: ignore[arg-type]
        names=NAMES,
    )  # fmt: skip
    assert plain.patches > bank.patches


@pytest.mark.parametrize("options", SCALES)
def test_a_defect_half_inside_is_found_by_its_other_half(
    workspace: Workspace, options: dict[str, float]
) -> None:
    settings = make_fit_settings(layers="blocks.4", ignore_box=BOX, **options)  # type: ignore[arg-type]
    fit(workspace, "plate", GOOD, settings, names=NAMES)
    inspector = Inspector(workspace, "plate", record=False)
    defective = OTHER_LABEL.copy()
    defective[64:112, 240:256] = 10
    found = inspector.inspect(defective, name="half")
    assert found.verdict == "fail"
    left, top, right, bottom = found.regions[0].box_xyxy
    assert left < 256
    assert right > 240
    assert top >= 80
    assert bottom > 96
    hidden = OTHER_LABEL.copy()
    hidden[30:50, 240:256] = 10
    whole = inspector.inspect(hidden, name="inside")
    assert whole.score == inspector.inspect(OTHER_LABEL, name="other").score


def test_a_streamed_fit_calibration_and_similarity_leave_the_region_out(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = learned(workspace, ignore_box=BOX, image_size=224)
    monkeypatch.setattr(learning, "plan_fit", lambda *_: Parts(3, 4, 0.2))
    streamed = learned(workspace, ignore_box=BOX, image_size=224)
    assert streamed.streaming is not None
    inspected = streamed.settings.extractor.inspected_of(WIDTH, HEIGHT)
    assert inspected is not None
    assert inspected[streamed.content.patch_row, streamed.content.patch_column].all()
    assert streamed.patches == whole.patches
    np.testing.assert_allclose(streamed.scores, whole.scores, rtol=0.2)
    extractor = workspace.extractor(whole.settings.extractor)
    same, other = (
        extractor.extract_one(image).embedding - whole.content.embedding_mean
        for image in (SAME_LABEL, OTHER_LABEL)
    )
    cosine = same @ other / np.linalg.norm(same) / np.linalg.norm(other)
    assert cosine > 0.95


def test_regions_stay_with_the_bank(workspace: Workspace, tmp_path: Path) -> None:
    white = np.zeros((HEIGHT // 2, WIDTH // 2), np.uint8)
    white[:44, 88:] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    settings = make_fit_settings(
        layers="blocks.4", image_size=224, ignore_mask=tmp_path / "mask.png", ignore_box=BOX
    )
    fit(workspace, "plate", GOOD, settings, names=NAMES)
    (tmp_path / "mask.png").unlink()
    before = Inspector(workspace, "plate", record=False).inspect(OTHER_LABEL, name="x")
    export_bank(workspace, "plate", tmp_path / "plate.bank")
    import_bank_file(workspace, tmp_path / "plate.bank", category="again")
    after = Inspector(workspace, "again", record=False).inspect(OTHER_LABEL, name="x")
    assert after.score == before.score
    np.testing.assert_array_equal(after.full_map(), before.full_map())
    shown = show_category(workspace, "again")["extractor"]["regions"]
    assert shown["ignore"] == [BOX]
    assert shown["size"] == [WIDTH, HEIGHT]
    calibrated = [surface(seed, label=seed) for seed in range(60, 68)]
    report = calibrate(
        workspace, "again", calibrated, names=[f"c{n}" for n in range(8)], force=True
    )
    assert report.images == 8
    assert show_category(workspace, "again")["extractor"]["regions"] == shown


def test_images_that_the_regions_do_not_fit_are_refused(workspace: Workspace) -> None:
    settings = make_fit_settings(layers="blocks.4", image_size=224, ignore_box=BOX)
    fit(workspace, "plate", GOOD, settings, names=NAMES)
    turned = np.ascontiguousarray(SAME_LABEL.transpose(1, 0, 2))
    small = np.ascontiguousarray(SAME_LABEL[::2, ::2])
    results = list(
        Inspector(workspace, "plate", record=False).inspect_many(
            [turned, small], names=["turned", "small"]
        )
    )
    assert isinstance(results[0], Refused)
    assert "240 x 320 pixels, but boxes are given in pixels of images of 320 x 240" in (
        results[0].error
    )
    assert not isinstance(results[1], Refused)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ignore_box": "0,0,320,240"}, "leave nothing to inspect in an image of 320 x 240"),
        ({"only_box": "1,1,1,1"}, "leave nothing to inspect"),
        ({"only_box": "300,0,100,20"}, "ends outside of the images of 320 x 240 pixels"),
        ({"ignore_mask": np.eye(50, dtype=np.bool_)}, "other proportions; give a mask made of"),
    ],
)
def test_regions_that_do_not_fit_the_images_store_nothing(
    workspace: Workspace, options: dict[str, object], reason: str
) -> None:
    with pytest.raises(ParameterError, match=reason):
        learned(workspace, image_size=224, **options)


def test_a_region_too_small_for_any_patch_is_said(workspace: Workspace) -> None:
    bank = learned(workspace, image_size=224, ignore_box="0,0,3,3")
    assert any(line.startswith("nothing is ignored: no patch") for line in bank.remarks)
    plain = learned(workspace, image_size=224)
    np.testing.assert_array_equal(bank.features, plain.features)
    np.testing.assert_array_equal(bank.scores, plain.scores)


def test_a_trial_of_resolutions_sees_only_what_is_inspected(workspace: Workspace) -> None:
    bank = learned(workspace, ignore_box=BOX, budget_ms=1e6)
    assert bank.settings.extractor.regions is not None
    assert bank.settings.extractor.scale is not None


def test_synthetic_defects_are_where_images_are_inspected() -> None:
    settings = make_fit_settings(ignore_box="0%,0%,80%,100%")
    trial = DefectTrial(
        Images(GOOD, NAMES), (6, 12), 0, None, DEFAULT_LIMITS, settings.extractor.regions
    )
    drawn: deque[Judged] = deque()
    for _ in trial.draw(drawn):
        judged = drawn.popleft()
        if judged.size >= 0:
            assert judged.box[0] + judged.box[2] >= 2 * 0.8 * WIDTH


def test_the_command_that_tune_recommends_has_the_regions(tmp_path: Path) -> None:
    Image.fromarray(np.full((9, 9), 255, np.uint8)).save(tmp_path / "mask.png")
    settings = make_fit_settings(
        ignore_mask=tmp_path / "mask.png", ignore_box=["1,2,3,4", "5%,5%,5%,5%"]
    )
    line = fit_command("plate", ["good"], options_given(settings, None))
    assert line == (
        f"patchbank fit plate good --ignore-mask {tmp_path / 'mask.png'} --ignore-box 1,2,3,4 "
        "--ignore-box 5%,5%,5%,5%"
    )


def test_pieces_for_a_trial_are_inspected_all_over() -> None:
    regions = make_regions(ignore_box=BOX)
    assert regions is not None
    rows, columns = largest_inspected(regions, WIDTH, HEIGHT)
    # Below the label: larger than beside it.
    assert (rows.start, rows.stop, columns.start, columns.stop) == (86, HEIGHT, 0, WIDTH)
