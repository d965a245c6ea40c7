"""The page of a look for drift."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ImageError, NotFoundError
from patchbank.inspection.judging.judge import whole_pixels
from patchbank.inspection.living.drift_changes import DriftChange, moment_in_words
from patchbank.inspection.living.drift_report import DriftReport
from patchbank.inspection.living.drift_series import Floats, Trail
from patchbank.inspection.living.inspected_image import inspected_image
from patchbank.inspection.workspace import Workspace
from patchbank.memory.drift import Detection
from patchbank.memory.maps import place_map
from patchbank.printable import counted
from patchbank.reports.drift_charts import TimeAxis, evidence_chart, trend_chart
from patchbank.reports.drift_page import (
    DriftPage,
    DriftPicture,
    write_example,
    write_share_map,
)
from patchbank.reports.evaluation_charts import ChartFiles, write_chart
from patchbank.reports.page import PAGE_NAME, new_pictures, write_page
from patchbank.reports.writing import writing_report
from patchbank.store.conditions import Condition
from patchbank.store.stored_bank import StoredBank
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode

# Images shown before a change and since; as many again are tried where some are not there.
_BEFORE: Final = 4
_SINCE: Final = 8
# The maps without a change are of so many last inspections.
_LAST: Final = 200

_TRENDS: Final = {
    "brightness": ("brightness", "The mean grey value of the inspected part, 0 to 255."),
    "sharpness": (
        "sharpness",
        "How much pixels differ from their neighbours, relative to the brightness.",
    ),
    "score": ("score / limit", "The anomaly score, as a share of the score above which it fails."),
    "outside": (
        "patches outside, %",
        "The share of patches that are farther from the bank than its covering radius.",
    ),
}


def write_drift_page(
    workspace: Workspace,
    folder: Path,
    report: DriftReport,
    stored: StoredBank,
    trail: Trail,
    references: Mapping[str, Floats],
    detection: Detection,
    first: int,
) -> DriftReport:
    """Write the page to a folder; return the report with the page's path.

    Parameters
    ----------
    references
        The numbers of the references; of scores, as shares of the limit.
    first
        The number of the first inspection that is shown.

    Raises
    ------
    DiskFullError, ReportError, MissingExtraError
        If it cannot be written; an existing page is kept.
    """
    report = replace(report, page=folder / PAGE_NAME)
    with new_pictures(folder) as pictures:
        writer = _Writer(workspace, pictures, report, stored, trail, first)
        page = writer.page(references, detection)
        write_page(folder, page, "drift.html.j2")
    return report


class _Writer:
    """Writes the pictures of a page."""

    def __init__(
        self,
        workspace: Workspace,
        pictures: Path,
        report: DriftReport,
        stored: StoredBank,
        trail: Trail,
        first: int,
    ) -> None:
        self._workspace, self._pictures = workspace, pictures
        self._report, self._stored, self._trail, self._first = report, stored, trail, first

    def page(self, references: Mapping[str, Floats], detection: Detection) -> DriftPage:
        report = self._report
        change = report.changes[-1] if report.changes else None
        evidence, trends = self._charts(references, detection)
        maps, maps_text = self._maps(change)
        examples = [] if change is None else self._examples(change)
        where = f" at {report.station}" if report.station else ""
        return DriftPage(
            title=f"{report.category}{where}: drift",
            changed=report.changed,
            verdict=_sentence(report.verdict),
            guarantee=report.guarantee,
            changes=[(item.times, _sentence(item.text)) for item in report.changes],
            evidence=evidence,
            trends=trends,
            maps=maps,
            maps_text=maps_text,
            examples=examples,
            examples_text="The last images before the change, then some of all since.",
            suggested=self._suggested(),
            suggested_text=self._suggested_text(),
            command="" if report.suggestion is None else report.suggestion.command,
            folder=self._pictures.name,
            remarks=report.remarks,
            facts=self._facts(),
        )

    def _charts(
        self, references: Mapping[str, Floats], detection: Detection
    ) -> tuple[ChartFiles | None, list[ChartFiles]]:
        first, rows = self._first, self._trail.rows[self._first :]
        if not rows:
            return None, []
        axis = TimeAxis(
            first,
            [row.inspected_at.astimezone() for row in rows],
            [(change.begin, change.end) for change in self._report.changes],
        )
        evidence = write_chart(
            self._pictures,
            "evidence",
            lambda theme: evidence_chart(
                detection.log_evidence[first:], detection.log_limit, axis, theme=theme
            ),
            f"Evidence of a change after each inspection; {self._report.verdict}",
            "What a bet on a change would have won; 1 is no evidence. It begins anew after each "
            f"alarm, at {self._report.images_per_false_alarm:,.0f}.",
        )

        def trend(
            name: str, title: str, text: str, shown: Floats, span: tuple[float, float] | None
        ) -> ChartFiles:
            return write_chart(
                self._pictures,
                name,
                lambda theme: trend_chart(shown, span, title, axis, theme=theme),
                f"{title} of each inspection",
                text,
            )

        trends = []
        for name, (title, text) in _TRENDS.items():
            values = self._trail.values[name] if name != "score" else self._trail.shares_of_limit
            shown, base = values[first:], references[name]
            if np.isnan(shown).all():
                continue
            if name == "outside":
                shown = 100 * shown
            span = (
                (float(np.quantile(base, 0.05)), float(np.quantile(base, 0.95)))
                if len(base)
                else None
            )
            trends.append(trend(name, title, text, shown, span))
        return evidence, trends

    def _maps(self, change: DriftChange | None) -> tuple[list[DriftPicture], str]:
        end = len(self._trail)
        if change is None:
            spans = [(slice(max(self._first, end - _LAST), end), "last inspections")]
        else:
            spans = [
                (slice(max(0, change.begin - _LAST), change.begin), "before the change"),
                (slice(change.begin, change.end + 1), "since the change"),
            ]
        typical = self._typical()
        maps = []
        if typical is not None:
            for number, (span, name) in enumerate(spans):
                shares = self._trail.map_outside(span)
                if shares is not None:
                    count = counted(len(self._trail.rows[span]), "image")
                    maps.append(self._map(f"map-{number}", typical, shares, f"{name}: {count}"))
        text = (
            "In how many images a patch is farther from the bank than the covering radius, at each "
            "position, over a typical reference. Good parts have such patches too: look at what "
            "differs. Outlined is what half of the images have."
        )
        return maps, text

    def _map(
        self, stem: str, typical: NDArray[np.uint8], shares: NDArray[np.float64], caption: str
    ) -> DriftPicture:
        height, width = typical.shape[:2]
        box = whole_pixels(
            self._extractor.preprocessing.inspected_box(width, height), width, height
        )
        placed = place_map(shares.astype(np.float32), box, width, height)
        with writing_report(self._pictures.parent):
            return write_share_map(self._pictures, stem, typical, placed, caption)

    @property
    def _extractor(self) -> ExtractorSettings:
        content = self._stored.content
        known = ExtractorSettings.__dataclass_fields__
        settings = {key: value for key, value in content.extractor.items() if key in known}
        return ExtractorSettings.from_json(settings)

    def _typical(self) -> NDArray[np.uint8] | None:
        """Return the thumbnail of the reference that is nearest to the mean of all."""
        content = self._stored.content
        images = self._workspace.database.images
        for slot in np.argsort(np.linalg.norm(content.embeddings, axis=1))[:_BEFORE]:
            # It may be gone, or an import without thumbnails.
            with contextlib.suppress(ImageError, NotFoundError):
                name = content.images[slot].name
                return decode(images.thumbnail_of_name(self._report.category, name)).pixels
        return None

    def _examples(self, change: DriftChange) -> list[DriftPicture]:
        rows = self._trail.rows
        before = self._written(reversed(rows[max(0, change.begin - 2 * _BEFORE) : change.begin]),
                               _BEFORE, "before")  # fmt: skip
        since = self._written(self._spread(change), _SINCE, "since")
        return [*reversed(before), *since]

    def _spread(self, change: DriftChange) -> list[Condition]:
        """Return images from all of a change: about where it began is not known exactly."""
        numbers = np.linspace(change.begin, change.end, 2 * _SINCE).round().astype(int)
        # Every second one first, so that those that are shown reach to the end.
        order = sorted(set(numbers[::2].tolist())) + sorted(set(numbers[1::2].tolist()))
        return [self._trail.rows[number] for number in order]

    def _written(self, rows: Iterable[Condition], most: int, stem: str) -> list[DriftPicture]:
        shown: list[DriftPicture] = []
        for row in rows:
            if len(shown) == most:
                break
            caption = f"{stem}: {row.inspected_at.astimezone():%H:%M:%S}, {_file_name(row)}"
            picture = self._example(row, f"{stem}-{len(shown)}", caption)
            if picture is not None:
                shown.append(picture)
        return shown

    def _example(self, row: Condition, stem: str, caption: str) -> DriftPicture | None:
        source = inspected_image(self._workspace, self._stored.key.category_id, row)
        if source is None:
            return None
        # The file may be damaged by now.
        with contextlib.suppress(ImageError):
            pixels = decode(
                source,
                limits=self._workspace.limits,
                name=row.image_name,
                bit_depth=self._extractor.bit_depth,
            ).pixels
            with writing_report(self._pictures.parent):
                return write_example(self._pictures, stem, pixels, caption, row.verdict)
        return None

    def _suggested(self) -> list[DriftPicture]:
        suggestion = self._report.suggestion
        if suggestion is None:
            return []
        rows = {row.inspection_id: row for row in self._trail.rows[self._first :]}
        shown: list[DriftPicture] = []
        for image in suggestion.images:
            row = rows.get(image.inspection_id)
            if row is not None:
                caption = f"{_file_name(row)}: covers {100 * image.covers:.0f} %"
                picture = self._example(row, f"suggested-{len(shown)}", caption)
                if picture is not None:
                    shown.append(picture)
        return shown

    def _suggested_text(self) -> str:
        suggestion = self._report.suggestion
        if suggestion is None:
            return ""
        return (
            "If they show good parts and the change is meant to stay: of "
            f"{counted(suggestion.looked_at, 'image')} looked at, these cover most of what the "
            "bank does not. Look at each before you add it."
        )

    def _facts(self) -> list[tuple[str, str]]:
        report = self._report
        span = ""
        if report.since is not None and report.until is not None:
            since, until = moment_in_words(report.since), moment_in_words(report.until)
            span = f", from {since} to {until}"
        return [
            ("Category", report.category),
            ("Station", report.station or "all"),
            ("Inspections", f"{report.inspections:,}{span}"),
            ("Bank versions", ", ".join(map(str, report.bank_versions)) or "none"),
            ("Compared with", report.compared_with),
            (
                "Method",
                "ranks among the references and all earlier inspections, which are independent "
                "and uniform while nothing changes (Vovk, 2021); evidence by an e-detector "
                "(Shin, Ramdas, Rinaldo, 2024) over score, brightness, sharpness and the share of "
                "patches outside together",
            ),
            ("Guarantee", report.guarantee),
            ("Assumed", "images come in random order while nothing changes; parts sorted by batch, "
             "or a rising share of defects, are a change"),
        ]  # fmt: skip


def _file_name(row: Condition) -> str:
    return row.image_name.rsplit("/", 1)[-1]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}." if text else ""
