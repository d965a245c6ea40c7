"""What a spot of an image is compared with: the patches of the bank that are nearest to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ParameterError
from patchbank.inspection.judging.live_bank import ReadyBank
from patchbank.inspection.workspace import Workspace
from patchbank.memory.threads import works_alone
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings

Box = list[int]


def nearest_patches(
    workspace: Workspace,
    bank: ReadyBank,
    image: ImageSource,
    name: str,
    x: float,
    y: float,
    *,
    top: int = 1,
) -> dict[str, Any]:
    """Return the patch of an image at a spot, and the patches of a bank that are nearest to it.

    Parameters
    ----------
    x, y
        The spot in pixels of the image.
    top
        How many patches of the bank.

    Raises
    ------
    ImageError
        If the image cannot be used.
    ParameterError
        If the spot is not in the image, or not inspected.
    BankGoneError
        If the bank is not kept any more.
    """
    extraction = bank.extractor.extract_one(
        image, name=name, limits=workspace.limits, alone=not works_alone()
    )
    width, height = extraction.image.width, extraction.image.height
    if not (0 <= x < width and 0 <= y < height):
        raise ParameterError(
            f"spot {x:g},{y:g}: is not in {name}, which has {width} x {height} pixels"
        )
    settings = bank.extractor.settings
    down, across = settings.patch_centres(width, height)
    row = int(np.abs(down * height - y).argmin())
    column = int(np.abs(across * width - x).argmin())
    inspected = settings.inspected_of(width, height)
    if inspected is not None and not inspected[row, column]:
        raise ParameterError(f"spot {x:g},{y:g}: is in a part of {name} that is not inspected")
    found = workspace.database.patches.similar(
        bank.stored.key, extraction.patches[row, column], top=top, metric="l2"
    )
    sizes = {image.name: (image.width, image.height) for image in bank.stored.content.images}
    return {
        "bank_version": bank.stored.version,
        "row": row,
        "column": column,
        "box_xyxy": patch_box(settings, width, height, row, column),
        "nearest": [
            {
                "image": patch.image,
                "row": patch.row,
                "column": patch.column,
                "box_xyxy": None
                if patch.image is None or patch.row is None or patch.column is None
                else patch_box(settings, *sizes[patch.image], patch.row, patch.column),
                "distance": patch.distance,
                "similarity": patch.similarity,
            }
            for patch in found
        ],
    }


def patch_box(settings: ExtractorSettings, width: int, height: int, row: int, column: int) -> Box:
    """Return what is nearer to a patch's centre than to others, in pixels, ends excluded."""
    down, across = settings.patch_centres(width, height)
    y0, y1 = _ends(down * height, row, height)
    x0, x1 = _ends(across * width, column, width)
    return [x0, y0, x1, y1]


def _ends(centres: NDArray[np.float64], number: int, size: int) -> Sequence[int]:
    half = (centres[1] - centres[0]) / 2 if len(centres) > 1 else size / 2
    begin = min(max(round(centres[number] - half), 0), size - 1)
    return begin, max(begin + 1, min(round(centres[number] + half), size))
