"""The sizes of a category's images, and the tiles that they need least work with."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from patchbank.inspection.workspace import Workspace
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import stored_size
from patchbank.vision.preprocess import SMALLEST_SIDE

# Images up to this size and nearly square are resized to the network's usual square: more pixels
# bring nothing there (docs/resolution.md).
_SMALL = 336
_NEARLY_SQUARE = 1.1
# Smaller tiles overlap more; larger ones take more memory.
SMALLEST_TILE, _LARGEST_TILE, _TILE_STEP = 128, 1024, 32

Sizes = Counter[tuple[int, int]]


def sizes_of(workspace: Workspace, sources: Sequence[ImageSource]) -> Sizes:
    """Return how many images there are of each width and height, by their headers."""
    found = (stored_size(source, limits=workspace.limits) for source in sources)
    return Counter(size for size in found if size is not None)


def is_small(width: int, height: int) -> bool:
    """Return whether a fit resizes images of this size to the network's usual square."""
    return max(width, height) <= min(_SMALL, _NEARLY_SQUARE * min(width, height))


def with_fitting_tile(extractor: ExtractorSettings, sizes: Sizes) -> ExtractorSettings:
    """Return settings with the tiles that images of these sizes need least work with."""
    coarse = extractor.tiling.coarse
    largest = _LARGEST_TILE - _LARGEST_TILE % coarse
    # An overlap that was not asked for follows from the tile, and is at most half of it.
    overlap = extractor.overlap
    if overlap == replace(extractor, overlap=None).overlap:
        overlap = None
    enough = replace(extractor, image_size=largest, overlap=overlap).overlap
    tiles = range(largest, SMALLEST_TILE - 1, -math.lcm(_TILE_STEP, coarse))
    options = [
        replace(extractor, image_size=tile, overlap=overlap)
        for tile in tiles
        if overlap is None or overlap + coarse <= tile
    ]
    return min(
        (
            option
            for option in options
            # Where an image is a single tile, nothing overlaps.
            if option.overlap == enough or work_of(option, sizes) == option.image_size**2
        ),
        key=lambda option: work_of(option, sizes),
        default=extractor,
    )


def work_of(extractor: ExtractorSettings, sizes: Sizes) -> float:
    """Return the pixels of an image's tiles, on average."""
    preprocessing, tiling = extractor.preprocessing, extractor.tiling
    pixels = (
        count * tiling.pixels(*reversed(preprocessing.size(*size))) for size, count in sizes.items()
    )
    return sum(pixels) / sizes.total()


def typical(sizes: Sizes) -> tuple[int, int]:
    """Return the size in the middle, by area."""
    ordered = sorted(sizes.elements(), key=lambda size: size[0] * size[1])
    return ordered[len(ordered) // 2]


def remarks_on_sizes(sizes: Sizes) -> tuple[str, ...]:
    """Return a remark where the sizes differ very much."""
    areas = sorted(width * height for width, height in sizes.elements())
    few = len(areas) // 10
    if areas[-1 - few] < 2 * areas[few]:
        return ()
    common = ", ".join(f"{count} of {w} x {h}" for (w, h), count in sizes.most_common(4))
    more = f" and {len(sizes) - 4} other sizes" if len(sizes) > 4 else ""
    return (
        f"images have very different sizes ({common}{more}): parts photographed at different "
        "scales need a category each",
    )


def remarks_on_tile(extractor: ExtractorSettings, sizes: Sizes) -> tuple[str, ...]:
    """Return a remark where a tile that was asked for is larger than all images."""
    longest = max(max(extractor.preprocessing.size(*size)) for size in sizes)
    coarse = extractor.tiling.coarse
    enough = max(SMALLEST_SIDE, coarse * math.ceil(longest / coarse))
    if extractor.image_size <= enough:
        return ()
    return (
        f"tiles of {extractor.image_size} pixels are larger than all images, of which the network "
        f"sees {longest} pixels at most: leave --tile out, or use --tile {enough}, to save time",
    )
