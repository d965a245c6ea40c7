"""Tell whether what is inspected has changed since a bank was fitted."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from patchbank.errors import ParameterError
from patchbank.inspection.living.drift_changes import DriftChange, changes_of
from patchbank.inspection.living.drift_report import DriftReport, Trend
from patchbank.inspection.living.drift_series import SERIES, Floats, Trail, references_of
from patchbank.inspection.living.suggest import suggest
from patchbank.inspection.settings import DriftBase
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.workspace import Workspace
from patchbank.memory.drift import (
    DEFAULT_IMAGES_PER_FALSE_ALARM,
    Detection,
    detect_changes,
)
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.stored_bank import StoredBank

# The last inspections that are looked at; seconds of work.
_MOST: Final = 50_000
_MOST_DAYS: Final = 36_500
# In fewer, a change must be large to be found.
_FEW: Final = 50
# The median of so many last inspections is shown beside the references' range.
_LAST: Final = 100


def find_drift(
    workspace: Workspace,
    category: str,
    *,
    days: float | None = None,
    station: str | None = None,
    base: DriftBase = "references",
    images_per_false_alarm: float = DEFAULT_IMAGES_PER_FALSE_ALARM,
    suggested: bool = True,
    report: Path | None = None,
    progress: Progress = silent,
) -> DriftReport:
    """Return whether the recorded inspections of a category changed.

    Compared are the score, the brightness, the sharpness and the share of patches farther from the
    bank than its covering radius, each with those of the references and of all earlier inspections
    by the bank; see `detect_changes`.

    Parameters
    ----------
    days
        Report changes of so many last days only; earlier inspections are compared with all the
        same. None for all since the fit.
    station
        Only inspections of this station.
    base
        ``"inspections"`` to compare with the first inspections of the period alone, instead of with
        the references and all inspections before: after a change that is meant to stay.
    suggested
        Whether to look for images that would best be added to the bank.
    report
        Folder for a page.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    ParameterError
        If a value is out of range.
    ReportError, MissingExtraError, DiskFullError
        If the page cannot be written.
    """
    watch = Stopwatch()
    if days is not None and not 0 < days <= _MOST_DAYS:
        raise ParameterError(
            f"days {days:g}: must be a number above 0, such as 7, and at most {_MOST_DAYS:,}"
        )
    if base not in ("references", "inspections"):
        raise ParameterError(f"base {base!r}: must be references or inspections")
    if report is not None:
        from patchbank.reports.page import check_page_folder

        check_page_folder(report)
    since = None if days is None else datetime.now().astimezone() - timedelta(days=days)
    stored = workspace.database.banks.active(category, patches=False)
    trail = read_trail(workspace, stored, station, since if base == "inspections" else None)
    references = references_of(stored.content, trail.quartiles.get(stored.version))
    compared = references if base == "references" else {name: np.empty(0) for name in SERIES}
    detection = detect_changes(
        trail.values, compared, images_per_false_alarm=images_per_false_alarm
    )
    first = 0
    if since is not None:
        first = next(
            (n for n, row in enumerate(trail.rows) if row.inspected_at >= since), len(trail)
        )
    changes = tuple(
        change for change in changes_of(trail, compared, detection) if change.end >= first
    )
    shown = trail.rows[first:]
    found = DriftReport(
        category=category,
        station=station,
        changes=changes,
        inspections=len(shown),
        since=shown[0].inspected_at.astimezone() if shown else None,
        until=shown[-1].inspected_at.astimezone() if shown else None,
        compared_with=_compared_with(compared, first),
        images_per_false_alarm=images_per_false_alarm,
        evidence=_evidence(detection),
        bank_versions=tuple(sorted({row.bank_version for row in shown})),
        trends=_trends(stored, trail, references, first),
        suggestion=None,
        remarks=tuple(_remarks(stored, trail, compared, first)),
        seconds=0.0,
    )
    if suggested and shown:
        rows = trail.rows[changes[-1].begin :] if changes else shown
        found = replace(found, suggestion=suggest(workspace, category, rows, progress=progress))
    found = replace(found, seconds=watch.total())
    if report is not None:
        from patchbank.inspection.living.drift_page import write_drift_page

        shown_references = {**references, "score": reference_shares(stored, trail)}
        found = write_drift_page(
            workspace, report, found, stored, trail, shown_references, detection, first
        )
    return found


def read_trail(
    workspace: Workspace, stored: StoredBank, station: str | None, since: datetime | None
) -> Trail:
    """Read the last inspections by a bank and by the versions of it before."""
    conditions = workspace.database.conditions
    rows = conditions.last(stored.key, limit=_MOST, since=since, station=station)
    versions = sorted({row.bank_version for row in rows} | {stored.version})
    return Trail(rows, conditions.calibration_quartiles(stored.key, versions))


def _evidence(detection: Detection) -> float:
    known = detection.log_evidence[~np.isneginf(detection.log_evidence)]
    return float(math.exp(known[-1])) if len(known) else 0.0


def _compared_with(compared: Mapping[str, Floats], first: int) -> str:
    parts = []
    most = max(len(values) for values in compared.values())
    if most:
        parts.append(counted(most, "reference"))
    if first:
        parts.append(f"{counted(first, 'inspection')} before")
    parts.append("the inspections themselves")
    return " and ".join([", ".join(parts[:-1]), parts[-1]] if len(parts) > 1 else parts)


def _trends(
    stored: StoredBank, trail: Trail, references: Mapping[str, Floats], first: int
) -> tuple[Trend, ...]:
    last = slice(max(first, len(trail) - _LAST), None)
    trends = []
    for name in SERIES:
        values = (trail.shares_of_limit if name == "score" else trail.values[name])[last]
        known = values[~np.isnan(values)]
        base = references[name]
        if name == "score":
            base = reference_shares(stored, trail)
        trends.append(
            Trend(
                name,
                (float(np.quantile(base, 0.05)), float(np.quantile(base, 0.95)))
                if len(base)
                else None,
                float(np.median(known)) if len(known) else None,
            )
        )
    return tuple(trends)


def reference_shares(stored: StoredBank, trail: Trail) -> Floats:
    """Return the calibration scores as shares of the limit of the last inspection."""
    scores = stored.content.scores
    if not len(trail) or not trail.rows[-1].fail_above > 0:
        return np.empty(0)
    return scores.score[scores.counts] / trail.rows[-1].fail_above


def _remarks(
    stored: StoredBank, trail: Trail, compared: Mapping[str, Floats], first: int
) -> list[str]:
    shown = len(trail) - first
    remarks = []
    if 0 < shown < _FEW:
        remarks.append(
            f"only {counted(shown, 'inspection')}: a change must be large to be found in so few"
        )
    if len(trail) == _MOST:
        remarks.append(f"only the last {_MOST:,} inspections were looked at")
    if len(set(trail.versions.tolist())) > 1:
        remarks.append(
            f"versions {trail.versions.min()} to {trail.versions.max()} of the bank judged: their "
            "scores are compared in units of each version's own calibration"
        )
    if len(trail) and len(compared["score"]) and not len(compared["brightness"]):
        remarks.append(
            "the brightness and sharpness of the references are not known, as the bank was fitted "
            "by an earlier version or imported: the first inspections are compared with instead; "
            "fit again to know them"
        )
    unknown = int(np.isnan(trail.values["brightness"][first:]).sum())
    if unknown:
        remarks.append(
            f"{counted(unknown, 'inspection')} of {shown:,} were recorded by an earlier version, "
            "without brightness and sharpness"
        )
    if len(trail) and np.isnan(stored.content.covering_radius):
        remarks.append(
            "the bank was imported without its covering radius, so it is not known which patches "
            "are unlike the references"
        )
    return remarks


__all__ = ["DriftChange", "DriftReport", "find_drift", "read_trail", "reference_shares"]
