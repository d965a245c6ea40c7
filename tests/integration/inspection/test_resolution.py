"""Images of any size and shape: seen through tiles, at a scale that is given or chosen."""

from __future__ import annotations

import gc
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.inspection.learning import resolution
from patchbank.inspection.learning.resolution import (
    clearly_more,
    layers_to_try,
    settled_resolution,
    trial_extractor,
    with_fitting_budget,
)
from patchbank.inspection.learning.sizes import with_fitting_tile
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.budget import Parts
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.fixtures.commands import Run

TILES = ("--scale", "1", "--tile", "128", "--layers", "blocks.4")
DOT = 12


def board(seed: int, height: int, width: int) -> npt.NDArray[np.uint8]:
    """Return a surface with broad lines and grain, uint8 (height, width, 3)."""
    random = np.random.default_rng(seed)
    lines = np.convolve(random.normal(0, 1, height + 14), np.ones(15) / 15, mode="valid")
    grey = 120 + 40 * lines[:, np.newaxis] + random.normal(0, 4, (height, width))
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., np.newaxis], 3, axis=2)


def with_dot(pixels: npt.NDArray[np.uint8], y: int, x: int) -> npt.NDArray[np.uint8]:
    marked = pixels.copy()
    marked[y : y + DOT, x : x + DOT] = 235
    return marked


