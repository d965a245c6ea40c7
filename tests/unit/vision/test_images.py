from __future__ import annotations

import hashlib
import io
import os
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from patchbank.errors import ImageError
from patchbank.vision._orientation import exif_orientation
from patchbank.vision.decoded_image import DecodedImage, ImageLimits
from patchbank.vision.images import decode, thumbnail

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=8, max_side=20)


def picture(height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    """A smooth picture whose four corners differ, so that turning it shows."""
    rows, columns = np.mgrid[0:height, 0:width]
    channels = [
        rows * 200 / height,
        columns * 200 / width,
        (rows + columns) * 100 / (height + width),
    ]
    return np.stack(channels, axis=2).astype(np.uint8)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("WebP", {"lossless": True}, 0),
        ("JPEG", {"quality": 95}, 6),
    ],
)
def test_formats(tmp_path: Path, kind: str, options: dict[str, Any], tolerance: int) -> None:
    content = encoded(Image.fromarray(picture()), kind, **options)
    path = tmp_path / "no-suffix-needed"
    path.write_bytes(content)
    image = decode(path)
    assert (image.format, image.mode, image.name) == (kind, "RGB", str(path))
    assert (image.width, image.height) == (60, 40)
    assert image.sha256 == hashlib.sha256(content).hexdigest()
    assert image.pixels.flags.c_contiguous
    assert not image.pixels.flags.writeable
    assert np.abs(image.pixels.astype(int) - picture()).max() <= tolerance
    assert np.array_equal(decode(content).pixels, image.pixels)
    assert decode(content).name == ""
    assert decode(str(path)).sha256 == image.sha256


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WebP", "TIFF"])
def test_exif_orientation_is_applied(kind: str, orientation: int) -> None:
    upright = Image.fromarray(picture())
    undo = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    stored = upright if undo is None else upright.transpose(undo)
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(stored, kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))
    image = decode(content)
    assert (image.width, image.height) == (60, 40)
    tolerance = {"JPEG": 6, "WebP": 12}.get(kind, 0)
    assert np.abs(image.pixels.astype(int) - picture()).max() <= tolerance
    with Image.open(io.BytesIO(content)) as opened:
        assert np.array_equal(decode(opened).pixels, image.pixels)


@given(st.binary(max_size=80))
def test_any_exif_block_gives_an_orientation(block: bytes) -> None:
    for head in (b"", b"Exif\0\0II*\0", b"Exif\0\0MM\0*"):
        assert exif_orientation(head + block) in range(1, 9)


def test_grey_palette_and_one_bit() -> None:
    grey = picture()[:, :, 0]
    assert np.array_equal(
        decode(encoded(Image.fromarray(grey), "PNG")).pixels, np.repeat(grey[:, :, None], 3, axis=2)
    )
    colours = Image.fromarray(picture()).quantize(16)
    assert np.array_equal(
        decode(encoded(colours, "PNG")).pixels, np.asarray(colours.convert("RGB"))
    )
    bits = grey > 100
    one_bit = decode(encoded(Image.fromarray(bits), "PNG"))
    assert one_bit.mode == "1"
    assert np.array_equal(one_bit.pixels[:, :, 1], np.where(bits, 255, 0))


@pytest.mark.parametrize("mode", ["LA", "PA", "RGBA", "La", "RGBa"])
def test_transparency_shows_black(mode: str) -> None:
    alpha = np.zeros((40, 60), np.uint8)
    alpha[:, 20:40] = 128
    alpha[:, 40:] = 255
    image = Image.fromarray(np.dstack([picture(), alpha]))
    # Pillow converts from RGBA to these modes by different ways.
    steps = {"La": ["LA", "La"], "PA": ["PA"]}.get(mode, [mode])
    for step in steps:
        image = image.convert(step)
    pixels = decode(image).pixels.astype(int)
    assert pixels[:, :20].max() == 0
    if mode in ("RGBA", "RGBa"):
        assert np.array_equal(pixels[:, 40:], picture()[:, 40:])
        assert np.abs(pixels[:, 20:40] - picture()[:, 20:40] * (128 / 255)).max() <= 1.01
    else:
        assert pixels[:, 40:].max() > 100
        assert np.abs(pixels[:, 20:40].max() - pixels[:, 40:].max() / 2) < 25


