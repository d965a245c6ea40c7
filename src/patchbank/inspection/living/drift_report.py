"""What a look for drift found."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from patchbank.inspection.living.drift_changes import DriftChange, moment_in_words
from patchbank.inspection.living.suggest import Suggestion
from patchbank.printable import counted


@dataclass(frozen=True, slots=True)
class Trend:
    """A number of the inspections: the references' range (5 % to 95 %), and the last median.

    Of scores, as a share of the limit. The range is None where it is not known.
    """

    series: str
    references: tuple[float, float] | None
    last: float | None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "series": self.series,
            "references": None if self.references is None else list(self.references),
            "last": self.last,
        }


@dataclass(frozen=True, repr=False)
class DriftReport:
    """What a look for drift found.

    Attributes
    ----------
    changes
        The changes that reach into the period, the earliest first.
    inspections
        How many there are in the period.
    since, until
        When the first and the last of these were; None without any.
    compared_with
        In words.
    images_per_false_alarm
        The guarantee: while nothing changes, at most one false alarm in so many inspections, on
        average.
    evidence
        Of a change, after the last inspection: 1 says nothing, and `images_per_false_alarm` raises
        an alarm.
    bank_versions
        Those that judged.
    trends
        The light, the lens, the scores and the patches outside.
    suggestion
        Which images would best be added, if they are good.
    page
        The page, if one was written.
    """

    category: str
    station: str | None
    changes: tuple[DriftChange, ...]
    inspections: int
    since: datetime | None
    until: datetime | None
    compared_with: str
    images_per_false_alarm: float
    evidence: float
    bank_versions: tuple[int, ...]
    trends: tuple[Trend, ...]
    suggestion: Suggestion | None
    remarks: tuple[str, ...]
    seconds: float
    page: Path | None = None

    def __repr__(self) -> str:
        return f"<DriftReport of {self.category!r}: {self.verdict}>"

    @property
    def changed(self) -> bool:
        """Whether a change was found in the period."""
        return bool(self.changes)

    @property
    def verdict(self) -> str:
        """What was found, in a line."""
        if self.since is None:
            return "no inspections are recorded, so nothing can be said"
        if not self.changes:
            return (
                f"no change found in {counted(self.inspections, 'inspection')} since "
                f"{moment_in_words(self.since)}"
            )
        last = self.changes[-1]
        text = f"changed {last.times}: {last.text}"
        if len(self.changes) > 1:
            text += f" (and {counted(len(self.changes) - 1, 'earlier change')})"
        return text

    @property
    def guarantee(self) -> str:
        """How often a change is said in error, in words."""
        return (
            "while nothing changes, at most one false alarm in "
            f"{self.images_per_false_alarm:,.0f} inspections, on average"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        suggestion = self.suggestion
        return {
            "category": self.category,
            "station": self.station,
            "changed": self.changed,
            "verdict": self.verdict,
            "changes": [change.to_json() for change in self.changes],
            "inspections": self.inspections,
            "since": None if self.since is None else self.since.isoformat(),
            "until": None if self.until is None else self.until.isoformat(),
            "compared_with": self.compared_with,
            "images_per_false_alarm": self.images_per_false_alarm,
            "guarantee": self.guarantee,
            "evidence": self.evidence,
            "bank_versions": list(self.bank_versions),
            "trends": [trend.to_json() for trend in self.trends],
            "suggested": None
            if suggestion is None
            else {
                "images": [image.to_json() for image in suggestion.images],
                "looked_at": suggestion.looked_at,
                "command": suggestion.command,
            },
            "remarks": list(self.remarks),
            "page": None if self.page is None else str(self.page),
            "seconds": round(self.seconds, 3),
        }
