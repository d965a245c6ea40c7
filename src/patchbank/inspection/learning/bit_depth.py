"""How many of 16 bits hold values: cameras of 10, 12 or 14 bits leave the upper ones empty."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

from patchbank.datasets.layouts.shared import some
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.progress import Progress
from patchbank.settings import usable_cores
from patchbank.vision.bit_depths import BIT_DEPTHS, holding_depth
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.images import largest_value

# One image in ten may be an exception: with hot pixels, an overlay, of another mode.
_FEW: Final = 10
# Images that end at a sixteenth of the scale are nearly black on it.
_NEARLY_BLACK: Final = 16
# Of 10 bits, only where values reach its end. A dark image of 12 bits has such values too, and 10
# bits taken for 12 cost little, where 12 taken for 10 leave bright defects out of the scale.
_END_OF_TEN_BITS: Final = 1000

Named = tuple[Sequence[ImageSource], Sequence[str]]


@dataclass(frozen=True)
class _Brightest:
    """The largest value of an image of 16 bits."""

    name: str
    value: int


def settled_bit_depth(
    workspace: Workspace, images: Sequence[Named], settings: FitSettings, progress: Progress
) -> tuple[FitSettings, tuple[str, ...]]:
    """Return the settings with the bit depth of the images, and remarks on it.

    It is found out where the settings do not say: the least that holds all values of nearly all
    images of 16 bits, which are read once more for that. Without any, it stays unknown.

    Parameters
    ----------
    images
        Sources and their names, in sets of which each must agree: those to learn, those to judge.
    """
    if settings.extractor.bit_depth is not None:
        return settings, ()
    sets = [_brightest(workspace, sources, names, progress) for sources, names in images]
    depths = [_depth_of([image.value for image in found]) for found in sets if found]
    if not depths:
        return settings, ()
    depth = max(depths)
    extractor = replace(settings.extractor, bit_depth=depth)
    found = [image for some_images in sets for image in some_images]
    return replace(settings, extractor=extractor), _remarks(found, depth)


def _depth_of(values: Sequence[int]) -> int:
    """Return the least depth that holds all but a few values."""
    largest = sorted(values)[len(values) - 1 - len(values) // _FEW]
    depth = holding_depth(largest)
    return 12 if depth == 10 and largest < _END_OF_TEN_BITS else depth


def _remarks(found: Sequence[_Brightest], depth: int) -> tuple[str, ...]:
    top = 2**depth - 1
    held = [image.value for image in found if image.value <= top]
    beyond = [f"{image.name} ({image.value:,})" for image in found if image.value > top]
    dark = [image.value for image in found if image.value <= top // _NEARLY_BLACK]
    remarks = []
    if depth < max(BIT_DEPTHS):
        hold = "holds" if len(held) == 1 else "hold"
        remarks.append(
            f"{counted(len(held), 'image')} of 16 bits {hold} values up to {max(held):,} of "
            f"65,535: treated as {depth}-bit images ({top:,} is white), here and whenever this "
            f"bank judges; if the camera has another bit depth, set --bit-depth (16 uses the "
            f"values as they are)"
        )
    if beyond:
        remarks.append(
            f"{len(beyond)} of {counted(len(found), 'image')} of 16 bits refused for values beyond "
            f"{depth} bits: {some(beyond)}; check for hot pixels, overlays or another camera mode"
        )
    if len(dark) * _FEW >= len(found):
        remarks.append(
            f"{len(dark)} of {len(found)} images of 16 bits {'ends' if len(dark) == 1 else 'end'} "
            f"at {max(dark):,}, nearly black compared with the others, which reach "
            f"{max(held):,}: if they come from another camera mode, scale them to the same range"
        )
    return tuple(remarks)


def _brightest(
    workspace: Workspace, sources: Sequence[ImageSource], names: Sequence[str], progress: Progress
) -> list[_Brightest]:
    """Return the largest value of each image of 16 bits."""

    def read(number: int) -> int | None:
        return largest_value(sources[number], limits=workspace.limits, name=names[number])

    found = []
    workers = ThreadPoolExecutor(
        workspace.settings.threads or usable_cores(), "patchbank-bit-depth"
    )
    try:
        for number, value in enumerate(workers.map(read, range(len(sources)))):
            if value is not None:
                found.append(_Brightest(names[number], value))
                progress("bit depth", number + 1, len(sources))
    finally:
        workers.shutdown(cancel_futures=True)
    return found
