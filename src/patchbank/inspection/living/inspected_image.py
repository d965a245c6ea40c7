"""The image of a recorded inspection, to be judged again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from patchbank.files import read_regular
from patchbank.inspection.sources import file_at
from patchbank.inspection.workspace import Workspace
from patchbank.store.conditions import Condition
from patchbank.store.inspections import InspectionRecord
from patchbank.store.reviews import OpenInspection


def inspected_image(
    workspace: Workspace, category_id: int, record: Condition | InspectionRecord | OpenInspection
) -> Path | bytes | None:
    """Return an inspected image: its file, if that is unchanged, or as it was kept, if it was."""
    if workspace.reads_inspected_files and (path := _file(workspace, record)) is not None:
        return path
    assert record.inspection_id is not None
    kept = workspace.database.inspections.image(category_id, record.inspection_id)
    return None if kept is None else kept.content


def _file(
    workspace: Workspace, record: Condition | InspectionRecord | OpenInspection
) -> Path | None:
    path = file_at(record.image_name)
    try:
        content = read_regular(path, workspace.limits.max_bytes)
    except (OSError, ValueError):
        # It is gone, or what was inspected had another name than its path.
        return None
    return path if hashlib.sha256(content).hexdigest() == record.sha256 else None
