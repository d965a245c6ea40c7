"""The references of a category's active bank."""

from __future__ import annotations

from typing import Any

from patchbank.inspection.keeping.pages import Page, page_of
from patchbank.inspection.workspace import Workspace
from patchbank.store.images import StoredReference


def list_references(
    workspace: Workspace, category: str, *, limit: int, before: int | None = None
) -> Page:
    """Return references of the active bank, those added last first.

    Parameters
    ----------
    limit
        How many at most.
    before
        The number of the last reference of the page before; None for the first page.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category, or no bank in it.
    """
    rows = workspace.database.images.references(
        workspace.database.banks.active_key(category), limit=limit + 1, before=before
    )
    return page_of(rows, limit, _document, lambda row: row.reference_id)


def _document(reference: StoredReference) -> dict[str, Any]:
    return {
        **reference._asdict(),
        "added_at": reference.added_at.astimezone().isoformat(timespec="seconds"),
    }
