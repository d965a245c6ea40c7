"""Images of 16 bits, of which fewer may hold values."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.errors import ImageError, ParameterError
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode, largest_value
from tests.fixtures.sixteen_bits import png, tiff

TWELVE = np.random.default_rng(0).integers(0, 4096, (20, 30, 4)).astype(np.uint16)
TWELVE[0, 0] = 4095


def files(values: npt.NDArray[np.uint16]) -> dict[str, bytes]:
    found = {f"{values.shape[2]}.png": png(values)}
    if values.shape[2] != 2:
        for order in "<>":
            for compressed in (False, True):
                name = f"{values.shape[2]}{order}{compressed}.tif"
                found[name] = tiff(values, order=order, compressed=compressed)
    return found


@pytest.mark.parametrize("channels", [1, 3])
def test_values_of_twelve_bits_are_scaled_by_twelve(channels: int) -> None:
    values = TWELVE[:, :, :channels]
    expected = np.rint(values / 4095 * 255).astype(np.uint8)
    for name, content in files(values).items():
        found = decode(content, name=name, bit_depth=12).pixels
        assert np.abs(found.astype(int) - expected).max() == 0, name
    array = values[:, :, 0] if channels == 1 else values
    assert np.array_equal(
        decode(array, bit_depth=12).pixels, np.broadcast_to(expected, (20, 30, 3))
    )
    if channels == 1:
        for image in (Image.fromarray(array), Image.fromarray(array.astype(np.int32))):
            found = decode(image, bit_depth=12).pixels
            assert np.array_equal(found, np.broadcast_to(expected, (20, 30, 3)))


@pytest.mark.parametrize("channels", [2, 4])
def test_transparency_has_a_scale_of_its_own(channels: int) -> None:
    for top in (4095, 65535):
        values = TWELVE[:, :, :channels].copy()
        values[:, :, -1] = top
        shown = values[:, :, :1] if channels == 2 else values[:, :, :3]
        expected = np.broadcast_to(np.rint(shown / 4095 * 255).astype(np.uint8), (20, 30, 3))
        for name, content in files(values).items():
            assert np.array_equal(decode(content, name=name, bit_depth=12).pixels, expected), name
        if channels == 4:
            assert np.array_equal(decode(values, bit_depth=12).pixels, expected)


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_without_a_depth_and_with_all_16_bits_it_is_as_it_was(channels: int) -> None:
    """Banks that are stored depend on it: of colours in files the high byte."""
    values = np.random.default_rng(1).integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    for name, content in files(values).items():
        found = decode(content, name=name).pixels
        assert np.array_equal(found, decode(content, name=name, bit_depth=16).pixels), name
        if channels == 3:
            assert np.array_equal(found, values >> 8), name
    for depth in (None, 16):
        settings = ExtractorSettings(bit_depth=depth)
        assert settings.fingerprint() == ExtractorSettings().fingerprint()
    assert ExtractorSettings(bit_depth=12).fingerprint() != ExtractorSettings().fingerprint()


def test_eight_bits_are_left_alone() -> None:
    eight = (TWELVE[:, :, :3] >> 4).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(eight).save(buffer, "PNG")
    assert np.array_equal(decode(buffer.getvalue(), bit_depth=12).pixels, eight)
    assert np.array_equal(decode(eight, bit_depth=12).pixels, eight)


def test_a_value_beyond_the_depth_is_refused() -> None:
    values = TWELVE[:, :, :3].copy()
    values[3, 3, 1] = 4096
    message = (
        r"x: has values up to 4096, but the bit depth .* 12, only allows 4095; .*--bit-depth 14"
    )
    sources: list[ImageSource] = [values, *files(values).values()]
    sources += files(values[:, :, 1:2]).values()
    for content in sources:
        with pytest.raises(ImageError, match=message):
            decode(content, bit_depth=12, name="x")


def test_a_stored_orientation_is_applied(tmp_path: Path) -> None:
    path = tmp_path / "turned.tif"
    image = Image.fromarray(TWELVE[:, :, 0])
    image.save(path, tiffinfo={0x0112: 6})
    assert decode(path, bit_depth=12).pixels.shape == (30, 20, 3)
    assert np.array_equal(decode(path, bit_depth=12).pixels[0, -1], [255, 255, 255])


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
def test_the_largest_value_is_found(channels: int, tmp_path: Path) -> None:
    values = TWELVE[:, :, :channels] // 2
    if channels in (2, 4):
        values[:, :, -1] = 65535
    for name, content in files(values).items():
        path = tmp_path / name
        path.write_bytes(content)
        assert largest_value(content) == largest_value(path) == 2047, name
    if channels != 2:
        assert largest_value(values) == 2047


def test_other_images_are_not_read_for_it(tmp_path: Path) -> None:
    eight = (TWELVE[:, :, :3] >> 4).astype(np.uint8)
    for kind in ("PNG", "TIFF", "BMP", "JPEG", "WebP"):
        buffer = io.BytesIO()
        Image.fromarray(eight).save(buffer, kind)
        assert largest_value(buffer.getvalue()) is None
    broken = tmp_path / "broken.png"
    broken.write_bytes(png(TWELVE)[:200])
    for source in (
        eight,
        eight / 255,
        Image.fromarray(eight),
        b"",
        b"text",
        broken,
        tmp_path / "no",
    ):
        assert largest_value(source) is None


@pytest.mark.parametrize("depth", [0, 7, 17, 12.0, True])
def test_depths_that_are_none(depth: int) -> None:
    with pytest.raises(ParameterError, match="give 8 to 16, such as 12"):
        ExtractorSettings(bit_depth=depth)
