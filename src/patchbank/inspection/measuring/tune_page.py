"""The page on the settings that were tried."""

from __future__ import annotations

import json
import platform
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchbank.inspection.measuring.candidates import CHOSEN, PAPER
from patchbank.inspection.measuring.held_out import CONTRASTS, Judged
from patchbank.inspection.measuring.tune_report import AS_GOOD, SYNTHETIC, Tried, TuneReport
from patchbank.printable import counted
from patchbank.reports.charts import SettingPoint, found_chart
from patchbank.reports.drawing import Theme
from patchbank.reports.evaluation_charts import write_chart
from patchbank.reports.page import PAGE_NAME, new_pictures, write_page
from patchbank.reports.settings_page import (
    DefectCase,
    MapPicture,
    SettingRow,
    SettingsPage,
    ShareGrid,
    write_crop,
)
from patchbank.reports.writing import replace_text
from patchbank.settings import usable_cores

_COLUMNS = (
    ("false alarms", "Images held out that fail as they are, without a defect."),
    (
        "ms/image",
        "From decoded image to verdict and map, one at a time on all cores, by the clock, the "
        "median; reading the file comes in addition.",
    ),
    ("patches", "Patches of an image of the usual size."),
    ("bank", "Patches in the memory bank of this trial."),
)
# Settings whose maps are shown.
_SHOWN = 3
RESULTS_NAME = "results.json"


def write_tune_report(folder: Path, report: TuneReport) -> TuneReport:
    """Write the page and ``results.json`` to a folder; return the report with the page's path.

    Raises
    ------
    DiskFullError, ReportError
        If they cannot be written; an existing page is kept.
    """
    report = replace(report, page=folder / PAGE_NAME)
    text = json.dumps(report.to_json(), ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    with new_pictures(folder) as pictures:
        page = _page(pictures, report)
        replace_text(folder / RESULTS_NAME, text)
        write_page(folder, page, "settings.html.j2")
    return report


def _page(pictures: Path, report: TuneReport) -> SettingsPage:
    settings, trial = report.settings, report.trial
    rate = f"{100 * settings.false_alarm_rate:g} %"
    held_out = counted(len(trial.images), "other good image")
    return SettingsPage(
        title=f"{report.category}: settings tried on synthetic defects",
        lead=(
            f"With each of the settings, patchbank learned {len(report.learned)} good images and "
            f"judged {held_out}, as they are and with one synthetic defect at a time, at a "
            f"requested false-alarm rate of {rate}."
        ),
        synthetic=SYNTHETIC,
        recommendation=report.recommendation(),
        caution=report.caution(),
        command=report.command or "",
        columns=_COLUMNS,
        rows=[_row(report, item) for item in report.tried],
        sizes=[f"{size} px" for size in trial.sizes],
        contrasts=[
            f"{name}: {100 * share:g} % of the image's contrast" for name, share in CONTRASTS
        ],
        grids=[
            ShareGrid(
                "Found",
                "Per cent of the defects of each kind that make their image fail, and at which the "
                "map is strongest.",
                [_by_defect(item.found, item) for item in report.tried],
            ),
            ShareGrid(
                "Located",
                "Per cent at which the map is strongest, whatever the verdict.",
                [_by_defect(item.located, item) for item in report.tried],
            ),
        ],
        chart=write_chart(
            pictures,
            "found",
            lambda theme: _chart(report, theme),
            "Share of synthetic defects found against milliseconds an image; the figures are in "
            "the table",
            "Synthetic defects found, and located whatever the verdict, against time; the numbers "
            "are those of the table.",
        ),
        folder=pictures.name,
        cases=[_case(pictures, report, number) for number in range(len(report.shown))],
        left_out=report.left_out,
        remarks=report.remarks,
        facts=(
            (
                "Images",
                f"{len(report.learned)} learned, {len(trial.images)} held out; seed "
                f"{settings.seed}",
            ),
            (
                "Defects",
                f"{counted(trial.defects * len(trial.images), 'synthetic defect')}, the same for "
                f"all settings: dots and scratches of {', '.join(map(str, trial.sizes))} pixels",
            ),
            ("Image score", settings.image_score),
            ("Requested false-alarm rate", rate),
            (
                "Recommended",
                "the setting that finds most within the budget without more false alarms than "
                f"promised; of settings within {100 * AS_GOOD:g} percentage points, the one that "
                "locates most; of those, what fit chooses if it is about as quick, or else the "
                "quickest",
            ),
            (
                "Reading a file",
                f"about {report.reading_ms:.0f} ms in addition",
            ),
            ("Time", f"{report.seconds:.0f} s"),
            ("Machine", f"{platform.machine()}, {counted(usable_cores(), 'core')} in use"),
        ),
    )


def _row(report: TuneReport, item: Tried) -> SettingRow:
    alarms = item.false_alarms
    return SettingRow(
        title=item.candidate.title,
        marks=item.candidate.marks,
        values=(
            f"{alarms.count} of {alarms.total}",
            f"{item.milliseconds:,.0f}",
            f"{item.patches:,}",
            f"{item.bank_size:,}",
        ),
        found=item.found_share,
        located=item.located_share,
        recommended=item is report.recommended,
    )


def _by_defect(counts: npt.NDArray[np.int64], item: Tried) -> list[float]:
    return [float(share) for share in (counts / item.held_out).T.ravel()]


def _chart(report: TuneReport, theme: Theme) -> bytes:
    points = [
        SettingPoint(
            str(number),
            item.milliseconds,
            item.found_share,
            item.located_share,
            item is report.recommended,
        )
        for number, item in enumerate(report.tried, start=1)
    ]
    return found_chart(points, report.settings.budget_ms, theme=theme)


def _shown_settings(report: TuneReport) -> list[Tried]:
    """Return the settings whose maps are shown, cheapest first."""
    tried = report.tried
    marked = [item for mark in (PAPER, CHOSEN) for item in tried if mark in item.candidate.marks]
    best = max(tried, key=lambda item: item.found_share)
    wanted = dict.fromkeys([report.recommended, *marked, best, *reversed(tried)])
    return sorted(list(wanted)[:_SHOWN], key=tried.index)


def _case(pictures: Path, report: TuneReport, number: int) -> DefectCase:
    trial, judged = report.trial, report.shown[number]
    picture, _ = trial.defective(trial.pixels(judged.image), judged)
    left, top, right, bottom = report.tried[0].shown[number].box
    crop = picture[top:bottom, left:right].copy()
    file, width, height = write_crop(pictures, f"defect-{number + 1}", crop)
    write = partial(write_crop, pictures)
    maps = []
    for position, item in enumerate(_shown_settings(report), start=1):
        shown = item.shown[number]
        stem = f"defect-{number + 1}-map-{position}"
        name, *_ = write(stem, crop, shown.anomaly_map, item.map_threshold)
        maps.append(MapPicture(name, item.candidate.title, shown.outcome))
    return DefectCase(_text(report, judged), file, width, height, maps)


def _text(report: TuneReport, judged: Judged) -> str:
    trial = report.trial
    name = CONTRASTS[judged.contrast][0]
    return (
        f"Synthetic defect of {trial.sizes[judged.size]} pixels, {name}, in "
        f"{trial.images.names[judged.image]}"
    )
