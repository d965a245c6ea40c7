"""A judged image as four pictures of the same size: image, mask, anomaly map, overlay."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.reports.colours import ColourScale
from patchbank.reports.pictures import Pixels, overlay_picture
from patchbank.vision.own_pictures import own_mark

_MAX_SIDE = 400
# Colour in the map of parts that were not inspected; the overlay hatches them.
_NOT_INSPECTED = (150, 150, 150)


@dataclass(frozen=True, slots=True)
class PanelFiles:
    """The file names of the pictures and their size in pixels; `mask` is None without one."""

    image: str
    mask: str | None
    map: str
    overlay: str
    width: int
    height: int


def write_panels(
    folder: Path,
    stem: str,
    pixels: Pixels,
    anomaly_map: npt.NDArray[np.float32],
    mask: npt.NDArray[np.bool_] | None,
    map_threshold: float,
) -> PanelFiles:
    """Write the pictures to a folder, under names that begin with `stem`.

    Parameters
    ----------
    pixels
        (h, w, 3) uint8, the original image.
    anomaly_map
        (h, w) float32, NaN where the image was not inspected.
    mask
        (h, w) of bool, the anomalous pixels.
    map_threshold
        Middle of the colour scale; the overlay outlines pixels above it.
    """
    height, width = anomaly_map.shape
    factor = min(1.0, _MAX_SIDE / max(width, height))
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    scale = ColourScale.around(map_threshold)
    original = Image.fromarray(pixels).resize(size, Image.Resampling.LANCZOS, reducing_gap=2.0)
    missing = np.isnan(anomaly_map)
    colours = scale.colours(np.where(missing, np.float32(scale.low), anomaly_map))
    colours[missing] = _NOT_INSPECTED
    pictures = {
        "image": original,
        "map": Image.fromarray(colours).resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0),
        "overlay": overlay_picture(original, anomaly_map, scale, map_threshold),
    }
    if mask is not None:
        # Average instead of picking the nearest pixel, so that a thin scratch does not vanish.
        share = Image.fromarray(np.where(mask, np.uint8(255), np.uint8(0)))
        pictures["mask"] = share.resize(size, Image.Resampling.BOX)
    files = {}
    for kind, picture in pictures.items():
        suffix = ".png" if kind == "mask" else ".jpg"
        files[kind] = f"{stem}-{kind}{suffix}"
        picture.save(folder / files[kind], quality=88, **own_mark(suffix))
    return PanelFiles(
        files["image"], files.get("mask"), files["map"], files["overlay"], size[0], size[1]
    )
