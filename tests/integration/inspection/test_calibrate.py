"""Calibration by images that a bank was not made of."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from patchbank.errors import (
    ImageError,
    NoImagesError,
    NotCalibratedError,
    NotFittedError,
    TooManyRefusedError,
)
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.judging.search import search
from patchbank.inspection.keeping.manage import show_category
from patchbank.inspection.learning.calibrate import calibrate
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.scoring import checked_score_method
from patchbank.store.bank_content import CalibrationScores
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


def learn(workspace: Workspace, surfaces: Surfaces, score: str = "top1percent") -> None:
    settings = replace(SETTINGS, image_score=checked_score_method(score))
    fit(workspace, "brushed", sorted(surfaces.train.iterdir())[:16], settings)


def strip(workspace: Workspace) -> None:
    """Make the bank one that knows nothing of its images, as one made elsewhere."""
    content = workspace.database.banks.active("brushed").content
    nowhere = np.full(len(content.features), -1)
    bank = replace(
        content,
        images=[],
        embeddings=content.embeddings[:0],
        patch_image=nowhere,
        patch_row=nowhere.astype(np.int16),
        patch_column=nowhere.astype(np.int16),
        scores=CalibrationScores.none(),
    )
    workspace.database.banks.save("brushed", bank)


@pytest.mark.parametrize("score", ["top1percent", "reweighted"])
def test_the_threshold_is_what_the_held_out_images_score(
    workspace: Workspace, surfaces: Surfaces, score: str
) -> None:
    good = sorted(surfaces.good.iterdir())
    with workspace:
        learn(workspace, surfaces, score)
        before = workspace.database.banks.active("brushed")
        scored = [one.score for one in Inspector(workspace, "brushed").inspect_many(good)]  # type: ignore[union-attr]
        report = calibrate(workspace, "brushed", good, false_alarm_rate=0.2, force=True)
        after = workspace.database.banks.active("brushed")
        assert (report.bank_version, report.images, report.refused) == (2, 8, ())
        assert report.provenance_known
        assert report.warning is None
        # One of eight may be above: floor(0.2 x 9) = 1.
        assert report.threshold.value == max(scored)
        calibration = calibration_of(after.content)
        assert calibration is not None
        assert list(calibration.scores) == sorted(scored)
        # Those of the images it was made of are kept beside them.
        assert np.count_nonzero(after.content.scores.held_out) == 8
        assert len(after.content.scores) == 16 + 8
        assert after.content.settings == {**before.content.settings, "false_alarm_rate": 0.2}
        for name in ("features", "patch_image", "patch_row", "patch_column", "embedding_mean"):
            np.testing.assert_array_equal(
                getattr(after.content, name), getattr(before.content, name)
            )
        assert [one.name for one in after.content.images] == [
            *(one.name for one in before.content.images),
            *(str(path) for path in good),
        ]
        inspection = Inspector(workspace, "brushed").inspect(good[0])
        assert inspection.similar[0].image == str(good[0])
        assert inspection.similar[0].similarity == pytest.approx(1.0, abs=1e-6)


def test_images_of_the_bank_are_left_out(workspace: Workspace, surfaces: Surfaces) -> None:
    learned, good = sorted(surfaces.train.iterdir())[:16], sorted(surfaces.good.iterdir())
    with workspace:
        learn(workspace, surfaces)
        report = calibrate(workspace, "brushed", [learned[3], *good[:3]], force=True)
        assert report.images == 3
        assert [one.error for one in report.refused] == [
            f"{learned[3]}: already a reference of this bank; left out"
        ]
        with pytest.raises(NoImagesError, match="0 usable images of 16 given"):
            calibrate(workspace, "brushed", learned, force=True)
        assert workspace.database.banks.active_version("brushed") == 2


def test_only_pixels_decide_whether_it_is_the_same_picture(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    """Arrays without names, and files of another day with the same relative names."""
    learned = [np.asarray(Image.open(path)) for path in sorted(surfaces.train.iterdir())[:16]]
    good = [np.asarray(Image.open(path)) for path in sorted(surfaces.good.iterdir())]
    with workspace:
        fit(workspace, "brushed", learned, SETTINGS)
        for _ in range(2):
            report = calibrate(workspace, "brushed", good, force=True)
            assert (report.images, report.refused) == (8, ())
            stored = workspace.database.banks.active("brushed")
            assert [one.name for one in stored.content.images] == [
                *(f"image-{number:04}" for number in range(16)),
                *(f"image-{number:04} (2)" for number in range(8)),
            ]
        names = ["image-0000", "image-0000 (2)", "other"]
        report = calibrate(workspace, "brushed", good[:3], names=names, force=True)
        assert report.images == 3
        stored = workspace.database.banks.active("brushed")
        assert [one.name for one in stored.content.images][16:] == [
            "image-0000 (3)",
            "image-0000 (2)",
            "other",
        ]
        found = Inspector(workspace, "brushed").inspect(good[0], top=1)
        assert found.similar[0].image == "image-0000 (3)"


def test_a_calibration_and_a_smaller_fit_say_what_they_hide_and_change(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    learned = sorted(surfaces.train.iterdir())[:16]
    # Brushed in the other direction.
    turned = [np.asarray(Image.open(path)).swapaxes(0, 1) for path in surfaces.good.iterdir()]
    # Saved again a little brighter, and larger.
    larger = [Image.fromarray(pixels + step) for pixels in turned[:4] for step in (0, 1)]
    copies = [np.asarray(image.resize((256, 256))) for image in larger]
    with workspace:
        first = fit(workspace, "brushed", learned, SETTINGS)
        assert "replaces" not in str(first.bank.remarks)
        report = calibrate(workspace, "brushed", turned + copies, force=True)
        said = "\n".join(report.remarks)
        assert "the threshold changes from " in said
        assert "8 of 16 images are reduced 4 times" in said
        assert "16 images count as about 8 independent" in said
        again = fit(workspace, "brushed", learned[:5], SETTINGS)
        assert "is based on 5 images, and that of the previous bank on 16" in again.bank.remarks[-1]


def test_another_calibration_takes_the_place_of_the_one_before(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    good = sorted(surfaces.good.iterdir())
    with workspace:
        learn(workspace, surfaces)
        calibrate(workspace, "brushed", good, force=True)
        report = calibrate(workspace, "brushed", good[:4], force=True)
        assert (report.bank_version, report.images, report.refused) == (3, 4, ())
        stored = workspace.database.banks.active("brushed")
        assert len(stored.content.images) == 16 + 4
        assert np.count_nonzero(stored.content.scores.counts) == 4


def test_a_bank_without_calibration_judges_nothing_until_it_has_one(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    good, scratched = sorted(surfaces.good.iterdir()), sorted(surfaces.scratched.iterdir())
    with workspace:
        learn(workspace, surfaces)
        strip(workspace)
        inspector = Inspector(workspace, "brushed")
        wanted = "has no threshold yet; run: patchbank calibrate brushed GOOD_IMAGES"
        with pytest.raises(NotCalibratedError, match=wanted):
            inspector.inspect(good[0])
        with pytest.raises(NotCalibratedError, match=wanted):
            list(inspector.inspect_many(good))
        with pytest.raises(
            NotFittedError, match=r"no reference images.*patchbank calibrate brushed"
        ):
            search(workspace, "brushed", good[0])
        entry = search(workspace, "brushed", name="#3", top=3)
        assert entry.matches[0].name == "#3"
        assert entry.matches[0].similarity == pytest.approx(1, abs=1e-6)
        with pytest.raises(ImageError, match=r"the bank has \d+ patches, so there is no patch"):
            search(workspace, "brushed", name="#99999")
        shown = show_category(workspace, "brushed")
        assert (shown["pass_below"], shown["fail_above"]) == (None, None)
        assert "patchbank calibrate brushed" in shown["calibration"]
        assert shown["provenance_known"] is False
        report = calibrate(workspace, "brushed", good)
        assert report.warning is not None
        assert "does not record which images it was fitted on" in report.warning
        # The inspector at hand sees the new version.
        assert inspector.inspect(scratched[0]).verdict == "fail"
        passed = inspector.inspect(good[0])
        assert passed.verdict == "pass"
        assert passed.similar[0].image == str(good[0])
        assert len(workspace.database.banks.active("brushed").content.images) == len(good)


def test_the_commands_say_what_is_missing(
    patchbank: Run, surfaces: Surfaces, workspace: Workspace
) -> None:
    with workspace:
        learn(workspace, surfaces)
        strip(workspace)
    refused = patchbank("inspect", "brushed", surfaces.good)
    assert refused.code == 2
    assert refused.complaint == (
        "category 'brushed': its imported bank has no threshold yet; run: patchbank calibrate "
        "brushed GOOD_IMAGES..."
    )
    assert refused.out == ""
    assert patchbank("show", "brushed", "--json").document["covering_radius"] > 0
    searched = patchbank("search", "brushed", next(surfaces.good.iterdir()))
    assert (searched.code, searched.out) == (2, "")
    assert "has no reference images to compare with" in searched.err
    done = patchbank("calibrate", "brushed", surfaces.good, "--json")
    assert done.code == 0
    assert done.document["images"] == 8
    assert done.document["bank_version"] == 3
    assert "remark   the bank does not record which images" in done.err
    assert patchbank("inspect", "brushed", surfaces.good).code in (0, 1)


def test_fewer_images_than_the_present_calibration_rests_on_take_its_place_only_by_force(
    patchbank: Run, surfaces: Surfaces, workspace: Workspace
) -> None:
    with workspace:
        learn(workspace, surfaces)
    before = patchbank("show", "brushed", "--json").document
    refused = patchbank("calibrate", "brushed", surfaces.good)
    assert refused.code == 2
    assert refused.complaint == (
        "8 usable images of 8 given; the current calibration uses 16, and fewer images give a "
        "worse "
        "threshold; add 8 more, or --force"
    )
    assert patchbank("show", "brushed", "--json").document == before
    done = patchbank("calibrate", "brushed", surfaces.good, "--force", "--json")
    assert done.code == 0
    (remark,) = done.document["remarks"]
    assert remark.endswith("expect up to 11.1 %; add 91 more good images")
    assert f"remark   {remark}" in done.err
    # As many as before need no force.
    assert patchbank("calibrate", "brushed", surfaces.good).code == 0


def test_a_first_calibration_by_fewer_than_five_images_takes_force(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    good = sorted(surfaces.good.iterdir())
    with workspace:
        learn(workspace, surfaces)
        strip(workspace)
        with pytest.raises(NoImagesError, match=r"at least 5 good images are needed; add 1 more"):
            calibrate(workspace, "brushed", good[:4])
        assert workspace.database.banks.active_version("brushed") == 2
        assert calibrate(workspace, "brushed", good[:4], force=True).images == 4


def test_a_calibration_of_which_too_many_images_are_refused_changes_nothing(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    good, learned = sorted(surfaces.good.iterdir()), sorted(surfaces.train.iterdir())[:16]
    with workspace:
        learn(workspace, surfaces)
        with pytest.raises(TooManyRefusedError, match=r"16 of 24 images refused, but only 50% may"):
            calibrate(workspace, "brushed", [*good, *learned], force=True)
        assert workspace.database.banks.active_version("brushed") == 1
        report = calibrate(workspace, "brushed", [*good, *learned], force=True, max_refused=16)
        assert "16 of 24 images refused" in report.remarks


def test_another_rate_needs_no_image(
    patchbank: Run, surfaces: Surfaces, workspace: Workspace
) -> None:
    image = sorted(surfaces.good.iterdir())[0]
    with workspace:
        learn(workspace, surfaces)
        inspector = Inspector(workspace, "brushed")
        before = inspector.inspect(image)
        stored = workspace.database.banks.active("brushed").content
        calibration = calibration_of(stored)
        assert calibration is not None
        done = patchbank("calibrate", "brushed", "--false-alarm-rate", "0.25", "--json")
        assert done.code == 0
        document = done.document
        expected = calibration.threshold(0.25)
        assert (document["bank_version"], document["images"]) == (2, 16)
        assert document["fail_above"] == expected.value < before.thresholds.fail_above
        assert document["calibration"]["sufficient"] is True
        assert document["remarks"] == [
            "no image was read: the threshold comes from the stored scores of 16 good images",
            "review: none: with 16 good parts, the limits for 25 % and for 26 % are the same; "
            "99 tell them apart",
        ]
        after = inspector.inspect(image)
        assert (after.score, after.bank_version) == (before.score, 2)
        assert after.thresholds == calibration.thresholds(0.25)
        assert after.map_threshold == calibration.map_threshold(0.25).value
        changed = workspace.database.banks.active("brushed").content
        assert changed.settings == stored.settings | {"false_alarm_rate": 0.25}
        np.testing.assert_array_equal(changed.scores.score, stored.scores.score)
        assert changed.features.tobytes() == stored.features.tobytes()
        # Fewer than it needs: what can be promised is said.
        few = patchbank("calibrate", "brushed", "--false-alarm-rate", "0.001")
        assert few.code == 0
        assert "16 reference images are too few for a false-alarm rate of 0.1 %" in few.err
        assert "threshold" in few.out
        strip(workspace)
        refused = patchbank("calibrate", "brushed", "--false-alarm-rate", "0.1")
        assert refused.code == 2
        assert "has no threshold yet" in refused.complaint


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ((), "calibrate brushed: give images of good parts, or --false-alarm-rate"),
        (("--false-alarm-rate", "1.5"), "false-alarm rate 1.5: must be between 0 and 1"),
    ],
)
def test_a_rate_that_is_none_is_refused(
    patchbank: Run, options: tuple[str, ...], complaint: str
) -> None:
    refused = patchbank("calibrate", "brushed", *options)
    assert (refused.code, refused.out) == (2, "")
    assert complaint in refused.complaint