@pytest.mark.parametrize("mode", ["1", "L", "LA", "La", "I", "I;16", "F"])
def test_what_is_called_grey_has_equal_channels(mode: str) -> None:
    grey = picture()[:, :, 0]
    if mode in ("I", "I;16"):
        wide = grey.astype(np.int32) * 257
        image = Image.fromarray(wide if mode == "I" else wide.astype(np.uint16))
    elif mode == "F":
        image = Image.fromarray(grey / np.float32(255))
    elif mode == "La":
        image = Image.fromarray(np.dstack([grey, 255 - grey]), "LA").convert("La")
    elif mode == "LA":
        image = Image.fromarray(np.dstack([grey, 255 - grey]), "LA")
    else:
        image = Image.fromarray(grey).convert(mode)
    decoded = decode(image)
    assert decoded.mode == mode
    assert decoded.grey
    assert decoded.pixels.max() > 50
    assert np.ptp(decoded.pixels, axis=2).max() == 0


def test_what_may_have_colours_is_not_called_grey() -> None:
    colours = Image.fromarray(picture())
    for mode in ("RGB", "RGBA", "P", "PA", "CMYK", "YCbCr", "HSV"):
        assert not decode(colours.convert(mode)).grey
    for array in (picture(), picture() / 255.0):
        assert not decode(array).grey


def test_transparent_colour_of_a_palette_shows_black() -> None:
    indices = np.zeros((20, 20), np.uint8)
    indices[:, 10:] = 1
    image = Image.fromarray(indices).convert("P")
    image.putpalette([255, 0, 0, 0, 255, 0])
    pixels = decode(encoded(image, "PNG", transparency=0)).pixels
    assert pixels[0, 0].tolist() == [0, 0, 0]
    assert pixels[0, 19].tolist() == [0, 255, 0]


def test_cmyk() -> None:
    cmyk = Image.fromarray(picture()).convert("CMYK")
    image = decode(encoded(cmyk, "JPEG", quality=95))
    assert image.mode == "CMYK"
    assert np.abs(image.pixels.astype(int) - picture()).max() <= 10


@given(hnp.arrays(np.uint16, SHAPES))
@settings(max_examples=40, deadline=None)
def test_sixteen_bits_have_a_fixed_scale(values: npt.NDArray[np.uint16]) -> None:
    expected = np.floor(values / 257 + 0.5).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        image = decode(encoded(Image.fromarray(values), kind))
        assert image.mode.startswith("I;16")
        assert np.array_equal(image.pixels[:, :, 2], expected)
    assert np.array_equal(decode(values).pixels[:, :, 0], expected)
    assert np.array_equal(decode(values.astype(">u2")).pixels[:, :, 0], expected)
    assert np.array_equal(decode(values.astype(np.int32)).pixels[:, :, 0], expected)
    stored = encoded(Image.fromarray(values.astype(np.int32)), "TIFF")
    assert np.array_equal(decode(stored).pixels[:, :, 0], expected)


def test_a_dark_sixteen_bit_image_stays_dark() -> None:
    assert decode(np.full((10, 10), 257, np.uint16)).pixels.max() == 1


