"""The colour scale has even steps and fixed ends."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.reports.colours import ColourScale, colour_table, oklab_to_srgb


def lightness(srgb: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """CIE L* (0 to 100) by its definition, independent of the OKLab the table is made in."""
    values = srgb / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    luminance = linear @ np.array([0.2126, 0.7152, 0.0722])
    cube_root = np.cbrt(luminance)
    return np.asarray(np.where(cube_root > 6 / 29, 116 * cube_root - 16, luminance * 24389 / 27))


def test_lightness_rises_evenly() -> None:
    steps = np.diff(lightness(colour_table()))
    assert steps.min() > -0.6  # eight bits round a step away here and there
    smooth = np.convolve(steps, np.ones(32) / 32, mode="valid")
    assert smooth.min() > 0.5 * smooth.mean()
    assert smooth.max() < 1.6 * smooth.mean()


def test_white_black_and_red_convert_as_published() -> None:
    lab = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0], [0.62796, 0.22486, 0.12585]])
    assert oklab_to_srgb(lab).tolist() == [[255, 255, 255], [0, 0, 0], [255, 0, 0]]


def test_the_same_score_has_the_same_colour_in_every_image() -> None:
    scale = ColourScale.around(2.0)
    quiet = scale.colours(np.array([1.5, 2.5], dtype=np.float32))
    loud = scale.colours(np.array([2.5, 40.0], dtype=np.float32))
    assert quiet[1].tolist() == loud[0].tolist()
    assert loud[1].tolist() == colour_table()[-1].tolist()
    assert scale.colours(np.array([-1.0], np.float32))[0].tolist() == colour_table()[0].tolist()


def test_the_threshold_is_in_the_middle() -> None:
    scale = ColourScale.around(3.0)
    assert scale.positions(np.array([3.0], np.float32))[0] == pytest.approx(0.5)
    assert ColourScale.around(0.0).high > 0


@pytest.mark.parametrize(("low", "high"), [(1.0, 1.0), (2.0, 1.0), (0.0, float("nan"))])
def test_a_scale_without_width_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="low < high"):
        ColourScale(low, high)
