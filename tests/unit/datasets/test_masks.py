"""Masks in every image mode used by data sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets.masks import read_mask
from patchbank.datasets.samples import Mask
from patchbank.errors import DatasetError, ImageError
from patchbank.vision.images import decode

EXPECTED = np.zeros((12, 18), dtype=np.bool_)
EXPECTED[1:4, 2:17] = True


@pytest.mark.parametrize(
    ("mode", "value"),
    [
        ("1", 1),
        *(("L", value) for value in (255, 1)),
        *(("I;16", value) for value in (65535, 255, 1)),
        *(("I", value) for value in (65535, 1)),
        ("RGB", 255),
        ("P", 1),
    ],
)
def test_what_is_not_black_is_anomalous(tmp_path: Path, mode: str, value: int) -> None:
    numbers = EXPECTED * value
    if mode == "RGB":
        image = Image.fromarray(np.repeat(numbers.astype(np.uint8)[..., None], 3, axis=2))
    elif mode == "I;16":
        image = Image.fromarray(numbers.astype(np.uint16))
    elif mode == "I":
        image = Image.fromarray(numbers.astype(np.int32))
    elif mode == "1":
        image = Image.fromarray(EXPECTED)
    else:
        image = Image.fromarray(numbers.astype(np.uint8))
    if mode == "P":
        image.putpalette([0, 0, 0, 200, 0, 0])
    path = tmp_path / ("000_mask.tiff" if mode == "I" else "000_mask.png")
    image.save(path)
    np.testing.assert_array_equal(read_mask(Mask((path,)), 12, 18), EXPECTED)


def test_a_mask_of_another_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "000_mask.png"
    Image.fromarray(EXPECTED).save(path)
    with pytest.raises(DatasetError, match=r"18 x 12 pixels, but its image has 12 x 18"):
        read_mask(Mask((path,)), 18, 12)


def test_a_file_that_is_not_an_image_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "000_mask.png"
    path.write_text("no image")
    with pytest.raises(ImageError):
        read_mask(Mask((path,)), 12, 18)


def test_several_masks_are_united(tmp_path: Path) -> None:
    halves = []
    for number, rows in enumerate((slice(0, 2), slice(2, 12))):
        half = np.zeros_like(EXPECTED)
        half[rows] = EXPECTED[rows]
        halves.append(tmp_path / f"{number}.png")
        Image.fromarray(half).save(halves[-1])
    np.testing.assert_array_equal(read_mask(Mask(tuple(halves)), 12, 18), EXPECTED)


def test_the_background_may_have_another_colour(tmp_path: Path) -> None:
    pixels = np.full((12, 18, 3), 255, dtype=np.uint8)
    pixels[EXPECTED] = (0, 255, 255)
    path = tmp_path / "mask.png"
    Image.fromarray(pixels).save(path)
    mask = Mask((path,), background=(255, 255, 255))
    np.testing.assert_array_equal(read_mask(mask, 12, 18), EXPECTED)


@pytest.mark.parametrize("kind", ["black", "several", "transparent"])
def test_a_mask_that_marks_nothing_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "000_mask.png"
    image = Image.fromarray(np.zeros_like(EXPECTED))
    if kind == "transparent":
        image = Image.fromarray(np.zeros((12, 18, 4), dtype=np.uint8))
        image.putalpha(Image.fromarray(np.where(EXPECTED, 255, 0).astype(np.uint8)))
    image.save(path)
    with pytest.raises(DatasetError, match=r"000_mask\.png marks no pixel; mark the anomaly"):
        read_mask(Mask((path, path) if kind == "several" else (path,)), 12, 18)


def test_a_jpeg_mask_is_thresholded_at_half(tmp_path: Path) -> None:
    pixels = np.zeros((64, 64), dtype=np.uint8)
    pixels[13:41, 22:50] = 255
    path = tmp_path / "000_mask.jpg"
    Image.fromarray(pixels).save(path, quality=75)
    np.testing.assert_array_equal(read_mask(Mask((path,)), 64, 64), pixels == 255)


@pytest.mark.parametrize("value", [255.0, 1.0, 65535.0, 3.0, 0.75])
def test_a_mask_of_floats_may_have_any_scale(tmp_path: Path, value: float) -> None:
    path = tmp_path / "000_mask.tiff"
    Image.fromarray(EXPECTED.astype(np.float32) * np.float32(value)).save(path)
    np.testing.assert_array_equal(read_mask(Mask((path,)), 12, 18), EXPECTED)


def test_a_mask_of_likelihoods_is_thresholded_at_half(tmp_path: Path) -> None:
    path = tmp_path / "000_mask.tiff"
    Image.fromarray(np.where(EXPECTED, 0.9, 0.1).astype(np.float32)).save(path)
    np.testing.assert_array_equal(read_mask(Mask((path,)), 12, 18), EXPECTED)


def test_a_mask_with_values_that_are_not_numbers_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "000_mask.tiff"
    Image.fromarray(np.where(EXPECTED, np.nan, 0).astype(np.float32)).save(path)
    with pytest.raises(ImageError, match="values that are not numbers"):
        read_mask(Mask((path,)), 12, 18)


@pytest.mark.parametrize("factor", [2, 3, 0.5])
def test_a_mask_with_the_same_proportions_is_scaled(tmp_path: Path, factor: float) -> None:
    path = tmp_path / "000_mask.png"
    coarse = np.zeros((24, 36), dtype=np.bool_)
    coarse[4:8, 8:24] = True
    size = (round(36 * factor), round(24 * factor))
    Image.fromarray(coarse).resize(size, Image.Resampling.NEAREST).save(path)
    changes: list[str] = []
    found = read_mask(Mask((path,)), 24, 36, on_change=changes.append)
    np.testing.assert_array_equal(found, coarse)
    assert changes == ["scaled"]


@pytest.mark.parametrize("size", [(20, 12), (18, 13), (36, 30)])
def test_a_mask_of_another_shape_belongs_to_another_image(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    path = tmp_path / "000_mask.png"
    Image.new("L", size, 255).save(path)
    with pytest.raises(DatasetError, match="belongs to another image"):
        read_mask(Mask((path,)), 12, 18)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_mask_of_the_stored_image_is_turned_like_it(
    tmp_path: Path, orientation: int, scale: int
) -> None:
    stored = np.full((12, 18), 90, dtype=np.uint8)
    stored[EXPECTED] = 200
    exif = Image.Exif()
    exif[0x0112] = orientation
    image, mask = tmp_path / "000.png", tmp_path / "000_mask.png"
    Image.fromarray(stored).save(image, exif=exif)
    Image.fromarray(EXPECTED).resize((18 * scale, 12 * scale)).save(mask)
    changes: list[str] = []
    found = read_mask(Mask((mask,)), 18, 12, image=image, on_change=changes.append)
    np.testing.assert_array_equal(found, decode(image).pixels[..., 0] > 150)
    assert changes == ["turned", "scaled"][:scale]


def test_a_mask_on_its_side_is_refused_without_an_orientation(tmp_path: Path) -> None:
    image, mask = tmp_path / "000.png", tmp_path / "000_mask.png"
    Image.new("L", (12, 18), 90).save(image)
    Image.fromarray(EXPECTED).save(mask)
    with pytest.raises(DatasetError, match=r"18 x 12 pixels, but .* lies on its side; turn it"):
        read_mask(Mask((mask,)), 18, 12, image=image)


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t"])
def test_pixels_inside_any_box_are_anomalous_edges_included(tmp_path: Path, separator: str) -> None:
    path = tmp_path / "000.TXT"
    boxes = [(2, 1, 9, 3, 1), (5, 1, 16, 3, 4)]
    path.write_text("\r\n\r\n".join(separator.join(map(str, box)) for box in boxes) + "\r\n")
    np.testing.assert_array_equal(read_mask(Mask((path,)), 12, 18), EXPECTED)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 0 1 1 1\n\n0 0 18 11 1", "line 3: box 0 0 18 11 is not inside its image of 18 x 12"),
        ("0 0 17 12 1", "line 1: box 0 0 17 12 is not inside its image"),
        ("-1 0 3 3 1", "line 1: expected five whole numbers, x1 y1 x2 y2 type, found '-1 0 3 3 1'"),
        ("0 0 3 3", "line 1: expected five whole numbers"),
        ("0 0 3 3 1 1", "line 1: expected five whole numbers"),
        ("0 0.5 0.5 1 1", "line 1: expected five whole numbers"),
        ("3 0 2 3 1", "line 1: box 3 0 2 3 ends before it begins"),
        ("0 3 3 2 1", "line 1: box 0 3 3 2 ends before it begins"),
        (" \n", r"000\.txt lists no box: expected a line x1 y1 x2 y2 type for each defect"),
    ],
)
def test_a_list_of_boxes_with_a_mistake_is_explained(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "000.txt"
    path.write_text(text)
    with pytest.raises(DatasetError, match=message) as error:
        read_mask(Mask((path,)), 12, 18)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
