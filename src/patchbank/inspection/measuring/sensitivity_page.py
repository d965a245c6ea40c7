"""The page on which synthetic defects were found."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from patchbank.inspection.measuring.sections import extractor_in_words
from patchbank.inspection.measuring.sensitivity_report import (
    FOUND_SHARE,
    SYNTHETIC,
    SensitivityReport,
    ShownDefect,
    ShownPair,
)
from patchbank.printable import counted
from patchbank.reports.evaluation_charts import write_chart
from patchbank.reports.page import PAGE_NAME, new_pictures, write_page
from patchbank.reports.sensitivity_chart import sensitivity_chart
from patchbank.reports.sensitivity_page import (
    DefectPair,
    DefectPicture,
    SensitivityPage,
    SensitivityRow,
)
from patchbank.reports.settings_page import write_crop
from patchbank.vision.extractor_settings import ExtractorSettings


def write_sensitivity_page(
    folder: Path, report: SensitivityReport, settings: ExtractorSettings
) -> SensitivityReport:
    """Write the page to a folder; return the report with the page's path.

    Raises
    ------
    DiskFullError, ReportError
        If it cannot be written; an existing page is kept.
    """
    report = replace(report, page=folder / PAGE_NAME)
    with new_pictures(folder) as pictures:
        write_page(folder, _page(pictures, report, settings), "sensitivity.html.j2")
    return report


def _page(
    pictures: Path, report: SensitivityReport, settings: ExtractorSettings
) -> SensitivityPage:
    trial = report.trial
    contrasts = [f"{100 * contrast:g} %" for contrast in trial.contrasts]
    sizes = [
        f"{size} px" + ("" if (mm := trial.millimetres(size)) is None else f"\n{mm:g} mm")
        for size in trial.sizes
    ]
    numbers = {size: number for number, size in enumerate(trial.sizes)}
    smallest = [
        [numbers.get(report.smallest(kind, contrast) or -1) for contrast in range(len(contrasts))]
        for kind in range(len(trial.kinds))
    ]
    at_least = f"{100 * FOUND_SHARE:g} %"
    unit = "" if trial.mm_per_pixel is None else f", at {trial.mm_per_pixel:g} mm a pixel"
    return SensitivityPage(
        title=f"{report.category}: smallest synthetic defects found",
        lead=(
            f"Version {report.bank_version} of the bank judged {report.how()}. Each got "
            f"{counted(trial.defects, 'synthetic defect')}, one at a time."
        ),
        synthetic=SYNTHETIC,
        meaning=(
            f"The size from which on at least {at_least} of the synthetic defects of each size are "
            "found, by contrast in per cent of the range between the dark and the light pixels of "
            "the image. Found: the image does not pass, and its anomaly map is strongest at the "
            f"defect. The size is the longest side of a defect, in pixels of the image{unit}."
        ),
        contrasts=[f"contrast {contrast}" for contrast in contrasts],
        smallest=[
            SensitivityRow(
                name,
                [report.smallest_in_words(kind, contrast) for contrast in range(len(contrasts))],
            )
            for kind, name in enumerate(trial.kinds)
        ],
        chart=write_chart(
            pictures,
            "found",
            lambda theme: sensitivity_chart(
                report.found / np.float64(report.images),
                trial.kinds,
                sizes,
                [f"{100 * contrast:g}" for contrast in trial.contrasts],
                smallest,
                theme=theme,
            ),
            "Share of synthetic defects found, by kind, size and contrast; the figures are in the "
            "table below",
            "Per cent of the synthetic defects that are found; outlined: the smallest size from "
            f"which on it is at least {at_least}.",
        ),
        pairs=[
            _pair(pictures, report, kind, contrast, pair)
            for (kind, contrast), pair in sorted(report.pairs.items())
        ],
        sizes=[trial.size_in_words(size) for size in trial.sizes],
        rows=[
            SensitivityRow(
                f"{name}, {title}",
                [_share(report, kind, size, contrast) for size in range(len(trial.sizes))],
            )
            for kind, name in enumerate(trial.kinds)
            for contrast, title in enumerate(contrasts)
        ],
        folder=pictures.name,
        map_threshold=report.map_threshold,
        left_out=[*report.left_out, *(refusal.error for refusal in report.refused)],
        remarks=report.remarks,
        facts=(
            ("Category", report.category),
            ("Bank version", str(report.bank_version)),
            ("Limits", report.thresholds.describe()),
            ("Extractor", extractor_in_words(settings)),
            ("Images", report.how()),
            (
                "Left out",
                f"{counted(len(report.not_passed), 'image')} did not pass without a defect",
            ),
            (
                "Defects",
                f"{', '.join(trial.kinds)} of {', '.join(map(str, trial.sizes))} pixels, each kind "
                f"at one position of an image; seed {trial.seed}",
            ),
            ("Time", f"{report.seconds:.0f} s"),
        ),
    )


def _share(report: SensitivityReport, kind: int, size: int, contrast: int) -> str:
    share = report.share(kind, size, contrast)
    return f"{100 * share.value:.0f} % ({100 * share.low:.0f} to {100 * share.high:.0f})"


def _pair(
    pictures: Path, report: SensitivityReport, kind: int, contrast: int, pair: ShownPair
) -> DefectPair:
    trial = report.trial
    name = trial.kinds[kind]

    def picture(shown: ShownDefect | None, role: str) -> DefectPicture | None:
        if shown is None:
            return None
        stem = f"{name}-{contrast}-{role}"
        file, width, height = write_crop(pictures, stem, shown.pixels)
        overlay, *_ = write_crop(
            pictures, f"{stem}-map", shown.pixels, shown.anomaly_map, report.map_threshold
        )
        text = f"{trial.size_in_words(shown.size)}, in {shown.image.rsplit('/', 1)[-1]}"
        return DefectPicture(file, overlay, width, height, shown.outcome, text)

    return DefectPair(
        f"Synthetic {name}, contrast {100 * trial.contrasts[contrast]:g} %",
        picture(pair.smallest_found, "found"),
        picture(pair.largest_missed, "missed"),
    )
