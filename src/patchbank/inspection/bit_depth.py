"""How many of 16 bits hold values: cameras of 10, 12 or 14 bits leave the upper ones empty."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress
from patchbank.settings import usable_cores
from patchbank.vision.images import ImageSource, largest_value

_DEPTHS: Final = (8, 10, 12, 14)


def settled_bit_depth(
    workspace: Workspace,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    settings: FitSettings,
    progress: Progress,
) -> tuple[FitSettings, tuple[str, ...]]:
    """Return the settings with the bit depth of the images, and a remark where it is not 16.

    It is found out where the settings do not say: the least that holds all values of all images of
    16 bits, which are read once more for that, up to the first that uses them all. Dark images of
    more bits are taken for it too: 1,100 of 65,535 would be black otherwise.
    """
    if settings.extractor.bit_depth is not None:
        return settings, ()
    largest, count = _largest_value(workspace, sources, names, progress)
    depth = next((depth for depth in _DEPTHS if largest < 2**depth), None)
    if count == 0 or depth is None:
        return settings, ()
    images = "1 image of 16 bits holds" if count == 1 else f"{count} images of 16 bits hold"
    extractor = replace(settings.extractor, bit_depth=depth)
    return replace(settings, extractor=extractor), (
        f"{images} values up to {largest:,} of 65,535: taken for {depth} bits, with "
        f"{2**depth - 1:,} for white, here and wherever this bank judges; if the camera has more, "
        "say so with --bit-depth (16 takes them as they are)",
    )


def _largest_value(
    workspace: Workspace, sources: Sequence[ImageSource], names: Sequence[str], progress: Progress
) -> tuple[int, int]:
    """Return the largest value of all images of 16 bits, or of those up to one that uses them all.

    The second number is how many there were.
    """
    largest = count = 0

    def read(number: int) -> int | None:
        return largest_value(sources[number], limits=workspace.limits, name=names[number])

    workers = ThreadPoolExecutor(
        workspace.settings.threads or usable_cores(), "patchbank-bit-depth"
    )
    try:
        for done, value in enumerate(workers.map(read, range(len(sources))), start=1):
            if value is not None:
                largest, count = max(largest, value), count + 1
                progress("bit depth", done, len(sources))
            if largest >= 2 ** _DEPTHS[-1]:
                break
    finally:
        workers.shutdown(cancel_futures=True)
    return largest, count