@given(hnp.arrays(np.float32, SHAPES, elements=st.floats(0, 1, width=32)))
@settings(max_examples=40, deadline=None)
def test_floats_have_a_fixed_scale(values: npt.NDArray[np.float32]) -> None:
    from_file = decode(encoded(Image.fromarray(values), "TIFF"))
    assert from_file.mode == "F"
    for pixels in (from_file.pixels, decode(values).pixels, decode(values.astype(float)).pixels):
        assert np.abs(pixels[:, :, 0] - values.astype(float) * 255).max() <= 0.5 + 1e-4


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((9, 9), 1.5, np.float32), "scale them to 0..1"),
        (np.full((9, 9), -0.1), "scale them to 0..1"),
        (np.full((9, 9), np.nan, np.float32), "scale them to 0..1"),
        (np.full((9, 9), 70_000, np.int32), "scale them to 0..65535"),
        (np.full((9, 9), -1, np.int32), "scale them to 0..65535"),
        (np.zeros((9, 9), np.int64), "type int64"),
        (np.zeros((9, 9), complex), "type complex128"),
        (np.zeros((9, 9, 2), np.uint8), "shape"),
        (np.zeros(9, np.uint8), "shape"),
        (np.zeros((1, 1), np.uint8), "at least 8 x 8"),
        (np.zeros((0, 0), np.uint8), "at least 8 x 8"),
        (np.zeros((9, 7, 3), np.uint8), "at least 8 x 8"),
    ],
)
def test_arrays_that_are_no_images(array: npt.NDArray[Any], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        decode(array, name="camera 1")
    with pytest.raises(ImageError, match="camera 1"):
        decode(array, name="camera 1")


@given(hnp.arrays(np.uint8, st.tuples(st.integers(8, 16), st.integers(8, 16), st.just(4))))
@settings(max_examples=40, deadline=None)
def test_arrays_and_pillow_agree(values: npt.NDArray[np.uint8]) -> None:
    """A picture gives the same pixels as an array, a Pillow image and a file."""
    for channels in (1, 3, 4):
        array = values[:, :, 0] if channels == 1 else values[:, :, :channels]
        image = Image.fromarray(np.ascontiguousarray(array))
        from_array = decode(array).pixels
        assert np.array_equal(decode(image).pixels, from_array)
        assert np.array_equal(decode(encoded(image, "PNG")).pixels, from_array)
    assert np.array_equal(decode(values[:, :, :1]).pixels, decode(values[:, :, 0]).pixels)
    mask = values[:, :, 0] > 127
    assert np.array_equal(decode(mask).pixels, decode(Image.fromarray(mask)).pixels)


def test_decoding_does_not_share_memory_with_an_array() -> None:
    array = picture()
    image = decode(array)
    array[:] = 0
    assert image.pixels.max() > 0


def test_digest_tells_arrays_apart() -> None:
    array = picture()
    digests = {decode(one).sha256 for one in (array, array.swapaxes(0, 1), array // 2)}
    assert len(digests) == 3
    assert decode(array).sha256 == decode(array.copy()).sha256
    assert decode(Image.fromarray(array)).sha256 != decode(Image.fromarray(array // 2)).sha256


def test_only_the_first_frame_is_taken() -> None:
    frames = [Image.fromarray(np.full((20, 20, 3), value, np.uint8)) for value in (10, 200)]
    content = encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:])
    assert decode(content).pixels.max() == 10


def test_missing_folder_and_empty(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    for name, words in [
        ("missing.png", "does not exist"),
        ("", "is a folder"),
        ("empty.png", "is empty"),
        ("a\0b.png", "cannot be read"),
        ("x" * 300 + ".png", "cannot be read"),
    ]:
        with pytest.raises(ImageError, match=words) as caught:
            decode(tmp_path / name)
        assert len(str(caught.value).splitlines()) == 1


def test_a_line_break_in_a_name_stays_out_of_the_message(tmp_path: Path) -> None:
    path = tmp_path / "two\nlines.png"
    for content in (b"", b"text"):
        path.write_bytes(content)
        with pytest.raises(ImageError, match=r"two\\nlines") as caught:
            decode(path)
        assert str(caught.value).startswith(rf"{tmp_path}/two\nlines.png: ")


def test_pipes_and_devices_are_not_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(ImageError, match="device or a pipe"):
            decode(path)


def test_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "locked.png"
    path.write_bytes(encoded(Image.fromarray(picture()), "PNG"))
    path.chmod(0)
    if os.access(path, os.R_OK):
        # The superuser may read anything: the refusal has to come from somewhere.
        def refuse(*_: Any, **__: Any) -> None:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(ImageError, match=r"locked\.png: cannot be read; check its permissions"):
        decode(path)


def test_text_renamed(tmp_path: Path) -> None:
    path = tmp_path / "notes.png"
    path.write_text("this is no image")
    with pytest.raises(ImageError, match=r"notes\.png: is not an image of a known format"):
        decode(path)
    with pytest.raises(ImageError, match="not an image of a known format"):
        decode(encoded(Image.fromarray(picture()), "GIF"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "BMP", "WebP"])
def test_truncated_files(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    for part in (0.1, 0.5, 0.9):
        with pytest.raises(ImageError, match="save it again") as caught:
            decode(content[: int(part * len(content))], name="cut")
        assert len(str(caught.value).splitlines()) == 1


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_files_give_pixels_or_an_image_error(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(["JPEG", "PNG", "TIFF", "BMP", "WebP"]))
    content = bytearray(encoded(Image.fromarray(picture(16, 24)), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        shown = repr(decode(bytes(content), limits=ImageLimits(max_pixels=1_000_000)))
    except ImageError as error:
        shown = str(error)
    assert len(shown.splitlines()) == 1


def png_header(width: int, height: int) -> bytes:
    """The start of a PNG that claims to be of that size."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(3 * width + 1))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows)


@pytest.mark.serial
@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (12_000, 9_000)])
def test_bombs_are_refused_by_their_header(tmp_path: Path, width: int, height: int) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_header(width, height))
    start = time.perf_counter()
    with pytest.raises(ImageError, match=rf"bomb\.png: has {width} x {height} pixels"):
        decode(path)
    assert time.perf_counter() - start < 1.0


@pytest.mark.serial
@pytest.mark.parametrize("side", [16_383, 11_000])
def test_a_webp_bomb(side: int) -> None:
    size = (side - 1).to_bytes(3, "little") * 2
    canvas = b"VP8X" + struct.pack("<I", 10) + bytes(4) + size
    bits = (side - 1) | (side - 1) << 14
    picture_data = b"VP8L" + struct.pack("<I", 8) + b"\x2f" + struct.pack("<I", bits) + bytes(3)
    chunks = b"WEBP" + canvas + picture_data
    start = time.perf_counter()
    with pytest.raises(ImageError, match=r"bomb: .*use a smaller image"):
        decode(b"RIFF" + struct.pack("<I", len(chunks)) + chunks, name="bomb")
    assert time.perf_counter() - start < 1.0


def test_pillow_does_not_warn_below_our_own_limit() -> None:
    # Pillow warns from 89 million pixels, and warnings are errors here.
    with pytest.raises(ImageError, match="truncated"):
        decode(png_header(9_500, 9_500)[:-20])


def test_limits(tmp_path: Path) -> None:
    content = encoded(Image.fromarray(picture()), "BMP")
    path = tmp_path / "image.bmp"
    path.write_bytes(content)
    exact = ImageLimits(max_bytes=len(content), max_pixels=40 * 60)
    assert decode(path, limits=exact).width == 60
    for source in (path, content):
        with pytest.raises(ImageError, match="PATCHBANK_MAX_IMAGE_MEGABYTES"):
            decode(source, limits=ImageLimits(max_bytes=len(content) - 1))
    for one in (path, content, picture(), Image.fromarray(picture())):
        with pytest.raises(ImageError, match="PATCHBANK_MAX_IMAGE_MEGAPIXELS"):
            decode(one, limits=ImageLimits(max_pixels=40 * 60 - 1))


def test_a_single_pixel_is_refused() -> None:
    with pytest.raises(ImageError, match=r"only 1 x 1 pixels; give .* at least 8 x 8"):
        decode(encoded(Image.new("RGB", (1, 1)), "PNG"))


def test_unsupported_colours_and_sources() -> None:
    with pytest.raises(ImageError, match="colour mode LAB is not supported"):
        decode(Image.new("LAB", (20, 20)))
    with pytest.raises(ImageError, match="cannot use int"):
        decode(7)  # type: ignore[arg-type]
    with pytest.raises(ImageError, match="image: is empty"):
        decode(b"")


def test_decoded_image_checks_itself() -> None:
    with pytest.raises(ValueError, match="expected uint8 pixels"):
        DecodedImage(np.zeros((4, 4), np.uint8), "", "", "", "")
    with pytest.raises(ValueError, match="C-contiguous"):
        DecodedImage(np.zeros((4, 6, 3), np.uint8).swapaxes(0, 1), "", "", "", "")


def test_thumbnail_keeps_proportions() -> None:
    large = np.asarray(Image.fromarray(picture()).resize((1200, 800)))
    with Image.open(io.BytesIO(thumbnail(large, 96))) as small:
        assert (small.format, small.size) == ("JPEG", (96, 64))
        expected = np.asarray(Image.fromarray(picture()).resize((96, 64)))
        assert np.abs(np.asarray(small).astype(int) - expected).mean() < 3
    with Image.open(io.BytesIO(thumbnail(picture(), 128))) as small:
        assert small.size == (60, 40)
    with Image.open(io.BytesIO(thumbnail(np.zeros((3000, 8, 3), np.uint8), 100))) as small:
        assert small.size == (1, 100)
