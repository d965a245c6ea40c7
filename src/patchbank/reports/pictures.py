"""The heatmap of a verdict, drawn with Pillow alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from patchbank.memory.calibration import Thresholds
from patchbank.memory.scoring import Region
from patchbank.reports.colours import OTHER_VERDICT, RGB, VERDICT_COLOURS, ColourScale, colour_table

Pixels = npt.NDArray[np.uint8]
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_BACKGROUND: Final[RGB] = (255, 255, 255)
_INK: Final[RGB] = (28, 32, 38)
_FAINT: Final[RGB] = (98, 106, 117)
_LINE: Final[RGB] = (214, 218, 224)
_MARGIN = 16
_HEADER = 58
_TITLE = 22
_LEGEND = 92
_LEAST_PANEL = 48
# Smaller images are scaled up to this size to make room for labels.
_MIN_SIDE = 384
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
    score: float,
    thresholds: Thresholds,
    map_threshold: float,
    regions: Sequence[Region] = (),
    p_value: float | None = None,
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
    verdict, score, thresholds, p_value
        Shown in the heading.
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

    original = Image.fromarray(pixels).resize(size, _filter(factor), reducing_gap=2.0)
    overlay = overlay_picture(original, anomaly_map, scale, map_threshold)
    _draw_regions(overlay, regions, (size[0] / width, size[1] / height))

    stacked = size[0] > _MAX_ASPECT_RATIO * size[1]
    columns, rows = (1, 2) if stacked else (2, 1)
    # At least as wide as its title.
    panel_wide = max(size[0], _LEAST_PANEL)
    panels_wide = max(columns * panel_wide + (columns - 1) * _MARGIN, _MIN_SIDE)
    panels_high = rows * (size[1] + _TITLE) + (rows - 1) * _MARGIN
    bar_high = max(panels_high - _TITLE, 120)
    hatched = bool(np.isnan(anomaly_map).any())
    canvas_size = (
        2 * _MARGIN + panels_wide + _LEGEND,
        _MARGIN + _HEADER + _TITLE + bar_high + _MARGIN + (_TITLE if hatched else 0),
    )
    canvas = Image.new("RGB", canvas_size, _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    _draw_header(draw, canvas_size[0], verdict, score, thresholds, p_value, name)
    top = _MARGIN + _HEADER
    second = (
        (_MARGIN, top + size[1] + _TITLE + _MARGIN)
        if stacked
        else (_MARGIN + panel_wide + _MARGIN, top)
    )
    for (left, upper), title, panel in (
        ((_MARGIN, top), "image", original),
        (second, "anomaly map, with peak scores" if regions else "anomaly map", overlay),
    ):
        draw.text((left, upper + 2), title, fill=_FAINT, font=_font(13))
        canvas.paste(panel, (left, upper + _TITLE))
    _draw_legend(canvas, (2 * _MARGIN + panels_wide, top + _TITLE, bar_high), scale, map_threshold)
    if hatched:
        draw.text(
            (_MARGIN, top + _TITLE + bar_high + 8),
            "grey, hatched: not inspected",
            fill=_FAINT,
            font=_font(13),
        )
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
    # The image shows through more where scores are low.
    strength = 0.25 + 0.5 * scale.positions(scores)[..., None]
    blended = grey * (1 - strength) + scale.colours(scores) * strength
    picture = blended.astype(np.uint8)
    edge, halo = _outline(scores > map_threshold)
    picture[halo] = (20, 20, 24)
    picture[edge] = (255, 255, 255)
    if missing.any():
        small = Image.fromarray(missing).resize(original.size, Image.Resampling.NEAREST)
        _hatch(picture, grey, np.asarray(small, dtype=np.bool_))
    return Image.fromarray(picture)


def _outline(
    inside: npt.NDArray[np.bool_],
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Return the pixels just inside and just outside the border of a mask."""
    edge = inside & ~_eroded(inside)
    grown = ~_eroded(~inside)
    return edge, grown & ~inside


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


