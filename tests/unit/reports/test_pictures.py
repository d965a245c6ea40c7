"""Heatmaps, checked by their pixels, on real solar cells."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.datasets.demo import demo_split
from patchbank.memory.maps import Region
from patchbank.reports.colours import VERDICT_COLOURS, ColourScale, colour_table
from patchbank.reports.pictures import heatmap_picture, label_position, overlay_picture

Pixels = npt.NDArray[np.uint8]


@pytest.fixture(scope="module")
def cells() -> list[Pixels]:
    """Ten good cells, 300 x 300."""
    images = [Image.open(sample.path).convert("RGB") for sample in demo_split("mono").train[:10]]
    return [np.asarray(image) for image in images]


def bump(height: int, width: int, peak: float = 3.0) -> npt.NDArray[np.float32]:
    """A map that is 0.2 everywhere but for a bump in the middle of its upper left quarter."""
    rows, columns = np.mgrid[:height, :width]
    distance = ((rows - height / 4) / (height / 10)) ** 2
    distance = distance + ((columns - width / 4) / (width / 10)) ** 2
    return np.asarray(0.2 + peak * np.exp(-distance), dtype=np.float32)


def draw(pixels: Pixels, anomaly_map: npt.NDArray[np.float32], **changes: Any) -> Pixels:
    values: dict[str, Any] = {
        "verdict": "fail",
        "facts": "score 3.2, 3.20 times the limit",
        "map_threshold": 1.0,
        **changes,
    }
    return np.asarray(heatmap_picture(pixels, anomaly_map, **values))


def find(picture: Pixels, part: Pixels) -> tuple[int, int] | None:
    """Return where a part matches a picture exactly, by its first row."""
    height, width = part.shape[:2]
    for row in range(picture.shape[0] - height + 1):
        for column in np.flatnonzero((picture[row] == part[0, 0]).all(axis=1)):
            window = picture[row : row + height, column : column + width]
            if window.shape == part.shape and (window == part).all():
                return row, int(column)
    return None


def test_the_original_is_unchanged_with_the_map_beside_it(cells: list[Pixels]) -> None:
    big = np.asarray(Image.fromarray(cells[0]).resize((500, 500)))
    picture = draw(big, bump(500, 500))
    position = find(picture, big)
    assert position is not None
    row, column = position
    beside = picture[row : row + 500, column + 516 : column + 1016]
    assert beside.shape == (500, 500, 3)
    hot, quiet = beside[125, 125].astype(int), beside[400, 400].astype(int)
    assert hot[0] - hot[2] > 40  # the upper end of the scale is yellow
    assert quiet[2] > quiet[1]  # and its lower end is blue


def test_colours_do_not_depend_on_the_images_own_maximum(cells: list[Pixels]) -> None:
    """The quiet half of two maps is drawn the same although one has a far higher peak."""
    low, high = draw(cells[0], bump(300, 300, 1.5)), draw(cells[0], bump(300, 300, 30.0))
    assert low.shape == high.shape
    panel = slice(low.shape[0] - 150, low.shape[0] - 20)
    # The higher bump's foot reaches a little farther: one step of eight bits.
    np.testing.assert_allclose(low[panel].astype(int), high[panel].astype(int), atol=1)


def test_the_region_is_boxed_and_the_threshold_outlined(cells: list[Pixels]) -> None:
    anomaly_map = bump(300, 300)
    region = Region((30, 30, 120, 120), 6000, 6.7, 3.2, (75, 75))
    with_box = draw(cells[0], anomaly_map, regions=[region])
    without = draw(cells[0], anomaly_map)
    changed = np.argwhere((with_box != without).any(axis=2))
    changed = changed[changed[:, 0] > 96]  # below the panels' titles
    factor = 384 / 300
    left, top = 416, 96
    expected = (top + 30 * factor, left + 30 * factor, top + 120 * factor, left + 120 * factor)
    assert changed[:, 0].max() == pytest.approx(expected[2], abs=5)
    assert changed[:, 1].min() == pytest.approx(expected[1], abs=5)
    assert changed[:, 1].max() == pytest.approx(expected[3], abs=5)
    # White pixels follow the contour: as many as an ellipse of that size has on its border.
    white = (without[96:480, 416:800] == 255).all(axis=2)
    assert 200 < white.sum() < 700
    assert draw(cells[0], np.zeros((300, 300), np.float32))[96:480, 416:800].max() < 255


def test_what_was_not_inspected_is_grey(cells: list[Pixels]) -> None:
    anomaly_map = bump(300, 300)
    anomaly_map[:, :30] = np.nan
    picture = draw(cells[0], anomaly_map)
    border = picture[96:480, 416 : 416 + 36].astype(int)
    inside = picture[96:480, 416 + 45 : 800].astype(int)
    assert np.ptp(border, axis=2).max() == 0  # no colour at all
    assert np.ptp(inside, axis=2).mean() > 10
    assert len(np.unique(border[:, 10, 0])) > 1  # hatched
    assert picture.shape[0] > draw(cells[0], bump(300, 300)).shape[0]  # with a line that says so


@pytest.mark.parametrize("verdict", ["pass", "review", "fail"])
def test_the_verdict_has_its_colour(cells: list[Pixels], verdict: str) -> None:
    picture = draw(cells[0], bump(300, 300), verdict=verdict)
    share = (picture[16:44, 16:70] == VERDICT_COLOURS[verdict]).all(axis=2).mean()
    assert share > 0.5


def test_the_legend_shows_the_whole_scale(cells: list[Pixels]) -> None:
    picture = draw(cells[0], bump(300, 300), scale=ColourScale(0.0, 5.0))
    # Its top and bottom carry a border of one pixel.
    bar = picture[98:478, 816 + 9]
    table = colour_table().astype(int)
    assert np.abs(bar[0].astype(int) - table[-1]).max() < 8
    assert np.abs(bar[-1].astype(int) - table[0]).max() < 8


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (2, 3000), (3000, 2), (200, 900), (2000, 3000), (33, 47)]
)
def test_any_shape_gives_a_picture_of_sensible_size(height: int, width: int) -> None:
    pixels = np.full((height, width, 3), 90, dtype=np.uint8)
    region = Region((0, 0, width, height), width * height, 100.0, 2.0, (0, 0))
    anomaly_map = np.full((height, width), 2.0, dtype=np.float32)
    anomaly_map[0, 0] = np.nan
    picture = draw(pixels, anomaly_map, regions=[region], name="a" * 500 + "\n\u0300ü中.png")
    assert 100 < picture.shape[0] < 1800
    assert 400 < picture.shape[1] < 1800


def test_narrow_panels_are_as_far_apart_as_their_titles_need() -> None:
    picture = draw(np.full((5000, 20, 3), 90, np.uint8), bump(5000, 20))
    columns = np.flatnonzero((picture[200:600, :200] < 255).any(axis=(0, 2)))
    first, second = columns[0], columns[np.diff(columns).argmax() + 1]
    # "image" in 13 points.
    assert second - first > 45


def test_shapes_that_do_not_fit_are_refused(cells: list[Pixels]) -> None:
    with pytest.raises(ValueError, match="expected a map of"):
        draw(cells[0], bump(300, 299))
    with pytest.raises(ValueError, match="uint8 pixels"):
        draw(cells[0][..., 0], bump(300, 300))


def test_a_picture_takes_no_longer_than_an_inspection(cells: list[Pixels]) -> None:
    anomaly_map = bump(300, 300)
    region = Region((30, 30, 120, 120), 6000, 6.7, 3.2, (75, 75))
    times = []
    for _ in range(9):
        began = time.process_time()
        draw(cells[0], anomaly_map, regions=[region], name="cell.png")
        times.append(time.process_time() - began)
    # Processor time, since other work may share the machine.
    assert min(times) < 0.06


def test_labels_neither_overlap_nor_leave_the_picture() -> None:
    random = np.random.default_rng(0)
    corners = [(0, 0), (390, 0), (0, 390), (390, 390), (0, 200), (390, 200)]
    corners += [(int(x), int(y)) for x, y in random.integers(0, 390, (60, 2))]
    boxes = [(x, y, x + 10, y + 10) for x, y in corners]
    labels: list[tuple[int, int, int, int]] = []
    for box in boxes:
        label = label_position(box, (40, 18), (401, 401), [*labels, *boxes])
        if label is not None:
            assert min(label) >= 0
            assert max(label) <= 400
            labels.append(label)
    # The corners' labels are there; others only where there is room.
    assert 6 < len(labels) < len(boxes)
    covered = np.zeros((401, 401), int)
    for x0, y0, x1, y1 in [*labels, *boxes[:6]]:
        covered[y0 : y1 + 1, x0 : x1 + 1] += 1
    assert covered.max() == 1


def test_a_small_defect_is_seen_through_its_heat() -> None:
    pixels = np.full((640, 640, 3), 120, np.uint8)
    pixels[300:306, 300:306] = 250
    anomaly_map = np.full((640, 640), 0.5, np.float32)
    anomaly_map[294:312, 294:312] = 3.0
    original, scale = Image.fromarray(pixels), ColourScale.around(1.0)
    picture = np.asarray(overlay_picture(original, anomaly_map, scale, 1.0)).astype(int)
    inside = picture[294:312, 294:312].mean(axis=2)
    # No line within what is outlined, and the defect is still brighter than what is around it.
    assert (inside < 250).all()
    assert inside[6:12, 6:12].min() - inside[0].max() > 40
    assert (picture[293, 294:312] == 255).all()
    assert (picture[292, 294:312].max(axis=1) < 30).all()


def test_text_grows_with_the_picture() -> None:
    small = draw(np.full((300, 300, 3), 90, np.uint8), bump(300, 300))
    large = draw(np.full((3000, 3000, 3), 90, np.uint8), bump(3000, 3000))
    badge = VERDICT_COLOURS["fail"]
    heights = [
        int((picture[:, :40] == badge).all(axis=2).any(axis=1).sum()) for picture in (small, large)
    ]
    assert heights[1] > 1.5 * heights[0]
