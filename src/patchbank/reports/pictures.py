"""The heatmap of a verdict, drawn with Pillow alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from patchbank.memory.maps import Region
from patchbank.reports.colours import OTHER_VERDICT, RGB, VERDICT_COLOURS, ColourScale, colour_table
from patchbank.reports.fonts import Writer

Pixels = npt.NDArray[np.uint8]

_BACKGROUND: Final[RGB] = (255, 255, 255)
_INK: Final[RGB] = (28, 32, 38)
_FAINT: Final[RGB] = (98, 106, 117)
_LINE: Final[RGB] = (214, 218, 224)
_MARGIN = 16
_HEADER = 58
_REMARK = 18
_TITLE = 22
_LEGEND = 92
_LEAST_PANEL = 48
# Smaller images are scaled up to this size to make room for labels.
_MIN_SIDE = 384
# Text grows with the picture, so that it stays legible where two are shown beside each other.
_USUAL_WIDTH, _MOST_UNIT = 2 * _MIN_SIDE + 16, 1.7
# More labels than this would cover the image.
_MAX_LABELS = 8
# Above this aspect ratio, the two panels are stacked.
_MAX_ASPECT_RATIO = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class SimilarImage:
    """A reference similar to the inspected image.

    `pixels` is (h, w, 3) uint8, such as a thumbnail; `similarity` is 1 - cosine distance.
    """

    name: str
    similarity: float
    pixels: Pixels


def heatmap_picture(
    pixels: Pixels,
    anomaly_map: npt.NDArray[np.float32],
    *,
    verdict: str,
    facts: str,
    remark: str = "",
    map_threshold: float,
    regions: Sequence[Region] = (),
    name: str = "",
    scale: ColourScale | None = None,
    max_side: int = 768,
) -> Image.Image:
    """Return the image beside its anomaly map, with the verdict and the colour scale.

    Parameters
    ----------
    pixels
        (h, w, 3) uint8, the original image.
    anomaly_map
        (h, w) float32, NaN where the image was not inspected; those parts are grey and hatched.
    verdict, facts, remark
        The heading, and a line below it.
    map_threshold
        The score above which a pixel belongs to a region; outlined in the map and marked in the
        legend.
    regions
        Drawn as boxes, the strongest ones with their peak scores.
    name
        The image's name, shortened if it is too long.
    scale
        Colours of the map; `ColourScale.around(map_threshold)` by default.
    max_side
        Longest side of each panel in pixels.

    Raises
    ------
    ValueError
        If the shapes do not match.
    """
    if pixels.ndim != 3 or pixels.shape[2] != 3 or pixels.dtype != np.uint8:
        raise ValueError(f"expected (h, w, 3) uint8 pixels, got {pixels.shape} {pixels.dtype}")
    if anomaly_map.shape != pixels.shape[:2]:
        raise ValueError(f"expected a map of {pixels.shape[:2]}, got {anomaly_map.shape}")
    scale = scale or ColourScale.around(map_threshold)
    height, width = anomaly_map.shape
    factor = min(max(_MIN_SIDE, max(width, height)), max_side) / max(width, height)
    size = (max(1, round(width * factor)), max(1, round(height * factor)))

    stacked = size[0] > _MAX_ASPECT_RATIO * size[1]
    columns, rows = (1, 2) if stacked else (2, 1)
    # At least as wide as its title.
    panel_wide = max(size[0], _LEAST_PANEL)
    panels_wide = max(columns * panel_wide + (columns - 1) * _MARGIN, _MIN_SIDE)
    unit = min(max(panels_wide / _USUAL_WIDTH, 1.0), _MOST_UNIT)
    header, title, legend = (
        round(unit * length) for length in (_HEADER + (_REMARK if remark else 0), _TITLE, _LEGEND)
    )

    original = Image.fromarray(pixels).resize(size, _filter(factor), reducing_gap=2.0)
    overlay = overlay_picture(original, anomaly_map, scale, map_threshold)
    _draw_regions(overlay, regions, (size[0] / width, size[1] / height), unit)

    panels_high = rows * (size[1] + title) + (rows - 1) * _MARGIN
    bar_high = max(panels_high - title, round(160 * unit))
    hatched = bool(np.isnan(anomaly_map).any())
    canvas_size = (
        2 * _MARGIN + panels_wide + legend,
        _MARGIN + header + title + bar_high + _MARGIN + (title if hatched else 0),
    )
    canvas = Image.new("RGB", canvas_size, _BACKGROUND)
    writer = Writer(ImageDraw.Draw(canvas), unit)
    _draw_header(writer, canvas_size[0], verdict, facts, remark, name)
    top = _MARGIN + header
    second = (
        (_MARGIN, top + size[1] + title + _MARGIN)
        if stacked
        else (_MARGIN + panel_wide + _MARGIN, top)
    )
    for (left, upper), heading, panel in (
        ((_MARGIN, top), "image", original),
        (second, "anomaly map, with peak scores" if regions else "anomaly map", overlay),
    ):
        writer.write((left, upper + title / 2), heading, 13, _FAINT, down="middle")
        canvas.paste(panel, (left, upper + title))
    _draw_legend(
        canvas, writer, (2 * _MARGIN + panels_wide, top + title, bar_high), scale, map_threshold
    )
    if hatched:
        position = _MARGIN, top + title + bar_high + title / 2 + _MARGIN / 2
        writer.write(position, "grey, hatched: not inspected", 13, _FAINT, down="middle")
    return canvas


def overlay_picture(
    original: Image.Image,
    anomaly_map: npt.NDArray[np.float32],
    scale: ColourScale,
    map_threshold: float,
) -> Image.Image:
    """Return the coloured map over the grey image, with the threshold as an outline."""
    missing = np.isnan(anomaly_map)
    filled = np.where(missing, np.float32(scale.low), anomaly_map) if missing.any() else anomaly_map
    resized = Image.fromarray(np.asarray(filled, dtype=np.float32)).resize(
        original.size, Image.Resampling.BILINEAR, reducing_gap=2.0
    )
    scores = np.asarray(resized, dtype=np.float32)
    grey = np.asarray(original.convert("L"), dtype=np.float32)[..., None]
    # The image shows through everywhere, more so where scores are low.
    strength = 0.25 + 0.3 * scale.positions(scores)[..., None]
    blended = grey * (1 - strength) + scale.colours(scores) * strength
    picture = blended.astype(np.uint8)
    # Around what is above the threshold, so that the line does not cover a small defect.
    line, halo = _outline(scores > map_threshold)
    picture[halo] = (20, 20, 24)
    picture[line] = (255, 255, 255)
    if missing.any():
        small = Image.fromarray(missing).resize(original.size, Image.Resampling.NEAREST)
        _hatch(picture, grey, np.asarray(small, dtype=np.bool_))
    return Image.fromarray(picture)


def _outline(
    inside: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the pixels just outside a mask, and those just outside them."""
    grown = ~_eroded(~inside)
    return grown & ~inside, ~_eroded(~grown) & ~grown


