"""Images seen through tiles: what is judged, said and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.errors import ImageError, ParameterError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.keeping.manage import show_category
from patchbank.inspection.keeping.transfer import export_bank, import_bank_file
from patchbank.inspection.learning.calibrate import calibrate
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.learning.resolution import settled_resolution
from patchbank.inspection.settings import FitSettings, make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.store.bank_size import bytes_of
from patchbank.store.database import Database
from patchbank.vision.decoded_image import ImageLimits
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantise import quantise


def board(seed: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a surface with grain, uint8 (height, width, 3)."""
    grey = np.random.default_rng(seed).normal(120, 20, (height, width))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def boards(count: int, height: int, width: int) -> tuple[list[npt.NDArray[np.uint8]], list[str]]:
    names = [f"{number}.png" for number in range(count)]
    return [board(number, height, width) for number in range(count)], names


def test_the_room_is_checked_for_the_bank_that_was_chosen(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, names = boards(5, 400, 600)
    needed: list[int] = []
    monkeypatch.setattr(Database, "check_room", lambda _, size: needed.append(size))
    settings = make_fit_settings(budget_ms=1e6, layers="blocks.4")
    bank = fit(workspace, "board", images, settings, names=names).bank
    assert bank.settings.extractor.scale == 1.0
    assert needed[0] >= bytes_of(bank.content)


def test_small_regions_of_large_images_are_outlined() -> None:
    settings = FitSettings(make_fit_settings(scale=1.0, tile=224, layers="blocks.4").extractor)
    patches = np.zeros((375, 500, 2), np.float32)
    patches[100:160, 100:160] = 8.0
    # A scratch or a dot of about 20 pixels.
    patches[300:303, 400:403] = 8.0
    judge = Judge(np.zeros((1, 2), np.float32), settings, Calibration((1.0,), (1.0,), "top8"))
    large, small = judge(patches, 4000, 3000).regions
    assert large.area_pixels > 100 * small.area_pixels
    x, y = small.peak_xy
    assert (x // 8, y // 8) == (401, 301)


def test_what_a_fit_chose_is_kept_with_the_bank(workspace: Workspace, tmp_path: Path) -> None:
    images, names = boards(5, 240, 400)
    settings = make_fit_settings(layers="blocks.4", budget_ms=1e6)
    bank = fit(workspace, "board", images, settings, names=names).bank
    (line,) = [text for text in bank.remarks if text.startswith("resolution chosen: ")]
    chosen = line.removeprefix("resolution chosen: ")
    assert "(budget 1e+06 ms)" in chosen
    assert show_category(workspace, "board")["settings"]["resolution"] == chosen
    export_bank(workspace, "board", tmp_path / "board.bank")
    import_bank_file(workspace, tmp_path / "board.bank", category="copy")
    more = [board(100 + number, 240, 400) for number in range(5)]
    calibrate(workspace, "copy", more, names=[f"more {name}" for name in names])
    assert show_category(workspace, "copy")["settings"]["resolution"] == chosen


@pytest.mark.parametrize("text", [1, "a" * 3000])
def test_what_a_fit_chose_is_a_line(text: Any) -> None:
    with pytest.raises(ParameterError, match="must be a line of text"):
        FitSettings.from_json({"resolution": text}, ExtractorSettings())


def test_many_patches_in_tiles_are_not_all_kept(workspace: Workspace) -> None:
    # Of the size of 400 boards, which a header alone tells.
    images = [np.zeros((640, 640, 3), np.uint8)] * 400
    names = [str(number) for number in range(400)]
    for options, ratio in (
        ({}, 25_000 / (400 * 6400)),
        ({"tile": 320}, 25_000 / (400 * 6400)),
        ({"coreset_ratio": 0.1}, 0.1),
    ):
        asked = make_fit_settings(scale=1.0, layers="blocks.4", **options)
        settings, _ = settled_resolution(workspace, images, names, asked)
        assert settings.coreset_ratio == ratio


def test_tiles_larger_than_all_images_are_said(workspace: Workspace) -> None:
    images, names = boards(3, 100, 150)
    for tile, scale, enough in ((512, 1.0, "160"), (160, 1.0, ""), (160, 0.5, "80")):
        asked = make_fit_settings(tile=tile, scale=scale)
        settings, lines = settled_resolution(workspace, images, names, asked)
        assert settings.extractor == asked.extractor
        said = [f"use --tile {enough}," in line for line in lines]
        assert said == ([True] if enough else [])


def test_very_different_sizes_are_counted_at_a_given_scale_too(workspace: Workspace) -> None:
    images = [*boards(3, 100, 150)[0], *boards(3, 200, 300)[0]]
    names = [str(number) for number in range(6)]
    options: dict[str, Any] = {"scale": 1.0, "tile": 64, "coreset_ratio": 0.1, "layers": "blocks.4"}
    _, (line,) = settled_resolution(workspace, images, names, make_fit_settings(**options))
    assert line.startswith("images have very different sizes (3 of 150 x 100, 3 of 300 x 200)")


def test_an_image_unlike_all_references_in_size_is_said(workspace: Workspace) -> None:
    images, names = boards(6, 100, 150)
    settings = make_fit_settings(scale=1.0, tile=160, layers="blocks.4")
    fit(workspace, "board", images, settings, names=names)
    inspector = Inspector(workspace, "board")
    assert not inspector.inspect(board(10, 100, 150)).remarks
    assert not inspector.inspect(board(10, 110, 140)).remarks
    for in_database in (False, True):
        half = Inspector(workspace, "board", in_database=in_database).inspect(board(10, 50, 75))
        (said,) = half.remarks
        assert said.startswith("has 75 x 50 pixels, unlike every reference (150 x 100): a part")
    (turned,) = inspector.inspect(board(10, 150, 100)).remarks
    assert turned.startswith("has 100 x 150 pixels")
    more = [*(board(20 + number, 100, 150) for number in range(4)), board(30, 50, 75)]
    report = calibrate(workspace, "board", more, names=list("abcde"), force=True)
    (said,) = [line for line in report.remarks if "unlike every reference" in line]
    assert said.startswith("1 of 5 images have a size, such as 75 x 50,")


def test_squares_may_come_of_any_size(workspace: Workspace) -> None:
    images, names = boards(5, 100, 100)
    fit(workspace, "board", images, make_fit_settings(image_size=64), names=names)
    assert not Inspector(workspace, "board").inspect(board(10, 50, 50)).remarks


def test_what_is_too_much_at_a_scale_is_refused() -> None:
    enlarged = Extractor(ExtractorSettings(scale=8.0, image_size=64, layers=("blocks.4",)))
    with pytest.raises(ImageError, match=r"40 x 30 pixels are more than 0\.05 megapixels"):
        enlarged.extract_one(board(0, 30, 40), limits=ImageLimits(max_pixels=50_000))
    native = Extractor(ExtractorSettings(scale=1.0, image_size=32, layers=("blocks.4",), overlap=0))
    with pytest.raises(ImageError, match=r"part\.png: 262160 x 8 .* more than 32,768 patches in a"):
        native.extract_one(board(0, 8, 262_160), name="part.png")


@pytest.mark.slow
def test_one_layer_is_quantised_in_tiles() -> None:
    settings = ExtractorSettings(scale=1.0, image_size=64, layers=("blocks.4",), precision="int8")
    pieces = np.stack([board(number, 64, 64) for number in range(8)])
    exact = Extractor(ExtractorSettings(scale=1.0, image_size=64, layers=("blocks.4",)))
    found = Extractor(settings, quantised=quantise(settings, pieces)).extract([board(9, 64, 150)])
    expected = exact.extract([board(9, 64, 150)]).patches
    spread = np.linalg.norm(expected - expected.mean(axis=(1, 2)), axis=-1).mean()
    assert np.linalg.norm(found.patches - expected, axis=-1).mean() < 0.2 * spread


# Portrait, landscape, 1 to 8, smaller than a tile; none a multiple of 8.
SHAPES = [(203, 131), (131, 203), (45, 365), (365, 45), (37, 61)]


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_behind_the_border_is_neither_learned_nor_judged(
    shape: tuple[int, int], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, names = boards(5, *shape)
    settings = make_fit_settings(scale=1.0, tile=128, layers="blocks.4", coreset_ratio=1.0)
    bank = learn(workspace, images, settings, names=names)
    rows, columns = ((side + 4) // 8 for side in shape)
    assert bank.patches == 5 * rows * columns
    # All patches are in the bank, where no two are equal, each with its centre in the image.
    assert len(bank.features) == bank.patches
    assert (8 * bank.content.patch_row + 4 <= shape[0]).all()
    assert (8 * bank.content.patch_column + 4 <= shape[1]).all()
    assert set(bank.content.patch_row) == set(range(rows))
    assert set(bank.content.patch_column) == set(range(columns))
    extractor, judge = (
        workspace.extractor(settings.extractor),
        Judge(bank.features, bank.settings, bank.calibration),
    )
    new = board(10, *shape)
    before = extractor.extract_one(new)
    judged = judge(before.patches, shape[1], shape[0])
    assert judged.inspected_box == (0, 0, shape[1], shape[0])
    assert judged.full_map().shape == shape
    assert np.isfinite(judged.full_map()).all()

    def noise(pixels: Any, width: Any, mode: str) -> Any:
        padded = np.pad(pixels, width, mode="edge")
        padded[pixels.shape[0] :] = 255
        padded[:, pixels.shape[1] :] = 0
        return padded

    with monkeypatch.context() as patched:
        patched.setattr("patchbank.vision.tiling.np", Padding(noise))
        after = extractor.extract_one(new)
    # What the network sees behind the border reaches 64 pixels into the image, and no farther.
    inside = slice(max(0, rows - 8)), slice(max(0, columns - 8))
    assert after.patches.shape == before.patches.shape
    assert np.abs(after.patches - before.patches)[inside].max(initial=0) < 1e-3


class Padding:
    """NumPy with another `pad`."""

    ascontiguousarray = staticmethod(np.ascontiguousarray)

    def __init__(self, pad: Any) -> None:
        self.pad = pad