def _draw_regions(
    overlay: Image.Image, regions: Sequence[Region], zoom: tuple[float, float]
) -> None:
    """Draw the boxes of regions, and the peak scores of the strongest."""
    draw = ImageDraw.Draw(overlay)
    strongest = sorted(regions, key=lambda region: -region.peak_score)
    boxes = []
    for region in strongest:
        x0, y0, x1, y1 = region.box_xyxy
        box = (
            max(0, round(x0 * zoom[0]) - 3),
            max(0, round(y0 * zoom[1]) - 3),
            min(overlay.width - 1, round(x1 * zoom[0]) + 2),
            min(overlay.height - 1, round(y1 * zoom[1]) + 2),
        )
        boxes.append(box)
        draw.rectangle(box, outline=(20, 20, 24), width=3)
        if min(box[2] - box[0], box[3] - box[1]) >= 2:
            inner = (box[0] + 1, box[1] + 1, box[2] - 1, box[3] - 1)
            draw.rectangle(inner, outline=(255, 255, 255))
    for region, box in list(zip(strongest, boxes, strict=True))[:_MAX_LABELS]:
        text = _number(region.peak_score)
        font = _font(13)
        wide = round(draw.textlength(text, font=font)) + 8
        left = min(box[0], overlay.width - wide)
        upper = box[1] - 18 if box[1] >= 18 else min(box[3] + 1, overlay.height - 18)
        draw.rectangle((left, upper, left + wide, upper + 17), fill=(20, 20, 24))
        draw.text((left + 4, upper + 2), text, fill=(255, 255, 255), font=font)


def _draw_header(
    draw: ImageDraw.ImageDraw,
    width: int,
    verdict: str,
    score: float,
    thresholds: Thresholds,
    p_value: float | None,
    name: str,
) -> None:
    label = verdict.upper()
    font = _font(18)
    wide = round(draw.textlength(label, font=font)) + 24
    colour = VERDICT_COLOURS.get(verdict, OTHER_VERDICT)
    draw.rounded_rectangle((_MARGIN, _MARGIN, _MARGIN + wide, _MARGIN + 28), 6, fill=colour)
    draw.text((_MARGIN + wide / 2, _MARGIN + 14), label, (255, 255, 255), font, anchor="mm")
    facts = f"score {_number(score)}   {thresholds.describe()}"
    if p_value is not None:
        facts += f"   p {p_value:.3f}"
    left = _MARGIN + wide + 14
    room = width - left - _MARGIN
    facts = _shortened(facts, room, _font(17))
    draw.text((left, _MARGIN + 14), facts, _INK, _font(17), anchor="lm")
    shown = _shortened(name, width - 2 * _MARGIN, _font(13))
    draw.text((_MARGIN, _MARGIN + 36), shown, fill=_FAINT, font=_font(13))


def _draw_legend(
    canvas: Image.Image, position: tuple[int, int, int], scale: ColourScale, map_threshold: float
) -> None:
    """Draw the colour bar, its ends and the threshold labelled with their values."""
    left, top, high = position
    bar = Image.fromarray(np.repeat(colour_table()[::-1, None], 18, axis=1))
    canvas.paste(bar.resize((18, high), Image.Resampling.BILINEAR), (left, top))
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((left, top, left + 17, top + high - 1), outline=_LINE)
    font = _font(13)
    share = (map_threshold - scale.low) / (scale.high - scale.low)
    marked = 0 <= share <= 1
    threshold_at = top + round((1 - share) * (high - 1))
    for value, anchor, at in (
        (scale.high, "lt", top),
        (scale.low, "lb", top + high - 1),
    ):
        if not marked or abs(at - threshold_at) > 52:
            draw.text((left + 26, at), _number(value), fill=_FAINT, font=font, anchor=anchor)
    if marked:
        draw.line((left - 4, threshold_at, left + 22, threshold_at), fill=_INK, width=2)
        draw.text((left + 26, threshold_at), _number(map_threshold), _INK, font, anchor="lm")
        below = threshold_at + 15
        for row, word in enumerate(("map", "threshold")):
            draw.text((left + 26, below + 13 * row), word, _FAINT, _font(11), anchor="lm")


def _number(value: float) -> str:
    """Return a score with four significant digits, without an exponent where possible."""
    return f"{value:.4g}"


def _shortened(text: str, room: float, font: Font) -> str:
    """Return the text, with its middle cut out if it is wider than `room` pixels."""
    # Pillow's built-in font covers ASCII only; a box would look like an error.
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    printable = "".join(letter if " " <= letter <= "~" else "?" for letter in plain)
    if font.getlength(printable) <= room:
        return printable
    for kept in range(min(len(printable), 400) - 1, 1, -1):
        head = kept // 3  # the end of a path says more than its beginning
        short = f"{printable[:head]}...{printable[head - kept :]}"
        if font.getlength(short) <= room:
            return short
    return ""


def _filter(factor: float) -> Image.Resampling:
    return Image.Resampling.BICUBIC if factor > 1 else Image.Resampling.LANCZOS


@cache
def _font(size: int) -> Font:
    return ImageFont.load_default(size)
