"""Images of any size and shape, seen through tiles."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from PIL import Image

from patchbank.errors import ParameterError
from patchbank.inspection.settings import make_fit_settings
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import stored_size
from tests.fixtures.surfaces import brushed


def tiled(tile: int = 64, **settings: Any) -> ExtractorSettings:
    return ExtractorSettings(image_size=tile, scale=settings.pop("scale", 1.0), **settings)


def picture(height: int, width: int, seed: int = 0) -> Any:
    image = Image.fromarray(brushed(seed)).resize((width, height))
    return np.asarray(image)


def test_an_image_of_one_tile_has_the_features_of_the_square() -> None:
    image = picture(64, 64)
    square = Extractor(ExtractorSettings(image_size=64)).extract([image])
    through = Extractor(tiled(64)).extract([image])
    assert np.array_equal(through.patches, square.patches)
    # An embedding is made of the pooled patches here.
    cosine = np.sum(through.embeddings * square.embeddings) / (
        np.linalg.norm(through.embeddings) * np.linalg.norm(square.embeddings)
    )
    assert cosine > 0.95


@pytest.mark.parametrize("layers", [("blocks.4",), ("blocks.4", "blocks.10")])
def test_patches_do_not_show_how_the_image_was_cut(layers: tuple[str, ...]) -> None:
    image = picture(960, 320)
    whole = Extractor(tiled(960, layers=layers)).extract_one(image).patches
    spread = np.linalg.norm(whole - whole.mean(axis=(0, 1)), axis=-1).mean()
    # Of default overlap.
    cut = Extractor(tiled(512, layers=layers)).extract_one(image).patches
    # Beyond, the larger tile repeats the last pixels where the smaller ones have ended.
    inside = (slice(None), slice(0, 20))
    difference = np.linalg.norm(cut - whole, axis=-1)[inside] / spread
    assert np.median(difference) < 0.01
    assert difference.max() < 0.1


def test_tiles_are_the_same_whoever_computes_them() -> None:
    images = [picture(100, 150, 1), picture(150, 100, 2), picture(20, 30, 3)]
    settings = tiled(64, overlap=32)
    with Extractor(settings, threads=2) as extractor:
        many = list(extractor.extract_many(images))
        one = [extractor.extract_one(image) for image in images]
    alone = Extractor(settings, threads=1)
    for image, first, second in zip(images, many, one, strict=True):
        assert isinstance(first, Extraction)
        assert first.patches.shape[:2] == extractor.grid_of(image.shape[1], image.shape[0])
        assert np.array_equal(first.patches, second.patches)
        assert np.array_equal(first.patches, alone.extract_one(image).patches)
        assert first.embedding.shape == (extractor.embedding_dimension,)


def test_what_is_behind_the_image_is_not_a_patch() -> None:
    image = picture(40, 200)
    found = Extractor(tiled(64)).extract_one(image)
    assert found.patches.shape[:2] == (5, 25)


def test_a_scale_resizes_and_keeps_the_shape() -> None:
    extractor = Extractor(tiled(64, scale=0.5))
    assert extractor.grid_of(400, 200) == (13, 25)
    image = picture(200, 400)
    small = np.asarray(Image.fromarray(image).resize((200, 100), Image.Resampling.BILINEAR))
    halved, native = extractor.extract_one(image), Extractor(tiled(64)).extract_one(small)
    assert np.array_equal(halved.patches, native.patches)


def test_images_of_different_sizes_are_extracted_one_by_one() -> None:
    with pytest.raises(ParameterError, match="extract them one by one"):
        Extractor(tiled(64)).extract([picture(64, 64), picture(64, 128)])


def test_older_fingerprints_stay() -> None:
    plain = ExtractorSettings(image_size=64)
    assert plain.fingerprint() == ExtractorSettings(image_size=64, scale=None).fingerprint()
    others = {
        tiled().fingerprint(),
        tiled(scale=0.5).fingerprint(),
        tiled(overlap=16).fingerprint(),
    }
    assert len(others | {plain.fingerprint()}) == 4
    for same in (1, np.float32(1), np.int64(1)):
        assert tiled(scale=same).fingerprint() == tiled().fingerprint()
    assert ExtractorSettings.from_json(tiled(overlap=16).to_json()) == tiled(overlap=16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 100}, "multiple of 16, such as 96"),
        ({"tile": 1}, "tile is 1; give a whole number from 32 to 2048"),
        ({"tile": 100_000}, "tile is 100000; give a whole number from 32 to 2048"),
        ({"overlap": 500}, "from 0 to 432; give another overlap or a larger tile"),
        ({"tile": 64, "overlap": 64}, "whole number from 0 to 48"),
        ({"tile": 64, "overlap": -1}, "whole number from 0 to 48"),
        ({"scale": 0.0}, "give a number from 0.01 to 8"),
        ({"scale": float("nan")}, "give a number from 0.01 to 8"),
        ({"scale": "1"}, "give a number from 0.01 to 8"),
        ({"scale": [1]}, "give a number from 0.01 to 8"),
        ({"scale": 1, "image_size": 64}, "image size is of a square"),
        ({"scale": 1, "center_crop": 64}, "center crop is of a square"),
    ],
)
def test_tiles_that_cannot_be_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        make_fit_settings(**options)


def test_a_size_is_read_from_the_header(tmp_path: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(picture(30, 50)).save(tmp_path / "turned.jpg", exif=exif)
    assert stored_size(tmp_path / "turned.jpg") == (30, 50)
    assert stored_size((tmp_path / "turned.jpg").read_bytes()) == (30, 50)
    assert stored_size(picture(30, 50)) == (50, 30)
    assert stored_size(Image.fromarray(picture(30, 50))) == (50, 30)
    (tmp_path / "none.png").write_bytes(b"none")
    for unusable in (tmp_path / "none.png", tmp_path / "missing.png", b"", b"none"):
        assert stored_size(unusable) is None
