"""The references of a category's active bank, and how they score."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from patchbank.inspection.judging.judge import thresholds_of
from patchbank.inspection.keeping.pages import Page, page_of
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from patchbank.store.images import StoredReference
from patchbank.store.inspections import VERDICTS, Selection

Order = Literal["newest", "unusual"]


def list_references(
    workspace: Workspace,
    category: str,
    *,
    limit: int,
    before: int | None = None,
    order: Order = "newest",
) -> Page:
    """Return references of the active bank, those added last first.

    An `outlier` would not pass by the bank without it.

    Parameters
    ----------
    limit
        How many at most.
    before
        The number of the last reference of the page before; None for the first page.
    order
        ``"unusual"`` for those with the highest scores first.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category, or no bank in it.
    """
    stored = workspace.database.banks.active(category, patches=False)
    thresholds = thresholds_of(stored)
    rows = workspace.database.images.references(
        stored.key, limit=limit + 1, before=before, unusual=order == "unusual"
    )
    return page_of(
        rows, limit, lambda row: _document(row, thresholds), lambda row: row.reference_id
    )


def score_histogram(
    workspace: Workspace, category: str, *, bins: int, inspections: int
) -> dict[str, Any]:
    """Return how the scores of references and of recorded inspections are distributed.

    Parameters
    ----------
    bins
        How many, of one width.
    inspections
        Of how many of the last inspections; those that a person called a defect are counted too.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category, or no bank in it.
    """
    stored = workspace.database.banks.active(category, patches=False)
    thresholds = thresholds_of(stored)
    scores = stored.content.scores
    references = (scores.score + scores.added)[scores.counts]
    with workspace.database.inspections.selected(
        category, Selection(limit=inspections)
    ) as selected:
        last = list(selected.brief())
    found = {verdict: [row.score for row in last if row.verdict == verdict] for verdict in VERDICTS}
    defects = [row.score for row in last if (row.review or "").startswith("defect")]
    everything = np.concatenate([references, *map(np.asarray, found.values())])
    limits = [] if thresholds is None else [thresholds.pass_below, thresholds.fail_above]
    known = np.concatenate([everything, limits])
    span = (float(known.min()), float(known.max())) if len(known) else (0.0, 1.0)
    edges = np.histogram_bin_edges(known, bins, span)

    def counted(values: Any) -> list[int]:
        return [int(count) for count in np.histogram(np.asarray(values, float), edges)[0]]

    return {
        "category": category,
        "bank_version": stored.version,
        "pass_below": None if thresholds is None else thresholds.pass_below,
        "fail_above": None if thresholds is None else thresholds.fail_above,
        "edges": edges.tolist(),
        "references": counted(references),
        "inspections": {verdict: counted(values) for verdict, values in found.items()},
        "defects": counted(defects),
    }


def _document(reference: StoredReference, thresholds: Thresholds | None) -> dict[str, Any]:
    score = reference.score
    return {
        **reference._asdict(),
        "added_at": reference.added_at.astimezone().isoformat(timespec="seconds"),
        "outlier": None if score is None or thresholds is None else score > thresholds.pass_below,
    }
