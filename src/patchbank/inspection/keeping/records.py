"""Recorded inspections, one by one and page after page, and their heatmaps drawn again."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from patchbank.inspection.judging.heatmaps import heatmap_of
from patchbank.inspection.judging.live_bank import LiveBank, ReadyBank
from patchbank.inspection.keeping.inspected_images import image_of
from patchbank.inspection.keeping.inspections import make_selection
from patchbank.inspection.keeping.pages import Page, page_of
from patchbank.inspection.keeping.recorded import recorded
from patchbank.inspection.verdicts import Judgement
from patchbank.inspection.workspace import Workspace
from patchbank.memory.threads import works_alone
from patchbank.store.inspections import InspectionRecord
from patchbank.vision.decoded_image import DecodedImage
from patchbank.vision.own_pictures import own_mark

# Returns the bank that judged an inspection.
BankOf = Callable[[InspectionRecord], ReadyBank]


def show_inspection(workspace: Workspace, category: str, inspection_id: int) -> dict[str, Any]:
    """Return all that is recorded of an inspection, in JSON's types.

    Raises
    ------
    UnknownCategoryError, NotFoundError
        If there is no such category, or it has no such inspection.
    """
    return recorded(category, workspace.database.inspections.get(category, inspection_id)).to_json()


def list_inspections(
    workspace: Workspace, category: str, *, limit: int, before: int | None = None, **options: Any
) -> Page:
    """Return recorded inspections of a category, newest first.

    Parameters
    ----------
    limit
        How many at most.
    before
        The number of the last inspection of the page before; None for the first page.
    **options
        Which inspections: see `make_selection`.

    Raises
    ------
    UnknownCategoryError, NotFoundError
        If there is no such category, or the inspection before is not there any more.
    ParameterError
        If a value is out of range.
    """
    inspections = workspace.database.inspections
    last = None if before is None else recorded(category, inspections.get(category, before))
    selection = make_selection(limit=limit + 1, before=last, **options)
    return page_of(
        [recorded(category, row) for row in inspections.page(category, selection)],
        limit,
        lambda inspection: inspection.to_json(),
        lambda inspection: inspection.inspection_id,
    )


def recorded_heatmap(
    workspace: Workspace, category: str, inspection_id: int, bank_of: BankOf | None = None
) -> bytes:
    """Return the heatmap picture of a recorded inspection, as PNG: see `judged_again`."""
    inspection, image, judgement = judged_again(workspace, category, inspection_id, bank_of)
    file = io.BytesIO()
    heatmap_of(image.pixels, judgement, inspection.image_name).save(
        file, format="PNG", compress_level=1, **own_mark(".png")
    )
    return file.getvalue()


def judged_again(
    workspace: Workspace, category: str, inspection_id: int, bank_of: BankOf | None = None
) -> tuple[InspectionRecord, DecodedImage, Judgement]:
    """Return what the bank that judged an inspection makes of its image, which must be kept.

    Parameters
    ----------
    bank_of
        Returns the bank that judged an inspection, where it may be in memory already; it is read
        from the database by default.

    Raises
    ------
    UnknownCategoryError, NotFoundError
        If there is no such category or inspection, or its image was not kept.
    BankGoneError
        If the version that judged is not kept any more.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """
    inspection = workspace.database.inspections.get(category, inspection_id)
    content = image_of(workspace, inspection)
    if bank_of is None:
        bank = LiveBank(workspace, category, version=inspection.bank_version).ready
    else:
        bank = bank_of(inspection)
    extraction = bank.extractor.extract_one(
        content,
        name=inspection.image_name,
        limits=workspace.limits,
        alone=not works_alone(),
    )
    image = extraction.image
    judgement = bank.judge(
        extraction.patches, image.width, image.height, embedding=extraction.embedding
    )
    return inspection, image, judgement
