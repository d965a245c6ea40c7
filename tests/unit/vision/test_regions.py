"""Which patches are inspected, and which regions are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchbank.errors import ParameterError
from patchbank.inspection.settings import make_fit_settings
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.preprocess import painted_over
from patchbank.vision.regions import Box, Regions, make_regions, spread, taken


def settings(scale: float | None = None, crop: int | None = None, **regions: Any) -> Any:
    return ExtractorSettings(
        image_size=224, center_crop=crop, scale=scale, regions=make_regions(**regions)
    )


def test_without_regions_everything_is_as_before() -> None:
    plain = ExtractorSettings()
    assert plain.inspected_of(640, 480) is None
    assert "regions" not in plain.to_json()
    assert ExtractorSettings.from_json({**plain.to_json(), "regions": None}) == plain
    assert make_regions() is None
    other = settings(ignore_box="0%,0%,50%,50%")
    assert other.fingerprint() != plain.fingerprint()


@pytest.mark.parametrize("scale", [None, 0.5])
def test_a_patch_is_ignored_where_its_centre_is(scale: float | None) -> None:
    extractor = settings(scale, ignore_box="100,40,200,100")
    width, height = 640, 480
    rows, columns = extractor.grid_of(width, height)
    inspected = extractor.inspected_of(width, height)
    assert inspected is not None
    assert inspected.shape == (rows, columns)
    y, x = (np.arange(rows) + 0.5) * height / rows, (np.arange(columns) + 0.5) * width / columns
    inside = ((y >= 40) & (y < 140))[:, None] & ((x >= 100) & (x < 300))
    np.testing.assert_array_equal(inspected, ~inside)
    assert extractor.patches_of(width, height) == np.count_nonzero(~inside)


def test_only_boxes_add_up_and_ignored_ones_take_away() -> None:
    extractor = settings(only_box=["0%,0%,50%,100%", "50%,0%,50%,50%"], ignore_box="0%,0%,25%,25%")
    inspected = extractor.inspected_of(800, 600)
    assert inspected is not None
    assert inspected.mean() == pytest.approx(0.75 - 1 / 16)


def test_a_crop_moves_the_patches_not_the_box() -> None:
    inspected = settings(crop=112, ignore_box="0%,0%,50%,100%").inspected_of(400, 400)
    assert inspected is not None
    assert not inspected[:, :7].any()
    assert inspected[:, 7:].all()
    # The crop leaves this part out anyway.
    assert settings(crop=112, ignore_box="0%,0%,20%,100%").inspected_of(400, 400) is None


def test_boxes_in_pixels_grow_with_the_image() -> None:
    regions = make_regions(ignore_box="100,40,200,100")
    assert regions is not None
    usual = regions.for_images_of(640, 480)
    down, across = (np.arange(48) + 0.5) / 48, (np.arange(64) + 0.5) / 64
    small = usual.inspected(down, across, 320, 240)
    np.testing.assert_array_equal(small, usual.inspected(down, across, 640, 480))
    with pytest.raises(ParameterError, match=r"480 x 640 pixels, but boxes .* 640 x 480"):
        usual.inspected(down, across, 480, 640)
    with pytest.raises(ParameterError, match="ends outside of the images of 200 x 200"):
        regions.for_images_of(200, 200)


def test_white_of_a_mask_is_ignored_and_the_mask_is_scaled(tmp_path: Path) -> None:
    white = np.zeros((240, 320), np.uint8)
    white[:, 160:] = 255
    Image.fromarray(white).save(tmp_path / "mask.png")
    extractor = settings(ignore_mask=tmp_path / "mask.png")
    inspected = extractor.inspected_of(1280, 960)
    assert inspected is not None
    assert inspected[:, :14].all()
    assert not inspected[:, 14:].any()
    assert settings(ignore_mask=white > 0) == extractor
    with pytest.raises(ParameterError, match="960 x 1280 pixels, but the mask is for images"):
        extractor.inspected_of(960, 1280)
    with pytest.raises(ParameterError, match="other proportions; give a mask"):
        extractor.regions.for_images_of(300, 300)


def test_regions_are_read_back_as_they_were_written() -> None:
    white = np.zeros((30, 40), np.bool_)
    white[:5] = True
    extractor = settings(
        ignore_mask=white, ignore_box=[(1, 2.5, 3, 4), (0, 0, 9, 9)], only_box="10%,20%,30%,5.5%"
    )
    document = json.loads(json.dumps(extractor.to_json()))
    again = ExtractorSettings.from_json(document)
    assert again == extractor
    assert again.fingerprint() == extractor.fingerprint()
    assert extractor.regions_in_words() == (
        "only 10%,20%,30%,5.5%, not 1,2.5,3,4 and 0,0,9,9, not what is white in a mask of 40 x 30 "
        "pixels"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1,2,3", "give x,y,width,height"),
        ("a,b,c,d", "give x,y,width,height"),
        ("10%,20,30,40", "all four in per cent"),
        ("-1,0,10,10", "0 or more"),
        ("0,0,nan,10", "0 or more"),
        ("0,0,0,10", "above 0"),
        ("50%,0%,60%,10%", "beyond 100%"),
    ],
)
def test_a_box_that_is_none_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ParameterError, match=reason):
        make_fit_settings(ignore_box=text)


def test_a_mask_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="has no white"):
        make_fit_settings(ignore_mask=np.zeros((20, 20), np.bool_))
    photograph = np.random.default_rng(0).integers(0, 255, (50, 50, 3), dtype=np.uint8)
    with pytest.raises(ParameterError, match="is not black and white"):
        make_fit_settings(ignore_mask=photograph)
    (tmp_path / "mask.png").write_text("no image")
    with pytest.raises(ParameterError, match=r"the mask cannot be used: .*mask\.png"):
        make_fit_settings(ignore_mask=tmp_path / "mask.png")
    with pytest.raises(ParameterError, match=r"the mask cannot be used: .*missing\.png"):
        make_fit_settings(ignore_mask=tmp_path / "missing.png")


@pytest.mark.parametrize("scale", [None, 0.5])
def test_what_is_ignored_is_painted_over_in_the_colour_of_the_rest(scale: float | None) -> None:
    extractor = settings(scale, ignore_box="0%,0%,50%,100%")
    pixels = np.full((240, 320, 3), (10, 20, 30), np.uint8)
    pixels[:, :160] = 255
    resized = extractor.preprocessing.apply(pixels)
    hidden = extractor.hidden_of(320, 240)
    assert hidden is not None
    assert hidden.shape == resized.shape[:2]
    assert hidden.mean() == 0.5
    painted = painted_over(resized, hidden)
    # Of the edge, the resize mixed a little into the rest.
    np.testing.assert_allclose(painted[hidden].mean(axis=0), (10, 20, 30), atol=6)
    np.testing.assert_array_equal(painted[~hidden], resized[~hidden])
    assert painted_over(resized, None) is resized
    unpainted = replace(extractor, regions=replace(extractor.regions, filled=False))
    assert unpainted.hidden_of(320, 240) is None
    again = ExtractorSettings.from_json(json.loads(json.dumps(unpainted.to_json())))
    assert again == unpainted
    assert settings(scale, ignore_box="0,0,1,1").hidden_of(320, 240) is None


def test_regions_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ParameterError, match="leave nothing to inspect in an image of 640 x 480"):
        settings(ignore_box="0%,0%,100%,100%").inspected_of(640, 480)
    assert settings(ignore_box="0%,0%,100%,100%").patches_of(640, 480) == 0


@pytest.mark.parametrize(
    "document",
    [
        [],
        {"later": 1},
        {"ignore": "0,0,1,1"},
        {"size": [0, 5]},
        {"mask": {"size": [4, 4], "png": "AAAA"}},
        {"mask": {"size": [4, 4]}},
    ],
)
def test_damaged_regions_of_a_file_are_refused(document: Any) -> None:
    with pytest.raises(ParameterError):
        Regions.from_json(document)


def test_what_is_taken_of_a_grid_goes_back() -> None:
    values = np.arange(12).reshape(3, 4)
    inspected = values % 3 == 0
    np.testing.assert_array_equal(
        spread(taken(values, inspected), inspected, (3, 4)), np.where(inspected, values, 0)
    )
    np.testing.assert_array_equal(spread(taken(values, None), None, (3, 4)), values)


def test_a_box_is_written_as_it_is_given() -> None:
    for text in ("40,60,200,80", "10%,20.5%,30%,5%"):
        assert str(Box.parse(text)) == text
