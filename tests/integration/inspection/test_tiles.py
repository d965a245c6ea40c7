"""Images seen through tiles: what is judged, said and refused."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import FitSettings, make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.store.database import Database


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
    assert needed[0] >= bank.features.nbytes


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
