"""What the database takes, and how long it keeps what."""

from __future__ import annotations

from typing import Any

from patchbank.inspection.workspace import Workspace


def storage_report(workspace: Workspace) -> dict[str, Any]:
    """Return the size of the database and the settings that bound it, in JSON's types.

    Raises
    ------
    DatabaseError
        If the database does not answer.
    """
    settings = workspace.settings
    status = workspace.database.status()
    plan = workspace.database.inspections.retained.plan()
    return {
        "embedded": status.embedded,
        "postgresql": status.server_version,
        "pgvector": status.pgvector_version,
        "size_bytes": status.size_bytes,
        "inspections_bytes": plan.size_bytes,
        "keep_images": settings.keep_images,
        "keep_inspections_days": settings.keep_inspections_days,
        "keep_inspections_bytes": settings.keep_inspections_bytes,
        "keep_versions": settings.keep_versions,
        "keep_days": settings.keep_days,
        "due": plan.inspections + sum(month.inspections for month in plan.months),
    }
