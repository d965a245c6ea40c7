"""The recorded defects of a category: real ones, and synthetic ones, which are marked as such."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchbank.datasets.collect import collect
from patchbank.errors import ImageError, NotFoundError, ParameterError
from patchbank.inspection.judging.defect_regions import (
    boxes_of,
    defect_regions,
    marked_pixels,
    paired_masks,
    pixels_in,
)
from patchbank.inspection.judging.known_defects import are_references, in_place_of, known_label
from patchbank.inspection.judging.live_bank import LiveBank, ReadyBank
from patchbank.inspection.settings import THUMBNAIL_SIDE
from patchbank.inspection.sources import checked_name, file_at, readable, source_name
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.store.defects import NewDefect, StoredDefect
from patchbank.store.stored_bank import StoredBank
from patchbank.vision.extraction import Extraction
from patchbank.vision.images import decode
from patchbank.vision.synthetic import cut_paste

SYNTHETIC_LABEL = "synthetic cut-paste"

_STAGE = "defects"
# Of a synthetic defect, until it is where an image is inspected.
_MOST_DRAWS = 100
_SYNTHETIC_NAME = re.compile(r"synthetic/(\d+)")


@dataclass(frozen=True)
class DefectsAdded:
    """What was recorded, and what could not be."""

    names: tuple[str, ...]
    synthetic: bool
    refused: tuple[Refused, ...] = ()
    remarks: tuple[str, ...] = ()


def add_defects(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    *,
    label: str | None = None,
    masks: str | Path | None = None,
    boxes: Sequence[str] = (),
    progress: Progress = silent,
) -> DefectsAdded:
    """Record anomalous images, found at paths, with a label; all that can be used, or none.

    Their regions are those of their masks or boxes, or else those that the active bank finds; the
    embeddings are of its extractor. An image that is recorded already keeps its name, and its label
    where none is given.

    Parameters
    ----------
    masks
        The mask of a single image, or a folder of masks that are named like the images.
    boxes
        Where the defect of a single image is, instead of a mask: ``x,y,width,height`` in pixels of
        the image as it is shown, or in per cent.

    Raises
    ------
    NoImagesError
        If there is no image at the paths.
    ParameterError, DatasetError
        If the masks or boxes do not belong to the images, or the label is empty.
    UnknownCategoryError, NotFittedError, ExtractorMismatchError
        If there is no bank, or this installation cannot use it.
    """
    found = collect(paths)
    spelled: list[str] = []
    if label is not None:
        label, spelled = known_label(workspace, category, label)
    known, remarks = paired_masks(found.images, None if masks is None else Path(masks))
    in_boxes = boxes_of(found.images, boxes, masks)
    bank = LiveBank(workspace, category).ready
    defects: list[NewDefect] = []
    refused, repeats = [], []
    stream = bank.extractor.extract_many(
        found.images,
        limits=workspace.limits,
        thumbnail_side=THUMBNAIL_SIDE,
        stage=_STAGE,
        progress=progress,
    )
    for path, mask, result in zip(found.images, known, stream, strict=True):
        name = source_name(path)
        if not isinstance(result, Extraction):
            refused.append(Refused(name, str(result.error)))
            continue
        image = result.image
        first = next((other for other in defects if other.sha256 == image.sha256), None)
        if first is not None:
            repeats.append(f"{name} is the same image as {first.name}; recorded once")
            continue
        marked = marked_pixels(mask, path, image.width, image.height)
        if in_boxes:
            marked = pixels_in(in_boxes, path, image.width, image.height)
        origin = readable(str(Path(path).absolute()))
        defects.append(new_defect(bank, name, label, result, origin=origin, marked=marked))
    defects, replaced = in_place_of(workspace, category, defects)
    if defects:
        workspace.database.defects.add(category, bank.extractor.fingerprint, defects)
    return DefectsAdded(
        tuple(defect.name for defect in defects),
        False,
        tuple(refused),
        (
            *found.remarks,
            *remarks,
            *spelled,
            *repeats,
            *replaced,
            *are_references(bank, defects),
            *_remarks_on(bank),
        ),
    )


def refresh_defects(
    workspace: Workspace, category: str, *, progress: Progress = silent
) -> DefectsAdded:
    """Bring the defects that the active bank cannot compare up to date, from their files.

    These were recorded with another extractor, or before regions were. A file that is gone or was
    changed is refused, and its defect stays as it is. What a mask said is not known any more: the
    bank finds the regions.

    Raises
    ------
    UnknownCategoryError, NotFittedError, ExtractorMismatchError
        If there is no bank, or this installation cannot use it.
    """
    bank = LiveBank(workspace, category).ready
    old = [
        defect
        for defect in workspace.database.defects.of_category(category)
        if not (defect.comparable and defect.boxes) and not defect.synthetic
    ]
    defects, refused = [], []
    for done, defect in enumerate(old, start=1):
        try:
            result = bank.extractor.extract_one(
                unchanged_file(defect), limits=workspace.limits, thumbnail_side=THUMBNAIL_SIDE
            )
        except ImageError as error:
            refused.append(Refused(defect.name, str(error)))
        else:
            defects.append(
                new_defect(bank, defect.name, defect.label, result, origin=defect.origin)
            )
        progress(_STAGE, done, len(old))
    if defects:
        workspace.database.defects.add(category, bank.extractor.fingerprint, defects)
    names = tuple(defect.name for defect in defects)
    return DefectsAdded(names, False, tuple(refused), _remarks_on(bank))


def unchanged_file(defect: StoredDefect) -> Path:
    """Return the file that a defect was recorded from, or raise ImageError."""
    if defect.origin is None:
        raise ImageError(f"{defect.name}: was not recorded from a file; add it again")
    path = file_at(defect.origin)
    try:
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ImageError(
            f"{defect.name}: its file {path} cannot be read: {error.strerror}; add it again"
        ) from error
    if digest != defect.sha256:
        raise ImageError(f"{defect.name}: its file {path} was changed; add it again")
    return path


def _remarks_on(bank: ReadyBank) -> tuple[str, ...]:
    """Return what there is to know of how a bank found regions."""
    if bank.calibrated:
        return ()
    category = bank.stored.category
    return (
        f"recorded without regions, because the bank has no threshold yet; run: patchbank "
        f"calibrate {category} GOOD_IMAGES..., then: patchbank defects refresh {category}",
    )


def add_synthetic_defects(
    workspace: Workspace, category: str, count: int, *, seed: int = 0, progress: Progress = silent
) -> DefectsAdded:
    """Record synthetic anomalies, made from the files of reference images by cut and paste.

    They stand in for defects until real ones are there: they say nothing about a part's real
    defects, and are marked wherever they appear.

    Parameters
    ----------
    count
        How many, at least 1.
    seed
        What chooses images and changes.

    Raises
    ------
    ParameterError
        If the count is below 1.
    ImageError
        If no reference image's file is where it was.
    UnknownCategoryError, NotFittedError, ExtractorMismatchError
        If there is no bank, or this installation cannot use it.
    """
    if count < 1:
        raise ParameterError(f"synthetic {count}: must be at least 1")
    bank = LiveBank(workspace, category).ready
    random = np.random.default_rng(seed)
    origins = _files(bank.stored, random)
    taken = [
        int(match[1])
        for defect in workspace.database.defects.of_category(category)
        if (match := _SYNTHETIC_NAME.match(defect.name))
    ]
    first = max(taken, default=0) + 1
    defects = []
    for done in range(count):
        origin = origins[done % len(origins)]
        defects.append(_synthetic(workspace, bank, f"synthetic/{first + done:04}", origin, random))
        progress(_STAGE, done + 1, count)
    workspace.database.defects.add(category, bank.extractor.fingerprint, defects)
    names = tuple(defect.name for defect in defects)
    return DefectsAdded(names, True, remarks=_remarks_on(bank))


def list_defects(workspace: Workspace, category: str) -> list[StoredDefect]:
    """Return a category's defects by name.

    Raises
    ------
    UnknownCategoryError
        If no category has that name.
    """
    return workspace.database.defects.of_category(category)


def find_defect(workspace: Workspace, category: str, defect_id: int) -> StoredDefect:
    """Return a defect by its number.

    Raises
    ------
    UnknownCategoryError, NotFoundError
        If there is no such category or defect.
    """
    for defect in workspace.database.defects.of_category(category):
        if defect.defect_id == defect_id:
            return defect
    raise NotFoundError(
        f"category {category!r} has no defect {defect_id}; `patchbank defects list {category}` "
        "lists them"
    )


def remove_defects(
    workspace: Workspace, category: str, names: Sequence[str] = (), *, synthetic: bool = False
) -> list[str]:
    """Remove the named defects, and all synthetic ones if asked; return which went.

    Raises
    ------
    UnknownCategoryError, ParameterError
        If there is no such category or defect, or nothing was named; then all stay.
    """
    if not names and not synthetic:
        raise ParameterError(
            "defects remove: give names of defects, or --synthetic for all synthetic ones"
        )
    names = [checked_name(name) for name in names]
    return workspace.database.defects.remove(category, names, synthetic=synthetic)


def defect_to_json(defect: StoredDefect) -> dict[str, Any]:
    """Return the JSON object the commands print."""
    return {
        "defect_id": defect.defect_id,
        "name": defect.name,
        "label": defect.label,
        "synthetic": defect.synthetic,
        "width": defect.width,
        "height": defect.height,
        "origin": defect.origin,
        "added_at": defect.added_at.isoformat(timespec="seconds"),
        "comparable": defect.comparable,
        "regions": [{"box_xyxy": box} for box in defect.boxes],
    }


def _files(bank: StoredBank, random: np.random.Generator) -> list[Path]:
    """Return the files of reference images that are still there, shuffled."""
    origins = [file_at(image.origin) for image in bank.content.images if image.origin is not None]
    there = [path for path in origins if path.is_file()]
    if not there:
        where = f"; they were in {origins[0]} and other paths" if origins else ""
        raise ImageError(
            f"category {bank.category!r}: the files of the reference images, from which "
            f"synthetic defects are made, were moved or deleted{where}; restore them, or "
            f"record real defects"
        )
    return [there[index] for index in random.permutation(len(there))]


def _synthetic(
    workspace: Workspace,
    bank: ReadyBank,
    name: str,
    origin: Path,
    random: np.random.Generator,
) -> NewDefect:
    extractor = bank.extractor
    good = decode(origin, limits=workspace.limits, bit_depth=extractor.settings.bit_depth)
    picture = cut_paste(good.pixels, random)
    for _ in range(_MOST_DRAWS):
        rows, columns = np.nonzero((picture != good.pixels).any(axis=2))
        regions = extractor.settings.regions
        # What is not inspected is no defect.
        if regions is None or (
            len(rows)
            and regions.inspects(columns.mean() + 0.5, rows.mean() + 0.5, good.width, good.height)
        ):
            break
        picture = cut_paste(good.pixels, random)
    extraction = extractor.extract_one(picture, name=name, thumbnail_side=THUMBNAIL_SIDE)
    return new_defect(
        bank,
        name,
        SYNTHETIC_LABEL,
        extraction,
        origin=readable(str(origin)),
        marked=(picture != good.pixels).any(axis=2),
        synthetic=True,
    )


def new_defect(
    bank: ReadyBank,
    name: str,
    label: str | None,
    extraction: Extraction,
    *,
    origin: str | None,
    marked: NDArray[np.bool_] | None = None,
    synthetic: bool = False,
) -> NewDefect:
    """Return a defect to record: an image with its regions; see `defect_regions`."""
    image = extraction.image
    return NewDefect(
        name=name,
        label=label,
        synthetic=synthetic,
        sha256=image.sha256,
        width=image.width,
        height=image.height,
        thumbnail=extraction.thumbnail,
        origin=origin,
        embedding=extraction.embedding,
        regions=defect_regions(bank, extraction, marked) if bank.calibrated else (),
    )
