"""Regions to ignore, as the images of a fit settle them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from patchbank.inspection.learning.sizes import Sizes, sizes_of
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.regions import Regions

_CELLS = 64


def settled_regions(
    workspace: Workspace, sources: Sequence[ImageSource], settings: FitSettings
) -> FitSettings:
    """Return the settings with boxes in pixels meant for images of the most usual size.

    Raises
    ------
    ParameterError
        If a box ends outside of such images, or the mask has other proportions.
    """
    regions = settings.extractor.regions
    sizes = Sizes() if regions is None else sizes_of(workspace, sources)
    if regions is None or not sizes or regions.size is not None:
        return settings
    regions = regions.for_images_of(*_usual(sizes))
    return replace(settings, extractor=replace(settings.extractor, regions=regions))


def check_regions(
    workspace: Workspace, sources: Sequence[ImageSource], settings: FitSettings
) -> tuple[str, ...]:
    """Return a line on what is ignored, or that nothing is, at the resolution that was chosen.

    Raises
    ------
    ParameterError
        If nothing is left to inspect.
    """
    extractor = settings.extractor
    sizes = Sizes() if extractor.regions is None else sizes_of(workspace, sources)
    if extractor.regions is None or not sizes:
        return ()
    usual = _usual(sizes)
    rows, columns = extractor.grid_of(*usual)
    ignored = rows * columns - extractor.patches_of(*usual)
    if ignored == rows * columns:
        # As the extractor says it of an image.
        extractor.inspected_of(*usual)
    if ignored:
        return ()
    return (
        f"nothing is ignored: no patch has its centre in the regions to ignore; patches are "
        f"about {usual[0] / columns:.0f} x {usual[1] / rows:.0f} pixels here, so make the regions "
        "larger, or look more closely with --scale",
    )


def largest_inspected(regions: Regions, width: int, height: int) -> tuple[slice, slice]:
    """Return the largest rectangle of an image of this size that is inspected all over.

    To a 64th of its sides; the rows and columns of its pixels.

    Raises
    ------
    ParameterError
        If the regions are not meant for such an image.
    """
    rows, columns = min(_CELLS, height), min(_CELLS, width)
    down, across = ((np.arange(count) + 0.5) / count for count in (rows, columns))
    inspected = regions.inspected(down, across, width, height)
    best, found = 0, (0, rows, 0, columns)
    above = np.zeros(columns, np.int64)
    for row in range(rows):
        above = np.where(inspected[row], above + 1, 0)
        for left in range(columns):
            # The lowest so far of the columns from `left` on.
            heights = np.minimum.accumulate(above[left:])
            areas = heights * np.arange(1, columns - left + 1)
            most = int(areas.argmax())
            if areas[most] > best:
                best = int(areas[most])
                found = row + 1 - int(heights[most]), row + 1, left, left + most + 1
    top, bottom, left, right = found
    return (
        slice(top * height // rows, bottom * height // rows),
        slice(left * width // columns, right * width // columns),
    )


def _usual(sizes: Sizes) -> tuple[int, int]:
    (size, _), *_ = sizes.most_common(1)
    return size
