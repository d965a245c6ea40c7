"""Files that are damaged in ways a viewer does not mind."""

from __future__ import annotations

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image, ImageFilter

from patchbank.errors import ImageError
from patchbank.vision.images import decode, largest_value

GREY = np.asarray(
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 80), np.uint8)).filter(
        ImageFilter.GaussianBlur(1)
    )
)
ROWS = b"".join(b"\0" + row.tobytes() for row in GREY)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check


def png(*data: bytes, end: bytes = chunk(b"IEND", b""), interlaced: bool = False) -> bytes:
    height, width = GREY.shape
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, interlaced)
    body = b"".join(chunk(b"IDAT", one) for one in data)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + end


def interlaced_rows(values: npt.NDArray[np.uint8]) -> bytes:
    """The rows of Adam7's seven passes, not compressed."""
    passes = ["0:8,0:8", "0:8,4:8", "4:8,0:4", "0:4,2:4", "2:4,0:2", "0:2,1:2", "1:2,0:1"]
    found = b""
    for one in passes:
        (row, down), (column, right) = (map(int, part.split(":")) for part in one.split(","))
        found += b"".join(b"\0" + line.tobytes() for line in values[row::down, column::right])
    return found


def test_a_whole_png_is_taken() -> None:
    data = zlib.compress(ROWS)
    for content in (
        png(data),
        png(data[:100], data[100:]),
        png(zlib.compress(interlaced_rows(GREY)), interlaced=True),
        png(data, end=chunk(b"tEXt", b"Title\0x") + chunk(b"IEND", b"")),
        png(data) + b"what a program left behind",
    ):
        assert np.array_equal(decode(content).pixels[:, :, 0], GREY)


