"""Inspections that are not kept any longer: shown, and removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from patchbank.errors import ParameterError
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.store.retention import RetentionPlan


@dataclass(frozen=True)
class PruneReport:
    """What was removed, or would be: see `RetentionPlan`."""

    plan: RetentionPlan
    removed: bool

    @property
    def lines(self) -> list[str]:
        """What was removed, or would be, in lines."""
        plan = self.plan
        lines: list[str] = []
        if plan.empty:
            return [f"nothing to remove; inspections take {plan.size_bytes / 1e6:,.1f} MB"]
        verb = "removed" if self.removed else "would remove"
        lines.extend(
            f"{verb} {counted(month.inspections, 'inspection')} of {month.first:%Y-%m}, "
            f"{month.size_bytes / 1e6:,.1f} MB"
            for month in plan.months
        )
        if plan.before is not None:
            lines.append(
                f"{verb} {counted(plan.inspections, 'inspection')} before "
                f"{plan.before.astimezone():%Y-%m-%d %H:%M}"
            )
        return lines

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        plan = self.plan
        return {
            "removed": self.removed,
            "months": [
                {
                    "month": f"{month.first:%Y-%m}",
                    "inspections": month.inspections,
                    "size_bytes": month.size_bytes,
                }
                for month in plan.months
            ],
            "before": None if plan.before is None else plan.before.isoformat(),
            "inspections_before": plan.inspections,
            "size_bytes": plan.size_bytes,
        }


def prune(workspace: Workspace, *, dry_run: bool = False) -> PruneReport:
    """Remove the inspections that the settings do not keep any longer, with their images.

    Parameters
    ----------
    dry_run
        Only say what would be removed.

    Raises
    ------
    ParameterError
        If the settings keep all.
    DatabaseError
        If this role does not own the tables, or they were in use all the time.
    """
    settings = workspace.settings
    if settings.keep_inspections_days is None and settings.keep_inspections_bytes is None:
        raise ParameterError(
            "all inspections are kept; set PATCHBANK_KEEP_INSPECTIONS_DAYS or "
            "PATCHBANK_KEEP_INSPECTIONS_BYTES to remove old ones"
        )
    retained = workspace.database.inspections.retained
    plan = retained.plan()
    if not dry_run and not plan.empty:
        retained.remove(plan)
    return PruneReport(plan, not dry_run)
