"""Images that were kept with their inspections."""

from __future__ import annotations

from pathlib import Path

from patchbank.errors import NotFoundError, ReportError
from patchbank.files import new_file, writing
from patchbank.inspection.workspace import Workspace
from patchbank.store.inspections import Selection


def inspected_image(workspace: Workspace, category: str, inspection_id: int) -> bytes:
    """Return the image that was kept with an inspection: its file, or a PNG of its pixels.

    Inspecting it by the version of the bank that judged gives the recorded score again.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    NotFoundError
        If there is no such inspection, or its image was not kept.
    """
    inspections = workspace.database.inspections
    found = inspections.page(category, Selection(limit=1, inspection_id=inspection_id))
    if not found:
        raise NotFoundError(
            f"category {category!r} has no inspection {inspection_id}; `patchbank inspections "
            f"{category}` lists them"
        )
    image = inspections.image(found[0].category_id, inspection_id)
    if image is None:
        raise NotFoundError(
            f"the image of inspection {inspection_id} ({found[0].image_name}) is not in the "
            "database; PATCHBANK_KEEP_IMAGES says which are kept"
        )
    return image.content


def write_inspected_image(
    workspace: Workspace, category: str, inspection_id: int, file: Path
) -> None:
    """Write the image that was kept with an inspection to a new file; see `inspected_image`.

    Raises
    ------
    ReportError, DiskFullError
        If the file exists or cannot be written.
    """
    content = inspected_image(workspace, category, inspection_id)
    if file.exists():
        raise ReportError(f"{file} exists; give another file")
    with (
        writing(f"the file {file.name}", file.parent, ReportError, "give another file"),
        new_file(file) as draft,
    ):
        draft.write_bytes(content)
