"""Where a recorded defect is in its image, and what is there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.layouts.shared import some
from patchbank.datasets.masks import read_mask
from patchbank.datasets.pairing import masks_by_name, paired
from patchbank.datasets.samples import Mask
from patchbank.errors import ParameterError
from patchbank.inspection.judging.judge import strongest
from patchbank.inspection.judging.live_bank import ReadyBank
from patchbank.inspection.verdicts import Judgement
from patchbank.memory.maps import Region, find_regions
from patchbank.printable import counted
from patchbank.store.defects import DefectRegion
from patchbank.vision.extraction import Extraction
from patchbank.vision.regions import Box

# The strongest ones; a photograph of a crumbled part may have hundreds.
_MOST_REGIONS = 20
# Endings of masks' names after the names of their images, in the layouts of published data sets.
_MASK_SUFFIXES = ("_mask", "-mask", "_GT", "_gt", "_label", "")


def defect_regions(
    bank: ReadyBank, extraction: Extraction, marked: NDArray[np.bool_] | None = None
) -> tuple[DefectRegion, ...]:
    """Return the regions of an image of a defect, the strongest first, 20 at most.

    Parameters
    ----------
    bank
        What finds them: where its anomaly map is above the map's threshold, or else the strongest
        spot of the image.
    marked
        (height, width): where the defect is, if somebody said so: then only regions there, and what
        is marked outside of them.
    """
    image, judge = extraction.image, bank.judge
    judgement = judge(extraction.patches, image.width, image.height, embedding=extraction.embedding)
    found: Sequence[Region] = judgement.regions
    if marked is not None:
        found = _marked_regions(judgement, marked)
    elif not found:
        found = strongest(judgement.anomaly_map, judgement.inspected_box, image.width, image.height)
    found = found[:_MOST_REGIONS]
    embeddings = judge.embeddings(
        extraction.patches, image.width, image.height, [region.box_xyxy for region in found]
    )
    return tuple(
        DefectRegion(
            region.box_xyxy,
            region.area_pixels,
            region.peak_score,
            embedding,
        )
        for region, embedding in zip(found, embeddings, strict=True)
        # Where nothing is inspected, or nothing differs, there is nothing to compare.
        if embedding.any()
    )


def _marked_regions(judgement: Judgement, marked: NDArray[np.bool_]) -> list[Region]:
    """Return the bank's regions where something is marked, and what is marked outside of these.

    The bank's own, where there are, because those of the images to compare with are its own too.
    """
    rest, found = marked.copy(), []
    for region in judgement.regions:
        x0, y0, x1, y1 = region.box_xyxy
        if marked[y0:y1, x0:x1].any():
            found.append(region)
            rest[y0:y1, x0:x1] = False
    if not rest.any():
        return found
    anomaly = np.nan_to_num(judgement.full_map())
    # Raised above 0 where it is marked, so that what is marked is what is found.
    offset = 1 - float(anomaly.min())
    others = find_regions(
        np.where(rest, anomaly + offset, np.float32(0)),
        0.0,
        box=(0, 0, judgement.width, judgement.height),
        width=judgement.width,
        height=judgement.height,
    )
    return [
        *found,
        *(replace(region, peak_score=region.peak_score - offset) for region in others),
    ]


def paired_masks(images: Sequence[Path], masks: Path | None) -> tuple[list[Mask | None], list[str]]:
    """Return the mask of each image, and remarks.

    Parameters
    ----------
    masks
        The mask of the only image, or a folder of masks that are named like the images, such as
        ``000_mask.png`` for ``000.png``; None without masks.

    Raises
    ------
    ParameterError
        If there is no such file or folder, or it has no mask for any of the images.
    """
    if masks is None:
        return [None] * len(images), []
    if masks.is_file():
        if len(images) != 1:
            raise ParameterError(
                f"mask {masks} is one file for {counted(len(images), 'image')}; give a folder of "
                "masks that are named like the images"
            )
        return [Mask((masks,))], []
    if not masks.is_dir():
        raise ParameterError(f"mask {masks} does not exist; give a mask or a folder of masks")
    remarks: list[str] = []
    found = paired(
        [image.name for image in images], masks_by_name(masks, remarks, suffixes=_MASK_SUFFIXES)
    )
    if not found:
        raise ParameterError(
            f"mask {masks}: no file in it is named like one of the images, such as "
            f"{images[0].stem}_mask.png for {images[0].name}"
        )
    missing = [image.name for number, image in enumerate(images) if number not in found]
    if missing:
        remarks.append(
            f"{masks}: no mask for {len(missing)} of {counted(len(images), 'image')}, so the bank "
            f"finds their regions: {some(missing)}"
        )
    return [
        found[number].mask if number in found else None for number in range(len(images))
    ], remarks


def marked_pixels(
    mask: Mask | None, image: Path, width: int, height: int
) -> NDArray[np.bool_] | None:
    """Return where a mask marks the defect in its image, (height, width); None without a mask.

    Raises
    ------
    DatasetError, ImageError
        If the mask does not belong to the image, marks nothing, or cannot be read.
    """
    return None if mask is None else read_mask(mask, height, width, image=image)


def boxes_of(
    images: Sequence[Path], boxes: Sequence[str], masks: str | Path | None
) -> tuple[Box, ...]:
    """Return boxes that say where the defect of a single image is.

    Raises
    ------
    ParameterError
        If a text is no box, or there are several images, or masks too.
    """
    found = tuple(Box.parse(text) for text in boxes)
    if found and masks is not None:
        raise ParameterError(f"box {found[0]}: give either boxes or a mask, not both")
    if found and len(images) != 1:
        raise ParameterError(
            f"box {found[0]}: says where the defect of one image is, and {len(images)} images were "
            "given; give one image, or --mask with a folder of masks"
        )
    return found


def pixels_in(
    boxes: Sequence[Box], image: str | Path, width: int, height: int
) -> NDArray[np.bool_]:
    """Return which pixels of an image are in one of some boxes, (height, width).

    Raises
    ------
    ParameterError
        If a box ends outside of the image, or holds no pixel.
    """
    down = (np.arange(height) + 0.5) / height
    across = (np.arange(width) + 0.5) / width
    found = np.zeros((height, width), np.bool_)
    for box in boxes:
        inside = box.holds(down, across, (width, height))
        if not box.in_percent and (box.x + box.width > width or box.y + box.height > height):
            raise ParameterError(
                f"box {box}: ends outside of {image}, which has {width} x {height} pixels; give "
                "x,y,width,height"
            )
        if not inside.any():
            raise ParameterError(f"box {box}: holds no pixel of {image}; give a larger one")
        found |= inside
    return found