@pytest.fixture(scope="module")
def boards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good boards of two shapes, and defective ones, whose dots are at (150, 300)."""
    root = tmp_path_factory.mktemp("boards")
    for folder in ("train/good", "test/good", "test/dot", "ground_truth/dot"):
        (root / "board" / folder).mkdir(parents=True)
    for number in range(16):
        shape = (200, 420) if number % 4 else (260, 400)
        Image.fromarray(board(number, *shape)).save(root / f"board/train/good/{number:02}.png")
    for number in range(3):
        good = board(100 + number, 200, 420)
        Image.fromarray(good).save(root / f"board/test/good/{number}.png")
        marked = with_dot(board(200 + number, 200, 420), 150, 300)
        Image.fromarray(marked).save(root / f"board/test/dot/{number}.png")
        mask = np.zeros((200, 420), np.uint8)
        mask[150 : 150 + DOT, 300 : 300 + DOT] = 255
        Image.fromarray(mask).save(root / f"board/ground_truth/dot/{number}_mask.png")
    return root


def test_a_small_defect_is_found_where_it_is(patchbank: Run, boards: Path, tmp_path: Path) -> None:
    fitted = patchbank("fit", "board", boards / "board/train/good", *TILES)
    assert fitted.code == 0, fitted.err
    assert "scale 1 in tiles of 128 pixels, overlapping by 64 or more" in fitted.out
    patches = 12 * 25 * 53 + 4 * 33 * 50
    assert f"{patches:,} of 40 dimensions" in fitted.out
    assert "reduced" not in fitted.err
    judged = patchbank(
        "inspect", "board", boards / "board/test/dot", "--json", "--heatmaps", tmp_path
    )
    assert judged.code == 1
    for document in judged.documents:
        assert document["verdict"] == "fail"
        x0, y0, x1, y1 = document["regions"][0]["box_xyxy"]
        assert x0 <= 300 + DOT
        assert x1 >= 300
        assert y0 <= 150 + DOT
        assert y1 >= 150
        assert (x1 - x0) < 100
        with Image.open(document["heatmap"]) as heatmap:
            assert heatmap.width > 420
    good = patchbank("inspect", "board", boards / "board/test/good", "--json")
    assert {document["verdict"] for document in good.documents} == {"pass"}


def test_a_bank_of_tiles_is_exported_searched_and_measured(
    patchbank: Run, boards: Path, tmp_path: Path
) -> None:
    assert patchbank("fit", "board", boards / "board/train/good", *TILES).code == 0
    dot = boards / "board/test/dot/0.png"
    before = patchbank("inspect", "board", dot, "--json").document
    in_database = patchbank("inspect", "board", dot, "--json", "--in-database").document
    assert in_database["score"] == pytest.approx(before["score"], rel=1e-5)
    file = tmp_path / "board.bank"
    assert patchbank("export", "board", file).code == 0
    assert patchbank("import", file, "--category", "copy").code == 0
    after = patchbank("inspect", "copy", dot, "--json").document
    for key in ("score", "fail_above", "regions", "p_value"):
        assert after[key] == before[key]
    reference = boards / "board/train/good/05.png"
    similar = patchbank("search", "board", reference, "--json").document["similar"]
    assert similar[0]["itself"]
    shown = patchbank("show", "board").out
    assert "overlap" in shown
    assert "64 pixels" in shown


def test_figures_of_pixels_are_in_the_images_own(
    patchbank: Run, boards: Path, tmp_path: Path
) -> None:
    outcome = patchbank("benchmark", boards, "--folder", tmp_path, *TILES, "--json")
    assert outcome.code == 0, outcome.err
    figures = outcome.documents[0]
    assert figures["image_auroc"] == 1.0
    assert figures["pixel_auroc"] > 0.95
    assert figures["input"] == "scale 1 in tiles of 128 pixels, overlapping by 64 or more"
    page = (tmp_path / "index.html").read_text()
    # Above the table, of the category, and of all.
    assert page.count(figures["input"]) == 3


def test_streamed_and_whole_fits_see_the_same_patches(
    patchbank: Run, boards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = patchbank("fit", "board", boards / "board/train/good", *TILES, "--json").document
    assert not whole["streamed"]
    # Not by a limit: what this process takes depends on the tests before.
    parts = Parts(count=4, images=5, kept_ratio=0.5)
    monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: parts)
    streamed = patchbank("fit", "board", boards / "board/train/good", *TILES, "--json").document
    assert streamed["streamed"]
    assert streamed["patches"] == whole["patches"]


def settings_of(**options: Any) -> Any:
    return make_fit_settings(**options)


def test_small_squares_are_seen_as_before(workspace: Workspace) -> None:
    images = [board(number, 300, 290) for number in range(4)]
    names = [str(number) for number in range(4)]
    settings, lines = settled_resolution(workspace, images, names, settings_of())
    assert settings.extractor == ExtractorSettings()
    assert settings.coreset_ratio == 0.1
    assert not lines
    assert not settings.to_choose


def test_what_was_asked_for_is_not_chosen(workspace: Workspace) -> None:
    images = [board(number, 300, 600) for number in range(4)]
    names = [str(number) for number in range(4)]
    for options in ({"image_size": 64}, {"scale": 1.0, "tile": 128}, {"center_crop": 64}):
        asked = settings_of(**options)
        settings, lines = settled_resolution(workspace, images, names, asked)
        assert settings.extractor == asked.extractor
        assert not lines


def test_large_images_are_seen_within_the_budget(patchbank: Run, boards: Path) -> None:
    fitted = patchbank("fit", "board", boards / "board/train/good", "--json", "--budget-ms", "1e6")
    assert fitted.code == 0, fitted.err
    document = fitted.document
    assert document["extractor"]["scale"] == 1.0
    (line,) = [text for text in document["remarks"] if text.startswith("resolution chosen")]
    assert "scale 1 in tiles of 448 pixels" in line
    assert "dots and scratches from" in line
    assert "(budget 1e+06 ms)" in line
    least = patchbank("fit", "board", boards / "board/train/good", "--json", "--budget-ms", "1e-3")
    (line,) = [text for text in least.document["remarks"] if text.startswith("resolution chosen")]
    assert "(budget 0.001 ms, the least that is possible)" in line
    assert 0.5 < least.document["extractor"]["scale"] < 1
    shown = patchbank("show", "board").out
    assert "scale" in shown


def test_images_of_very_different_sizes_are_counted(workspace: Workspace) -> None:
    images = [board(number, 100, 100) for number in range(4)]
    images += [board(number, 200, 200) for number in range(4)]
    names = [str(number) for number in range(8)]
    _, (line,) = settled_resolution(workspace, images, names, settings_of())
    assert line.startswith("images have very different sizes (4 of 100 x 100, 4 of 200 x 200)")


def test_tiles_fit_the_images() -> None:
    extractor = ExtractorSettings(image_size=448, scale=1.0, layers=("blocks.4",))

    assert with_fitting_tile(extractor, Counter({(640, 640): 5})).image_size == 640
    assert with_fitting_tile(extractor, Counter({(200, 200): 5})).image_size == 224
    large = with_fitting_tile(extractor, Counter({(4000, 3000): 5}))
    assert large.overlap == 128
    assert large.image_size > 640
    asked = ExtractorSettings(image_size=448, scale=1.0, overlap=32, layers=("blocks.4",))
    assert with_fitting_tile(asked, Counter({(640, 640): 5})).overlap == 32


@pytest.mark.parametrize("backbone", ["efficientnet-lite0", "resnet18", "dinov2_vits14"])
def test_every_family_of_networks_has_a_trial(backbone: str) -> None:
    extractor = ExtractorSettings(backbone=backbone)
    seen = trial_extractor(extractor, extractor.layers)
    assert 600 < seen.image_size <= 640
    assert seen.image_size % seen.tiling.coarse == 0


def test_large_images_may_take_longer_unless_a_budget_is_given() -> None:
    large, small = Counter({(4000, 3000): 5, (640, 640): 2}), Counter({(500, 400): 5})
    assert with_fitting_budget(settings_of(), large).budget_ms == 3000
    assert with_fitting_budget(settings_of(), small).budget_ms == 100
    assert with_fitting_budget(settings_of(budget_ms=50), large).budget_ms == 50


def test_finer_layers_are_tried_and_taken_where_they_show_clearly_more() -> None:
    assert layers_to_try(settings_of()) == [
        ("blocks.4", "blocks.10"),
        ("blocks.4",),
        ("blocks.2", "blocks.4"),
    ]
    assert layers_to_try(settings_of(layers="blocks.4")) == [("blocks.4",)]
    assert clearly_more(0.6, 0.4)
    assert not clearly_more(0.5, 0.4)
    # Of hardly any, twice as many are hardly any.
    assert not clearly_more(0.02, 0.01)
    # Too few images for a trial.
    assert not clearly_more(1, float("nan"))


def test_budgets_that_cannot_be_are_refused(patchbank: Run, boards: Path) -> None:
    outcome = patchbank("fit", "board", boards / "board/train/good", "--budget-ms", "0")
    assert outcome.code == 2
    assert "above 0" in outcome.complaint


def test_a_choice_keeps_no_network_in_memory(workspace: Workspace) -> None:
    def networks() -> int:
        gc.collect()
        return sum(type(thing) is Extractor for thing in gc.get_objects())

    images = [board(number, 240, 400) for number in range(9)]
    names = [str(number) for number in range(9)]
    before = networks()
    settings, _ = settled_resolution(workspace, images, names, settings_of())
    assert settings.extractor.scale is not None
    assert networks() == before


def test_what_others_do_on_the_machine_costs_nothing() -> None:
    # Waiting for a core, say.
    assert resolution._milliseconds(lambda: time.sleep(0.05), cores=1) < 25
    assert resolution._milliseconds(lambda: sum(range(10**6)), cores=1) > 1
