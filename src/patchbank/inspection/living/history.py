"""The versions of a bank: what made them, who, when, and what came and went."""

from __future__ import annotations

from typing import Any

from patchbank.inspection.workspace import Workspace
from patchbank.store.stored_bank import BankVersion


def history(workspace: Workspace, category: str) -> list[dict[str, Any]]:
    """Return a document for each version of a category's bank, newest first, in JSON's types.

    Raises
    ------
    UnknownCategoryError
        If there is no such category.
    """
    return [_document(version) for version in workspace.database.banks.history(category)]


def _document(version: BankVersion) -> dict[str, Any]:
    return {
        "bank_version": version.version,
        "state": version.state,
        "cause": version.cause,
        "same_as": version.same_as,
        "actor": version.actor,
        "images": version.image_count,
        "bank_size": version.patch_count,
        "added": list(version.came),
        "withdrawn": list(version.went),
        "screened": [dict(image) for image in version.screened],
        "thresholds": version.thresholds and dict(version.thresholds),
        "likeness": version.likeness
        and {name: version.likeness[name] for name in ("on", "defects")},
        "created_at": version.created_at.isoformat(timespec="seconds"),
    }