def _eroded(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Return the mask without its border pixels; the edge of the picture is no border."""
    padded = np.pad(mask, 1, constant_values=True)
    shrunk = mask.copy()
    for rows, columns in ((slice(2, None), slice(1, -1)), (slice(None, -2), slice(1, -1))):
        shrunk &= padded[rows, columns]
        shrunk &= padded.T[rows, columns].T
    return shrunk


def _hatch(picture: Pixels, grey: npt.NDArray[np.float32], missing: npt.NDArray[np.bool_]) -> None:
    """Grey out and hatch the parts that were not inspected."""
    rows, columns = np.nonzero(missing)
    lines = (rows + columns) % 10 < 2
    faded = grey[rows, columns] * 0.35 + 140
    picture[rows, columns] = np.where(lines[:, None], 110, faded).astype(np.uint8)


Box = tuple[int, int, int, int]


def _draw_regions(
    overlay: Image.Image, regions: Sequence[Region], zoom: tuple[float, float], unit: float
) -> None:
    """Draw the boxes of regions, and the peak scores of the strongest."""
    draw = ImageDraw.Draw(overlay)
    writer = Writer(draw, unit)
    strongest = sorted(regions, key=lambda region: -region.peak_score)
    boxes: list[Box] = []
    for region in strongest:
        x0, y0, x1, y1 = region.box_xyxy
        box = (
            max(0, round(x0 * zoom[0]) - 4),
            max(0, round(y0 * zoom[1]) - 4),
            min(overlay.width - 1, round(x1 * zoom[0]) + 3),
            min(overlay.height - 1, round(y1 * zoom[1]) + 3),
        )
        boxes.append(box)
        draw.rectangle(box, outline=(20, 20, 24), width=3)
        if min(box[2] - box[0], box[3] - box[1]) >= 2:
            inner = (box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1)
            draw.rectangle(inner, outline=(255, 255, 255))
    labels: list[Box] = []
    for region, box in zip(strongest, boxes, strict=True):
        if len(labels) == _MAX_LABELS:
            break
        text = _number(region.peak_score)
        size = writer.scaled(8) + round(writer.length(text, 13)), writer.scaled(18)
        label = label_position(box, size, overlay.size, [*labels, *boxes[:_MAX_LABELS]])
        if label is None:
            continue
        labels.append(label)
        draw.rectangle(label, fill=(20, 20, 24))
        middle = (label[0] + label[2]) / 2, (label[1] + label[3]) / 2
        writer.write(middle, text, 13, (255, 255, 255), across="middle", down="middle")


def label_position(
    box: Box, size: tuple[int, int], picture: tuple[int, int], taken: Sequence[Box]
) -> Box | None:
    """Return where a label fits beside a box, within the picture and beside all that is taken."""
    wide, high = size
    left, right = min(box[0], picture[0] - wide), max(0, box[2] + 1 - wide)
    upper, lower = box[1] - high, box[3] + 1
    beside = min(box[1], picture[1] - high)
    for x, y in (
        (left, upper),
        (left, lower),
        (right, upper),
        (right, lower),
        (box[2] + 1, beside),
        (box[0] - wide, beside),
        # A box as large as the picture has its label inside.
        (box[0] + 3, box[1] + 3),
    ):
        label = x, y, x + wide - 1, y + high - 1
        others = [other for other in taken if other != box]
        if (
            min(x, y) >= 0
            and label[2] < picture[0]
            and label[3] < picture[1]
            and not any(_overlap(label, other) for other in others)
        ):
            return label
    return None


def _overlap(first: Box, second: Box) -> bool:
    return (
        first[0] <= second[2]
        and second[0] <= first[2]
        and first[1] <= second[3]
        and second[1] <= first[3]
    )


def _draw_header(
    writer: Writer,
    width: int,
    verdict: str,
    facts: str,
    remark: str,
    name: str,
) -> None:
    label = verdict.upper()
    wide, high = round(writer.length(label, 18)) + writer.scaled(24), writer.scaled(28)
    colour = VERDICT_COLOURS.get(verdict, OTHER_VERDICT)
    box = _MARGIN, _MARGIN, _MARGIN + wide, _MARGIN + high
    writer.draw.rounded_rectangle(box, writer.scaled(6), fill=colour)
    middle = _MARGIN + high / 2
    writer.write(
        (_MARGIN + wide / 2, middle), label, 18, (255, 255, 255), across="middle", down="middle"
    )
    left = _MARGIN + wide + writer.scaled(14)
    facts = writer.shortened(facts, width - left - _MARGIN, 17)
    writer.write((left, middle), facts, 17, _INK, down="middle")
    down = _MARGIN + writer.scaled(44)
    for text, ink in ((remark, _INK), (name, _FAINT)):
        shown = writer.shortened(text, width - 2 * _MARGIN, 13)
        writer.write((_MARGIN, down), shown, 13, ink, down="middle")
        down += writer.scaled(_REMARK) if text else 0


def _draw_legend(
    canvas: Image.Image,
    writer: Writer,
    position: tuple[int, int, int],
    scale: ColourScale,
    map_threshold: float,
) -> None:
    """Draw the colour bar, with its ends and the threshold labelled with their values."""
    left, top, high = position
    wide = writer.scaled(18)
    bar = Image.fromarray(np.repeat(colour_table()[::-1, None], wide, axis=1))
    canvas.paste(bar.resize((wide, high), Image.Resampling.BILINEAR), (left, top))
    writer.draw.rectangle((left, top, left + wide - 1, top + high - 1), outline=_LINE)
    beside, line = left + wide + writer.scaled(8), writer.scaled(13)
    _write_lines(writer, (beside, top + line / 2), (_number(scale.high), "and above"), _FAINT)
    lowest = top + high - 1 - line * 1.5
    _write_lines(writer, (beside, lowest), (_number(scale.low), "and below"), _FAINT)
    share = (map_threshold - scale.low) / (scale.high - scale.low)
    at = top + round((1 - share) * (high - 1))
    if top + 3 * line < at < lowest - 3 * line:
        writer.draw.line((left - 4, at, left + wide + 4, at), fill=_INK, width=writer.scaled(2))
        lines = (_number(map_threshold), "outlined", "above")
        _write_lines(writer, (beside, at), lines, _INK)


def _write_lines(
    writer: Writer, position: tuple[float, float], lines: Sequence[str], first_colour: RGB
) -> None:
    """Write a number, and what it is below it."""
    left, at = position
    for row, text in enumerate(lines):
        colour, size = (first_colour, 13) if row == 0 else (_FAINT, 11)
        writer.write((left, at + row * writer.scaled(13)), text, size, colour, down="middle")


def _number(value: float) -> str:
    """Return a score with four significant digits, without an exponent where possible."""
    return f"{value:.4g}"


def _filter(factor: float) -> Image.Resampling:
    return Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.LANCZOS
