"""The picture of an inspection: drawn, named, written."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchbank.errors import ReportError
from patchbank.files import new_file, writing
from patchbank.inspection.verdicts import Judgement
from patchbank.memory.defect_book import Probable
from patchbank.vision.own_pictures import own_mark

# Bytes; file systems allow 255 for a name.
_LONGEST_STEM = 200


def heatmap_path(folder: Path, name: str, sha256: str) -> Path:
    """Return where the picture of an image goes.

    The content's hash keeps apart images of one name from different folders.
    """
    # Cut, so that the longest name a file may have still fits with what is added.
    stem = os.fsencode(Path(name).stem)[:_LONGEST_STEM].decode("utf-8", "ignore")
    return folder / f"{stem}-{sha256[:8]}.png"


def check_folder(folder: Path) -> None:
    """Raise `ReportError` where a file stands in the way of a folder for pictures."""
    there = next((part for part in (folder, *folder.parents) if part.exists()), None)
    if there is not None and not there.is_dir():
        raise ReportError(
            f"pictures cannot be written to {folder}: {there} is a file; give a folder"
        )


def write_heatmap(
    path: Path,
    pixels: NDArray[np.uint8],
    judgement: Judgement,
    name: str,
    *,
    probable: Probable | None = None,
) -> None:
    """Write the heatmap picture of an image that was judged; whole or not at all.

    Raises
    ------
    DiskFullError, ReportError
        If it cannot be written.
    """
    picture = heatmap_of(pixels, judgement, name, probable=probable)
    with writing(f"heatmap {path.name}", path.parent, ReportError, "give another folder"):
        check_folder(path.parent)
        path.parent.mkdir(parents=True, exist_ok=True)
        # It can be drawn again: no image waits for the disk.
        with new_file(path, durable=False) as draft:
            picture.save(draft, format="PNG", compress_level=1, **own_mark(".png"))


def heatmap_of(
    pixels: NDArray[np.uint8],
    judgement: Judgement,
    name: str,
    *,
    probable: Probable | None = None,
) -> Image.Image:
    """Return the picture of a judgement: the image, by its name, beside its anomaly map.

    `probable` is what its strongest region probably is, if that is known.
    """
    from patchbank.reports.pictures import heatmap_picture

    return heatmap_picture(
        pixels,
        judgement.full_map(),
        verdict=judgement.verdict,
        facts=judgement.standing,
        remark="; ".join(
            filter(None, (judgement.likeness_in_words, str(probable) if probable else ""))
        ),
        map_threshold=judgement.map_threshold,
        regions=judgement.regions,
        name=name,
    )
