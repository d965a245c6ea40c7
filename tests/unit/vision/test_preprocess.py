from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchbank.errors import ParameterError
from patchbank.vision.preprocess import Preprocessing

RANDOM = np.random.default_rng(0)


def test_both_sides_are_resized_without_keeping_proportions() -> None:
    rows = np.zeros((60, 200, 3), np.uint8)
    rows[30:] = 240
    square = Preprocessing(64).apply(rows)
    assert square.shape == (64, 64, 3)
    assert square.dtype == np.uint8
    assert square[:30].max() == 0
    assert square[34:].min() == 240


def test_shrinking_averages_what_it_covers() -> None:
    fine = RANDOM.integers(0, 2, (640, 640, 1), np.uint8).repeat(3, axis=2) * np.uint8(255)
    square = Preprocessing(32).apply(fine)
    # Without antialiasing single pixels would come through as 0 and 255.
    assert square.std() < 12
    assert abs(square.mean() - 127.5) < 2


def test_an_image_of_the_right_size_is_left_alone() -> None:
    pixels = RANDOM.integers(0, 256, (48, 48, 3), np.uint8)
    assert np.array_equal(Preprocessing(48).apply(pixels), pixels)


@pytest.mark.parametrize("size", [(300, 300), (31, 77), (48, 48), (500, 20)])
def test_grey_gives_the_same_bits_as_colour(size: tuple[int, int]) -> None:
    pixels = RANDOM.integers(0, 256, (*size, 1), np.uint8).repeat(3, axis=2)
    for preprocessing in (Preprocessing(48), Preprocessing(64, 40)):
        once, thrice = preprocessing.apply(pixels, grey=True), preprocessing.apply(pixels)
        assert once.shape == thrice.shape
        assert np.array_equal(once, thrice)


def test_crop_takes_the_centre_of_the_resized_square() -> None:
    pixels = RANDOM.integers(0, 256, (100, 80, 3), np.uint8)
    whole = Preprocessing(64).apply(pixels)
    cropped = Preprocessing(64, 40)
    assert cropped.side == 40
    assert np.array_equal(cropped.apply(pixels), whole[12:52, 12:52])


@given(st.integers(32, 400), st.integers(32, 400), st.integers(8, 5000), st.integers(8, 5000))
def test_inspected_box_is_the_crop_in_the_original(
    first: int, second: int, width: int, height: int
) -> None:
    size, crop = max(first, second), min(first, second)
    x0, y0, x1, y1 = Preprocessing(size, crop).inspected_box(width, height)
    assert x1 - x0 == pytest.approx(width * crop / size)
    assert y1 - y0 == pytest.approx(height * crop / size)
    assert abs((x0 + x1) - width) <= width / size + 1e-6
    assert abs((y0 + y1) - height) <= height / size + 1e-6
    assert Preprocessing(size).inspected_box(width, height) == (0, 0, width, height)


@pytest.mark.parametrize(
    ("image_size", "crop", "words"),
    [
        (31, None, "image size is 31"),
        (2049, None, "image size is 2049"),
        (224.0, None, "image size is 224.0"),
        (True, None, "image size is True"),
        ("224", None, "image size is 224"),
        (224, 16, "center crop is 16"),
        (224, 256, "center crop 256 is larger than image size 224"),
    ],
)
def test_sizes_out_of_range(image_size: Any, crop: Any, words: str) -> None:
    with pytest.raises(ParameterError, match=words):
        Preprocessing(image_size, crop)


def test_without_rounding_values_lie_within_half_a_grey_value_of_the_rounded_ones() -> None:
    pixels = RANDOM.integers(0, 256, (300, 211, 3), np.uint8)
    rounded = Preprocessing(64, 40).apply(pixels)
    exact = Preprocessing(64, 40, "float32").apply(pixels)
    assert exact.dtype == np.float32
    # Rounded after each of the two directions.
    assert 0.1 < np.abs(exact - rounded).max() <= 1.01
    grey = np.ascontiguousarray(pixels[:, :, :1].repeat(3, axis=2))
    assert np.array_equal(
        Preprocessing(64, 40, "float32").apply(grey, grey=True),
        Preprocessing(64, 40, "float32").apply(grey),
    )


def test_an_image_of_the_right_size_is_the_same_without_rounding() -> None:
    pixels = RANDOM.integers(0, 256, (48, 48, 3), np.uint8)
    assert np.array_equal(Preprocessing(48, None, "float32").apply(pixels), pixels)


def test_an_unknown_resize_precision_is_refused() -> None:
    with pytest.raises(ParameterError, match="resize precision is 'int4'; give one of uint8"):
        Preprocessing(48, None, "int4")