def test_a_png_with_black_last_rows_is_taken() -> None:
    dark = GREY.copy()
    dark[-5:] = 0
    for kind in ({}, {"bits": 4}):
        image = Image.fromarray(dark)
        image = image.quantize(16) if kind else image
        expected = np.asarray(image.convert("RGB"))
        assert np.array_equal(decode(encoded(image, "PNG", **kind)).pixels, expected)
    rows = interlaced_rows(dark)
    content = png(zlib.compress(rows), interlaced=True)
    assert np.array_equal(decode(content).pixels[:, :, 0], dark)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (png(zlib.compress(ROWS), end=b""), "end chunk is missing"),
        (png(zlib.compress(ROWS), end=chunk(b"IEND", b"")[:-1]), "truncated"),
        (png(zlib.compress(ROWS), end=chunk(b"IEND", b"")[:-4] + b"1234"), "checksum of its IEND"),
        (
            png(zlib.compress(ROWS), end=chunk(b"tEXt", b"x")[:-1] + b"?" + chunk(b"IEND", b"")),
            "checksum of its tEXt",
        ),
        (png(zlib.compress(ROWS[:-81])), "rows are missing"),
        (png(zlib.compress(ROWS[: len(ROWS) // 2])), "rows are missing"),
        (png(zlib.compress(interlaced_rows(GREY)[:-162]), interlaced=True), "rows are missing"),
        (png(zlib.compress(ROWS)[:-300]), "truncated"),
    ],
)
def test_a_png_that_is_not_whole_is_refused(content: bytes, words: str) -> None:
    with pytest.raises(ImageError, match=rf"x\.png: is damaged .*{words}.*; save it again"):
        decode(content, name="x.png")


def test_any_changed_byte_of_a_png_is_noticed() -> None:
    content = png(zlib.compress(ROWS))
    for place in range(8, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 0x10
        with pytest.raises(ImageError):
            decode(bytes(changed))


def cut(content: bytes) -> bytes:
    return content[:-20]


def zeroed(content: bytes) -> bytes:
    """The file with a fiftieth of its bytes at zero, as after an interrupted copy."""
    middle, length = len(content) // 2, max(1, len(content) // 50)
    return content[:middle] + bytes(length) + content[middle + length :]


def shortened(content: bytes) -> bytes:
    """The first half of the file, with the end that its format asks for."""
    return content[: len(content) // 2] + content[-2:]


@pytest.mark.parametrize(
    ("kind", "options", "damage"),
    [
        ("PNG", {}, zeroed),
        ("PNG", {}, cut),
        ("JPEG", {}, cut),
        ("JPEG", {}, shortened),
        ("JPEG", {"progressive": True}, shortened),
        ("JPEG", {"restart_marker_rows": 1}, shortened),
        ("JPEG", {"subsampling": 0, "quality": 95}, shortened),
        ("BMP", {}, cut),
        ("TIFF", {}, cut),
        ("TIFF", {"compression": "tiff_lzw"}, cut),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, cut),
        ("WebP", {}, cut),
        ("WebP", {"lossless": True}, cut),
    ],
)
def test_damaged_files_are_refused(
    kind: str, options: dict[str, Any], damage: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    content = encoded(Image.fromarray(GREY).convert("RGB"), kind, **options)
    assert decode(content).height == len(GREY)
    path = tmp_path / "part.img"
    path.write_bytes(damage(content))
    with pytest.raises(ImageError, match=r"part\.img: is damaged .*save it again"):
        decode(path)
    # Pillow's WebP and TIFF readers may refuse it at once.
    if kind in ("PNG", "JPEG", "BMP"):
        with Image.open(path) as opened:
            for _ in range(2):
                with pytest.raises(ImageError, match=r"image: is damaged .*save it again"):
                    decode(opened)


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("depth", [8, 16])
def test_rows_that_an_opened_png_lacks_are_noticed(depth: int) -> None:
    values = GREY if depth == 8 else GREY.astype(np.uint16) * 257
    content = encoded(Image.fromarray(values), "PNG")
    rows = b"".join(b"\0" + row.astype(">u2" if depth == 16 else "u1").tobytes() for row in values)
    half = content[:33] + chunk(b"IDAT", zlib.compress(rows[: len(rows) // 2])) + content[-12:]
    image = opened(half)
    # To look for the largest value first, or to ask twice, changes nothing.
    assert largest_value(image) is None
    for _ in range(2):
        with pytest.raises(ImageError, match=r"is damaged .*its last rows are missing"):
            decode(image)
    assert np.array_equal(decode(opened(content)).pixels, decode(content).pixels)


def test_an_opened_jpeg_of_several_frames_is_checked() -> None:
    frame = Image.fromarray(GREY).convert("RGB")
    smaller = frame.resize((40, 32))
    content = encoded(frame, "MPO", save_all=True, append_images=[smaller])
    assert opened(content).format == "MPO"
    assert np.array_equal(decode(opened(content)).pixels, decode(content).pixels)
    second = opened(content)
    second.seek(1)
    assert decode(second).pixels.shape == (32, 40, 3)
    middle = content.index(b"\xff\xda") + 200
    damaged = content[:middle] + b"\xff\xd9" + content[middle + 2 :]
    for source in (damaged, opened(damaged)):
        with pytest.raises(ImageError, match=r"is damaged .*Corrupt JPEG data"):
            decode(source)


def test_a_jpeg_opened_at_a_reduced_size_is_taken_if_it_is_whole() -> None:
    content = encoded(Image.fromarray(GREY).convert("RGB"), "JPEG")
    for data, whole in ((content, True), (shortened(content), False)):
        image = opened(data)
        image.draft("RGB", (40, 30))
        if whole:
            assert decode(image).pixels.shape == (30, 40, 3)
        else:
            with pytest.raises(ImageError, match="is damaged"):
                decode(image)


def test_an_opened_image_that_is_closed_is_to_be_opened_again(tmp_path: Path) -> None:
    path = tmp_path / "part.png"
    path.write_bytes(encoded(Image.fromarray(GREY), "PNG"))
    verified = Image.open(path)
    verified.verify()
    with Image.open(path) as closed:
        pass
    with path.open("rb") as file:
        without_file = Image.open(file)
    for image in (verified, closed, without_file):
        with pytest.raises(
            ImageError, match=r"^part: cannot be read \(its file was closed.*again$"
        ):
            decode(image, name="part")


def test_messages_are_about_the_file_and_not_about_code() -> None:
    whole = png(zlib.compress(ROWS))
    for end in range(8, 60):
        with pytest.raises(ImageError) as raised:
            decode(whole[:end])
        assert not re.search("unpack|buffer|NoneType|object|Error|index", str(raised.value))


def remarked(content: bytes, remark: str) -> bytes:
    """A JPEG whose decoder has a remark that no pixel depends on."""
    if remark == "version":
        return content.replace(b"JFIF\0\1", b"JFIF\0\2", 1)
    if remark == "profile":
        profile = b"ICC_PROFILE\0\1\2 the first of two"
        segment = b"\xff\xe2" + struct.pack(">H", len(profile) + 2) + profile
        return content.replace(b"\xff\xdb", segment + b"\xff\xdb", 1)
    assert remark == "parameters"
    return content.replace(b"\0\x3f\0", b"\0\0\0", 1)


@pytest.mark.parametrize("remark", ["version", "profile", "parameters"])
@pytest.mark.parametrize("mode", ["RGB", "CMYK"])
def test_a_remark_of_the_decoder_is_no_damage_and_hides_none(mode: str, remark: str) -> None:
    if mode == "CMYK" and remark == "version":
        return  # such a file has no JFIF header
    content = encoded(Image.fromarray(GREY).convert(mode), "JPEG")
    odd = remarked(content, remark)
    assert odd != content
    assert np.array_equal(decode(odd).pixels, decode(content).pixels)
    assert np.array_equal(decode(opened(odd)).pixels, decode(content).pixels)
    with pytest.raises(ImageError, match="Corrupt JPEG data"):
        decode(remarked(shortened(content), remark))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0", "4:1:1"])
def test_a_whole_jpeg_has_the_pixels_that_pillow_gives(subsampling: str, progressive: bool) -> None:
    """Banks that are stored were made of these."""
    random = np.random.default_rng(1)
    for height, width in ((8, 9), (33, 100), (64, 65)):
        for mode in ("RGB", "L", "CMYK"):
            channels = {"RGB": 3, "L": 1, "CMYK": 4}[mode]
            values = random.integers(0, 256, (height, width, channels), np.uint8)
            image = Image.fromarray(values[:, :, 0] if mode == "L" else values, mode)
            options: dict[str, Any] = {} if mode != "RGB" else {"subsampling": subsampling}
            content = encoded(image, "JPEG", progressive=progressive, **options)
            with Image.open(io.BytesIO(content)) as opened:
                expected = np.asarray(opened.convert("RGB"))
            assert np.array_equal(decode(content).pixels, expected)
            assert np.array_equal(decode(content + b"a trailer").pixels, expected)
            with Image.open(io.BytesIO(content)) as opened:
                assert np.array_equal(decode(opened).pixels, expected)


def test_a_damaged_jpeg_of_four_colours_is_refused() -> None:
    image = Image.fromarray(GREY).convert("CMYK")
    with pytest.raises(ImageError, match="is damaged"):
        decode(shortened(encoded(image, "JPEG")))


def test_a_jpeg_is_turned_as_it_says() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(Image.fromarray(GREY), "JPEG", exif=exif.tobytes())
    plain = decode(encoded(Image.fromarray(GREY), "JPEG")).pixels
    assert np.array_equal(decode(content).pixels, np.rot90(plain, -1))


def test_most_jpegs_with_zeros_in_the_middle_are_refused() -> None:
    """What zeros stand for is up to the codes beside them: only the decoder's warnings can tell."""
    random = np.random.default_rng(2)
    refused = 0
    for _ in range(20):
        pixels = Image.fromarray(random.integers(0, 256, (200, 200, 3), np.uint8))
        content = encoded(pixels.filter(ImageFilter.GaussianBlur(2)), "JPEG", quality=90)
        try:
            decode(zeroed(content))
        except ImageError:
            refused += 1
    assert refused >= 15
