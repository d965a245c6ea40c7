"""HEIC and AVIF, really encoded and decoded."""

from __future__ import annotations

import importlib
import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.datasets.collect import collect
from patchbank.environment import install_command
from patchbank.errors import ImageError, NoImagesError
from patchbank.vision import heif
from patchbank.vision.decoded_image import ImageLimits
from patchbank.vision.images import decode


def corner() -> npt.NDArray[np.uint8]:
    """Return 96 x 64 pixels that tell each turn from the others."""
    pixels = np.full((64, 96, 3), 40, np.uint8)
    pixels[:32, :32] = (220, 30, 30)
    return pixels


def encoded(kind: str, orientation: int = 1) -> bytes:
    image, buffer = Image.fromarray(corner()), io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = orientation
    importlib.import_module("pillow_heif").register_heif_opener()
    image.save(buffer, {"AVIF": "AVIF", "HEIC": "HEIF"}[kind], quality=100, exif=exif.tobytes())
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_a_photograph_is_decoded_whatever_it_is_called(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "photograph.jpg"
    file.write_bytes(encoded(kind))
    decoded = decode(file)
    assert decoded.format == kind
    difference = np.abs(decoded.pixels.astype(int) - corner())
    assert np.median(difference) <= 3
    assert difference[4:28, 4:28].max() <= 30


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_it_is_turned_upright_once(kind: str, orientation: int) -> None:
    turned = np.rot90(corner(), {1: 0, 3: 2, 6: 3, 8: 1}[orientation])
    decoded = decode(encoded(kind, orientation)).pixels
    assert decoded.shape == turned.shape
    assert np.median(np.abs(decoded.astype(int) - turned)) <= 3
    red = (decoded[..., 0] > 150) == (turned[..., 0] > 150)
    assert red.mean() > 0.97


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_a_file_that_was_cut_is_refused(kind: str, share: float) -> None:
    content = encoded(kind)
    with pytest.raises(ImageError, match=kind):
        decode(content[: int(share * len(content))], name="cut")


@pytest.mark.parametrize("kind", ["HEIC", "AVIF"])
def test_a_large_image_is_refused_before_it_is_decoded(kind: str) -> None:
    with pytest.raises(ImageError, match="more than the limit"):
        decode(encoded(kind), limits=ImageLimits(max_pixels=1000))


@pytest.fixture
def no_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Be an installation without the extra."""
    monkeypatch.setattr(heif, "can_read_heic", lambda: False)


def test_with_the_extra_a_folder_of_them_is_read(tmp_path: Path) -> None:
    for name in ("1.heic", "2.HEIC", "3.avif"):
        kind = "AVIF" if name.endswith("avif") else "HEIC"
        (tmp_path / name).write_bytes(encoded(kind))
    found = collect([tmp_path])
    assert [path.name for path in found.images] == ["1.heic", "2.HEIC", "3.avif"]
    assert found.remarks == ()


@pytest.mark.usefixtures("no_extra")
def test_without_the_extra_it_is_said_what_to_install(tmp_path: Path) -> None:
    (tmp_path / "1.heic").write_bytes(encoded("HEIC"))
    with pytest.raises(NoImagesError, match=r"1 \.heic file; .*pip install .*'patchbank\[heic\]'$"):
        collect([tmp_path])
    with pytest.raises(ImageError, match=r"pip install 'patchbank\[heic\]'$"):
        decode(tmp_path / "1.heic")
    Image.fromarray(corner()).save(tmp_path / "2.png")
    (remark,) = collect([tmp_path]).remarks
    assert remark == f"1 file not read: .heic; `{install_command('patchbank[heic]')}`"
    (remark,) = collect([tmp_path / "*"]).remarks
    assert remark.startswith("1 file not read: .heic")
