"""A bank's thresholds as a table in words, for the terminal and for a page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from patchbank.inspection.measuring.threshold_report import CurvePoint, ThresholdReport
from patchbank.reports import charts
from patchbank.reports.drawing import Theme
from patchbank.reports.evaluation_charts import write_chart
from patchbank.reports.page import new_pictures, write_page
from patchbank.reports.thresholds_page import LimitRow, ThresholdsPage

_COLUMNS = {
    "passes up to": "The score up to which an image passes. Above it, an image goes to review.",
    "fails above": "The score above which an image fails.",
    "will be seen": "Of ten such limits, from other images of good parts as many as these, nine "
    "fail this share of good parts. Where images are missing for the rate, how many.",
    "estimate": "Where images are missing: a limit by a curve fitted to the highest scores, and, "
    "in brackets, the share of good parts that it may really fail (90 %). An estimate, no promise.",
    "defects found": "Of the defects judged, the share that fails, with its 95 % interval.",
    "recorded inspections that would change": "How many recorded inspections would get another "
    "verdict.",
}


def columns_of(report: ThresholdReport) -> list[str]:
    """Return the titles of the columns beside the rate; those without any value are left out."""
    return [
        title
        for title in _COLUMNS
        if (title != "estimate" or any(point.estimate for point in report.points))
        and (title != "defects found" or report.defects is not None)
        and (not title.startswith("recorded") or len(report.inspections))
    ]


def rows_of(report: ThresholdReport) -> list[list[str]]:
    """Return the rate and the values of each row of the table, as text."""
    columns = columns_of(report)
    return [
        [f"{100 * point.false_alarm_rate:.3g} %", *(_values(point)[title] for title in columns)]
        for point in report.points
    ]


def _values(point: CurvePoint) -> dict[str, str]:
    low, high = (100 * end for end in point.promised.realised)
    seen = f"{low:.2g} to {high:.2g} %"
    if point.missing_images:
        seen += f"; needs {point.missing_images:,} more"
    estimate = "-"
    if point.estimate is not None:
        known = point.estimate
        estimate = f"{known.fail_above:.4g} ({100 * known.low:.2g} to {100 * known.high:.2g} %)"
    found = ""
    if point.recall is not None:
        found = (
            f"{point.recall.count} of {point.recall.total} ({100 * point.recall.low:.0f} to "
            f"{100 * point.recall.high:.0f} %)"
        )
    values = (
        f"{point.thresholds.pass_below:.4g}",
        f"{point.thresholds.fail_above:.4g}",
        seen,
        estimate,
        found,
        point.changes_in_words or "none",
    )
    return dict(zip(_COLUMNS, values, strict=True))


def write_threshold_page(folder: Path, report: ThresholdReport) -> ThresholdReport:
    """Write the page to a folder that was checked; return the report with its path."""
    with new_pictures(folder) as pictures:
        columns = columns_of(report)
        page = ThresholdsPage(
            title=f"{report.category}: limits",
            lead=(
                "What the limits promise about good parts, and what other limits would do to "
                "inspections that are recorded."
            ),
            facts=report.facts(),
            remarks=report.remarks,
            columns=[(title, _COLUMNS[title]) for title in columns],
            rows=[
                LimitRow(rate, values, point.in_use)
                for (rate, *values), point in zip(rows_of(report), report.points, strict=True)
            ],
            chart=write_chart(
                pictures,
                "scores",
                lambda theme: _chart(report, theme),
                f"Histogram of the scores of {len(report.calibration)} good parts and "
                f"{len(report.inspections)} recorded inspections; {report.thresholds.describe()}",
                "Scores of the good parts that the limits come from, of recorded inspections, and "
                "of defects where some were given, each in per cent of its images.",
            ),
            folder=pictures.name,
        )
        path = write_page(folder, page, "thresholds.html.j2")
    return replace(report, page=path)


def _chart(report: ThresholdReport, theme: Theme) -> bytes:
    return charts.limits_histogram(
        report.calibration.scores,
        [score for _, score in report.inspections.scores],
        () if report.defects is None else report.defects.scores,
        report.thresholds,
        theme=theme,
    )
