from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from patchbank.vision.appearance import appearance_of
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.regions import Box, Regions

Pixels = npt.NDArray[np.uint8]


def texture(height: int = 224, width: int = 224) -> Pixels:
    random = np.random.default_rng(3)
    grey = Image.fromarray(random.integers(60, 140, (height, width, 3), np.uint8))
    return np.asarray(grey.filter(ImageFilter.GaussianBlur(1)))


def test_brightness_is_the_mean_grey_value() -> None:
    pixels = texture(120, 200)
    assert appearance_of(pixels, None).brightness == pytest.approx(pixels[1:-1].mean(), rel=1e-6)


def test_sharpness_of_known_pixels() -> None:
    # Every other column is 30, the others 10: each second difference along a row is 40.
    pixels = np.full((40, 40, 3), 10, np.uint8)
    pixels[:, ::2] = 30
    assert appearance_of(pixels, None).sharpness == pytest.approx(40 / 20)


def test_light_changes_the_brightness_alone_and_a_blur_the_sharpness_alone() -> None:
    pixels = texture()
    before = appearance_of(pixels, None)
    brighter = appearance_of((pixels.astype(np.float32) * 1.1).astype(np.float32), None)
    assert brighter.brightness == pytest.approx(1.1 * before.brightness)
    assert brighter.sharpness == pytest.approx(before.sharpness)
    blurred = np.asarray(Image.fromarray(pixels).filter(ImageFilter.GaussianBlur(1)))
    after = appearance_of(blurred, None)
    assert after.brightness == pytest.approx(before.brightness, rel=0.01)
    assert after.sharpness < 0.7 * before.sharpness


def test_a_large_image_is_read_in_part_and_tells_the_same() -> None:
    whole = texture(1200, 1600)
    part = appearance_of(whole, None)
    assert part.brightness == pytest.approx(whole.mean(), rel=0.01)
    small = appearance_of(whole[:170, :170], None)
    assert part.sharpness == pytest.approx(small.sharpness, rel=0.05)


def test_hidden_pixels_do_not_count() -> None:
    pixels = texture(100, 100)
    hidden = np.zeros((100, 100), np.bool_)
    hidden[:, 40:70] = True
    expected = appearance_of(pixels, hidden)
    changed = pixels.copy()
    changed[:, 40:70] = 255
    assert appearance_of(changed, hidden) == expected
    assert appearance_of(changed, None).brightness > 1.2 * expected.brightness


def test_little_that_is_visible_is_read() -> None:
    pixels = texture(1200, 1600)
    hidden = np.ones((1200, 1600), np.bool_)
    hidden[5:9, 700:760] = False
    found = appearance_of(pixels, hidden)
    assert found.brightness == pytest.approx(pixels[5:9, 700:760].mean(), rel=1e-6)
    assert 0 < found.sharpness < 1


@pytest.mark.parametrize("scale", [None, 1.0])
def test_of_an_extraction_is_what_is_inspected(tmp_path: Path, scale: float | None) -> None:
    pixels = texture(160, 160)
    lit = pixels.copy()
    lit[:, :80] = np.minimum(lit[:, :80].astype(int) + 90, 255)
    regions = Regions(ignore=(Box(0, 0, 50, 100, in_percent=True),))
    with Extractor(ExtractorSettings(image_size=160, scale=scale, regions=regions)) as extractor:
        first, second = (extractor.extract_one(image) for image in (pixels, lit))
    assert isinstance(first, Extraction)
    assert first.appearance.brightness == pytest.approx(pixels[:, 80:].mean(), rel=0.01)
    assert second.appearance.brightness == first.appearance.brightness
