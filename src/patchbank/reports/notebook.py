"""HTML of an inspection and a bank for Jupyter: complete in itself, without scripts."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.printable import printable
from patchbank.reports.colours import OTHER_VERDICT, VERDICT_COLOURS, ColourScale
from patchbank.reports.pictures import Pixels, overlay_picture

# A notebook keeps all of its output in one file.
_MAX_SIDE = 320
_QUALITY = 80
_GAP = 8


def inspection_html(
    *,
    name: str,
    verdict: str,
    facts: Sequence[str],
    pixels: Pixels | None,
    anomaly_map: npt.NDArray[np.float32],
    map_threshold: float,
) -> str:
    """Return an inspection for a notebook: verdict, facts, and the image beside its map.

    Parameters
    ----------
    pixels
        (h, w, 3) uint8; None if the image is not known any more, then its map is shown alone.
    anomaly_map
        (h, w) float32, NaN where the image was not inspected.
    """
    height, width = anomaly_map.shape
    factor = min(1.0, _MAX_SIDE / max(width, height))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    if pixels is None:
        pixels = np.full((height, width, 3), 128, np.uint8)
        shown = []
        text = "anomaly map; the image itself is not there any more"
    else:
        shown = [Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)]
        text = "image, and its anomaly map with regions outlined"
    original = shown[0] if shown else Image.fromarray(pixels).resize(size)
    scale = ColourScale.around(map_threshold)
    shown.append(overlay_picture(original, anomaly_map, scale, map_threshold))
    picture = Image.new("RGB", ((size[0] + _GAP) * len(shown) - _GAP, size[1]), (255, 255, 255))
    for number, part in enumerate(shown):
        picture.paste(part, (number * (size[0] + _GAP), 0))
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=_QUALITY)
    address = f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
    colour = "rgb({}, {}, {})".format(*VERDICT_COLOURS.get(verdict, OTHER_VERDICT))
    lines = "".join(f"<div>{_safe(fact)}</div>" for fact in facts)
    return (
        '<div style="max-width: 660px; overflow-wrap: anywhere">'
        f'<div><strong style="background: {colour}; color: #fff; padding: 2px 10px; '
        f'border-radius: 4px">{_safe(verdict.upper())}</strong> {_safe(name)}</div>'
        f'{lines}<img src="{address}" alt="{text}" title="{text}" width="{picture.width}" '
        f'height="{picture.height}" style="max-width: 100%; height: auto; margin-top: 6px"></div>'
    )


def bank_html(title: str, facts: Sequence[tuple[str, str]]) -> str:
    """Return a bank for a notebook: its name, and names and values of what is known of it."""
    rows = "".join(
        f'<tr><th style="text-align: left; white-space: nowrap">{_safe(name)}</th>'
        f'<td style="text-align: left">{_safe(value)}</td></tr>'
        for name, value in facts
    )
    return (
        f'<div style="overflow-wrap: anywhere"><strong>{_safe(title)}</strong>'
        f"<table>{rows}</table></div>"
    )


def _safe(text: str) -> str:
    return escape(printable(text))
