"""Pictures for browsers: an image as JPEG, and its anomaly map as a layer above it."""

from __future__ import annotations

import io
from typing import NamedTuple

import numpy as np
from PIL import Image

from patchbank.inspection.verdicts import Judgement
from patchbank.reports.colours import ColourScale
from patchbank.vision.decoded_image import ImageLimits
from patchbank.vision.images import decode

# The longer side of what is shown, in pixels.
LARGEST_SIDE = 1024
# Where on the scale the layer begins to show, and where it hides what is below: good parts lie
# around 0.2, the threshold at 0.5.
_BEGIN, _FULL = 0.3, 0.6


class Shown(NamedTuple):
    """A JPEG to show, and the size of the image it shows, in pixels."""

    content: bytes
    width: int
    height: int


def display_picture(content: bytes, limits: ImageLimits, side: int = LARGEST_SIDE) -> Shown:
    """Return an image's file as a JPEG no larger than a side, whatever its format was.

    Raises
    ------
    ImageError
        If it cannot be decoded.
    """
    image = decode(content, limits=limits)
    picture = Image.fromarray(image.pixels)
    picture.thumbnail((side, side), Image.Resampling.BOX, reducing_gap=2.0)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=88)
    return Shown(file.getvalue(), image.width, image.height)


def map_layer(judgement: Judgement, side: int = LARGEST_SIDE) -> bytes:
    """Return the anomaly map as a PNG of the image's shape, transparent where nothing is unusual.

    What was not inspected is transparent too.
    """
    factor = min(1.0, side / max(judgement.width, judgement.height))
    x0, y0, x1, y1 = (round(factor * end) for end in judgement.inspected_box)
    size = max(1, x1 - x0), max(1, y1 - y0)
    values = np.asarray(
        Image.fromarray(judgement.anomaly_map).resize(size, Image.Resampling.BILINEAR)
    )
    scale = ColourScale.around(judgement.map_threshold)
    shown = np.clip((scale.positions(values) - _BEGIN) / (_FULL - _BEGIN), 0, 1)
    if judgement.inspected_map is not None:
        inspected = Image.fromarray(judgement.inspected_map).resize(size, Image.Resampling.NEAREST)
        shown = shown * np.asarray(inspected)
    alpha = np.round(255 * shown).astype(np.uint8)
    layer = np.concatenate([scale.colours(values), alpha[..., np.newaxis]], axis=2)
    whole = Image.new(
        "RGBA",
        (max(1, round(factor * judgement.width)), max(1, round(factor * judgement.height))),
    )
    whole.paste(Image.fromarray(layer), (x0, y0))
    file = io.BytesIO()
    whole.save(file, "PNG", compress_level=1)
    return file.getvalue()
