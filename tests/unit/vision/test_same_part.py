"""What pictures of the same part have in common, and pictures of other parts have not."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from patchbank.vision.same_part import SIDE, SameParts, texture

Pixels = npt.NDArray[np.uint8]


def _sheet(seed: int, side: int = 200) -> Pixels:
    """Return material with grain of a few pixels."""
    random = np.random.default_rng(seed)
    small = random.integers(60, 200, (side // 2, side // 2), dtype=np.uint8)
    grain = np.asarray(Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC))
    return np.repeat(grain[..., None], 3, axis=2)


def _printed(sheet: Pixels, left: int) -> Pixels:
    """Return material with the same strong print, shifted."""
    image = Image.fromarray((sheet // 8 + 100).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    pen.rectangle((left + 40, 50, left + 140, 150), outline=(255, 255, 255), width=6)
    pen.line((left + 60, 60, left + 120, 140), fill=(0, 0, 0), width=8)
    return np.asarray(image)


def _noisy(pixels: Pixels, seed: int) -> Pixels:
    noise = np.random.default_rng(seed).normal(0, 3, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def _shared(images: list[Pixels]) -> npt.NDArray[np.float32]:
    found = SameParts([texture(pixels) for pixels in images])
    return found.shared(np.arange(len(images)))


def test_a_shifted_picture_of_the_same_part_is_told_from_other_parts() -> None:
    images = [_noisy(_sheet(seed)[:160, :160], seed) for seed in range(8)]
    twin = _noisy(_sheet(0)[20:180, 30:190], 99)
    shared = _shared([*images, twin])
    assert shared[0, 8] > 0.4
    assert shared[8, 0] > 0.4
    others = shared.copy()
    others[0, 8] = others[8, 0] = 0
    assert others.max() < 0.2
    np.testing.assert_array_equal(np.diag(shared), -1)


def test_what_all_parts_have_is_no_sign_of_the_same_part() -> None:
    """A print much stronger than the material, wherever the parts lie."""
    images = [_noisy(_printed(_sheet(seed), seed % 5), seed) for seed in range(12)]
    twin = _noisy(_printed(_sheet(3), 3), 99)
    shared = _shared([*images, twin])
    assert shared[3, 12] > 0.3
    others = shared.copy()
    others[3, 12] = others[12, 3] = 0
    assert others.max() < 0.2


def test_kinds_of_parts_are_no_single_parts() -> None:
    """Two prints, half of the parts each."""
    images = []
    for seed in range(16):
        part = _printed(_sheet(seed), 2)
        images.append(_noisy(part if seed % 2 else part[::-1, ::-1], seed))
    assert _shared(images).max() < 0.3


def test_flat_and_equal_images_have_no_texture() -> None:
    flat = np.full((50, 80, 3), 128, np.uint8)
    assert len(texture(flat)) == SIDE * SIDE
    shared = _shared([flat, flat, flat, _sheet(0)])
    assert np.isfinite(shared).all()
