"""The page on a study of parts with known answer."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from patchbank.errors import ImageError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.measuring.check_report import (
    REVIEW_COUNTS,
    CheckReport,
    StudyPart,
    bounds_in_words,
)
from patchbank.inspection.measuring.sections import extractor_in_words
from patchbank.inspection.verdicts import Inspection
from patchbank.printable import counted
from patchbank.reports.evaluation_charts import write_chart
from patchbank.reports.page import PAGE_NAME, new_pictures, write_page
from patchbank.reports.panels import write_panels
from patchbank.reports.study_chart import PartScores, study_chart
from patchbank.reports.study_page import (
    PartCase,
    PartRow,
    StudyFigureRow,
    StudyPage,
    StudyPicture,
)
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode

# A browser shows so many images at ease, each with two pictures.
_MOST_SHOWN = 120


def write_check_page(
    folder: Path, report: CheckReport, inspector: Inspector, settings: ExtractorSettings
) -> CheckReport:
    """Write the page of a study to a folder; return the report with the page's path.

    Parameters
    ----------
    inspector
        Judges the images that are shown again, without recording.
    settings
        Of the bank's extractor.

    Raises
    ------
    DiskFullError, ReportError
        If it cannot be written; an existing page is kept.
    """
    report = replace(report, page=folder / PAGE_NAME)
    with new_pictures(folder) as pictures:
        write_page(folder, _page(pictures, report, inspector, settings), "study.html.j2")
    return report


def _page(
    pictures: Path, report: CheckReport, inspector: Inspector, settings: ExtractorSettings
) -> StudyPage:
    shown = _first(report.conspicuous)
    cases, map_threshold = _cases(pictures, report, shown, inspector, settings)
    good = sum(not part.defective for part in report.parts)
    review = [report.to_review(defective=defective) for defective in (False, True)]
    return StudyPage(
        title=f"{report.category}: study of parts with known answer",
        lead=(
            f"Version {report.bank_version} of the bank judged {counted(good, 'good part')} and "
            f"{counted(len(report.parts) - good, 'defective part')} in "
            f"{counted(len(report.verdicts), 'image')}; {report.thresholds.describe()}."
        ),
        folder=pictures.name,
        counting=(
            f"{REVIEW_COUNTS[0].upper()}{REVIEW_COUNTS[1:]}. To review: "
            f"{counted(review[0], 'image')} of good parts, {review[1]} of defective ones. Figures "
            f"are {bounds_in_words()}."
        ),
        figures=[
            StudyFigureRow(
                figure.title,
                figure.value,
                figure.count,
                figure.interval,
                figure.reading,
                figure.meaning,
            )
            for figure in report.figures()
        ],
        chart=write_chart(
            pictures,
            "scores",
            lambda theme: study_chart(
                [
                    PartScores(
                        [item.score for item in part.verdicts],
                        part.defective,
                        part.outcome == "unstable",
                    )
                    for part in report.parts
                ],
                report.thresholds,
                theme=theme,
            ),
            f"Scores of the images of each part; {report.thresholds.describe()}. The scores are "
            "in the table of all parts",
            "The scores of the images of each part, joined by a line: the longer the line, the "
            "less the part's images agree.",
        ),
        cases=cases,
        cases_text=_how_many(len(shown), len(report.conspicuous)),
        rows=[
            PartRow(
                part.name,
                part.answer,
                part.outcome,
                [item.verdict for item in part.verdicts],
                part.span(report.thresholds),
            )
            for part in report.parts
        ],
        map_threshold=map_threshold,
        left_out=[*report.left_out, *(refusal.error for refusal in report.refused)],
        remarks=report.remarks,
        facts=(
            ("Category", report.category),
            ("Bank version", str(report.bank_version)),
            ("Limits", report.thresholds.describe()),
            ("Extractor", extractor_in_words(settings)),
            ("Parts told by", report.told_by or "the caller"),
            (
                "Method",
                "attribute agreement study: AIAG, Measurement Systems Analysis, 4th edition, 2010, "
                "chapter III, section C; intervals: Clopper and Pearson, 1934; kappa: Cohen, 1960, "
                "and Fleiss, 1971; its reading: Landis and Koch, 1977, and AIAG",
            ),
            ("Recorded", "in the database" if report.recorded else "no"),
            ("Time", f"{report.seconds:.0f} s"),
        ),
    )


def _first(parts: Sequence[StudyPart]) -> list[StudyPart]:
    """Return as many parts as can be shown, at least one if there are any."""
    shown: list[StudyPart] = []
    images = 0
    for part in parts:
        images += len(part.verdicts)
        if shown and images > _MOST_SHOWN:
            break
        shown.append(part)
    return shown


def _how_many(shown: int, total: int) -> str:
    if shown == total:
        return f"{counted(total, 'part')}, unstable ones first."
    return f"{shown} of {counted(total, 'part')}, unstable ones first; the table has all."


def _cases(
    pictures: Path,
    report: CheckReport,
    parts: Sequence[StudyPart],
    inspector: Inspector,
    settings: ExtractorSettings,
) -> tuple[list[PartCase], float]:
    """Return the parts that are shown, and the map threshold; their images are judged again."""
    images = [item.image for part in parts for item in part.verdicts]
    results = inspector.inspect_many(
        [image.source for image in images], names=[image.name for image in images], top=0
    )
    by_part: dict[str, list[StudyPicture]] = {part.name: [] for part in parts}
    map_threshold = 1.0
    for number, (image, result) in enumerate(zip(images, results, strict=True), 1):
        # A file that was removed since it was judged has no picture.
        if not isinstance(result, Inspection):
            continue
        map_threshold = result.map_threshold
        with contextlib.suppress(ImageError):
            pixels = decode(
                image.source,
                limits=inspector.workspace.limits,
                name=image.name,
                bit_depth=settings.bit_depth,
            ).pixels
            panels = write_panels(
                pictures, f"part-{number}", pixels, result.full_map(), None, map_threshold
            )
            score = result.times_the_limit or f"score {result.score:.4g}"
            by_part[image.part].append(StudyPicture(image.name, result.verdict, score, panels))
    return [
        PartCase(
            part.name,
            part.answer,
            part.outcome,
            part.span(report.thresholds),
            by_part[part.name],
        )
        for part in parts
    ], map_threshold
