"""Images that were kept with their inspections."""

from __future__ import annotations

from pathlib import Path

from patchbank.errors import NotFoundError, ReportError
from patchbank.files import new_file, writing
from patchbank.inspection.workspace import Workspace
from patchbank.store.inspections import InspectionRecord


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
    return image_of(workspace, workspace.database.inspections.get(category, inspection_id))


def image_of(workspace: Workspace, inspection: InspectionRecord) -> bytes:
    """Return the image that was kept with a recorded inspection; see `inspected_image`."""
    number = inspection.inspection_id
    assert number is not None
    image = workspace.database.inspections.image(inspection.category_id, number)
    if image is None:
        raise NotFoundError(
            f"the image of inspection {number} ({inspection.image_name}) is not in the "
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
