"""The page of an inspection: the highest scores with their pictures, and all images in a table."""

from __future__ import annotations

import contextlib
import heapq
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from patchbank.errors import ImageError, ParameterError, ReportError
from patchbank.inspection.matches import DefectMatch, Similar
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.reports.inspections_page import (
    InspectedCase,
    InspectedRow,
    InspectionsPage,
    SimilarPicture,
)
from patchbank.reports.page import new_pictures, write_page
from patchbank.reports.panels import PanelFiles, write_panels
from patchbank.reports.writing import writing_report
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode
from patchbank.vision.own_pictures import own_mark

# A browser shows so many pictures at ease; those of the highest scores.
_MOST_CASES = 100
# And so many rows.
_MOST_ROWS = 5_000
_MOST_REFUSED = 100
_SIMILAR = 5

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """An image with pictures: all that the page needs of it but the map."""

    name: str
    verdict: str
    facts: str
    panels: PanelFiles
    similar: tuple[Similar, ...]
    defects: tuple[DefectMatch, ...]


@dataclass(eq=False)
class InspectionReport:
    """Gathers inspections for a page; in memory, it keeps a line of each."""

    workspace: Workspace
    category: str
    pictures: Path
    extractor: Callable[[], ExtractorSettings]
    _rows: list[tuple[float, int, InspectedRow]] = field(default_factory=list)
    _shown: list[tuple[float, int, _Shown]] = field(default_factory=list)
    _refused: list[str] = field(default_factory=list)
    _verdicts: Counter[str] = field(default_factory=Counter)
    _remarks: Counter[str] = field(default_factory=Counter)
    _begin: datetime = field(default_factory=lambda: datetime.now(UTC))
    _last: Inspection | None = None
    _hatched: bool = False
    _count: int = 0

    def add(self, source: ImageSource, result: Inspection | Refused) -> None:
        """Add an image; its pictures are drawn if its score is among the highest so far."""
        self._count += 1
        if isinstance(result, Refused):
            self._verdicts["refused"] += 1
            if len(self._refused) < _MOST_REFUSED:
                self._refused.append(result.error)
            return
        self._last = result
        self._verdicts[result.verdict] += 1
        self._remarks.update(result.remarks)
        # The higher score first, and the earlier of equal ones.
        rank = (result.score, -self._count)
        row = InspectedRow(
            result.image,
            result.verdict,
            f"{result.score:#.4g}",
            result.share_of_limit,
            "" if result.passed else result.position,
        )
        _push(self._rows, (*rank, row), _MOST_ROWS)
        if len(self._shown) == _MOST_CASES and rank < self._shown[0][:2]:
            return
        # A file that was removed since it was judged has no pictures.
        with contextlib.suppress(ImageError):
            anomaly_map = result.full_map()
            self._hatched |= bool(np.isnan(anomaly_map).any())
            pixels = decode(
                source,
                limits=self.workspace.limits,
                name=result.image,
                bit_depth=self.extractor().bit_depth,
            ).pixels
            with writing_report(self.pictures.parent):
                panels = write_panels(
                    self.pictures, str(self._count), pixels, anomaly_map, None,
                    result.map_threshold,
                )  # fmt: skip
            shown = _Shown(
                result.image,
                result.verdict,
                _facts(result),
                panels,
                result.similar[:_SIMILAR],
                result.similar_defects[:_SIMILAR],
            )
            out = _push(self._shown, (*rank, shown), _MOST_CASES)
            if out is not None:
                for file in (out[2].panels.image, out[2].panels.map, out[2].panels.overlay):
                    (self.pictures / file).unlink(missing_ok=True)

    def write(self, folder: Path) -> None:
        """Write the page.

        Raises
        ------
        ReportError
            If no image was judged.
        """
        if self._last is None:
            raise ReportError("no image could be judged, so no report was written")
        references = self._write_references()
        defects = self._write_defects()
        cases = [
            InspectedCase(
                shown.name,
                shown.verdict,
                shown.facts,
                shown.panels,
                [
                    SimilarPicture(match.image, match.similarity, references[match.image])
                    for match in shown.similar
                    if match.image in references
                ],
                [
                    SimilarPicture(
                        match.name, match.similarity, defects[match.name], match.describe()
                    )
                    for match in shown.defects
                    if match.name in defects
                ],
            )
            for *_, shown in sorted(self._shown, key=lambda item: item[:2], reverse=True)
        ]
        rows = [row for *_, row in sorted(self._rows, key=lambda item: item[:2], reverse=True)]
        total, failed = self._verdicts.total() - self._verdicts["refused"], self._verdicts["fail"]
        review, last = self._verdicts["review"], self._last
        page = InspectionsPage(
            title=f"{self.category}: {failed:,} of {total:,} failed"
            + (f", {review:,} to review" if review else ""),
            lead=(
                f"Judged on {self._begin:%Y-%m-%d at %H:%M} UTC by version "
                f"{last.bank_version} of the bank; {last.thresholds.describe()}."
            ),
            folder=self.pictures.name,
            cases=cases,
            cases_text=_how_many(len(cases), total)
            + (" Hatched parts were not inspected." if self._hatched else ""),
            rows=rows,
            rows_text=_how_many(len(rows), total),
            map_threshold=last.map_threshold,
            refused=self._refused_lines(),
            remarks=[
                f"{text} ({counted(count, 'image')})" for text, count in self._remarks.most_common()
            ][:_MOST_REFUSED],
            facts=self._facts(last),
        )
        write_page(folder, page, "inspections.html.j2")

    def _facts(self, last: Inspection) -> list[tuple[str, str]]:
        settings = self.extractor()
        recorded = "in the database" if last.recorded else "no"
        return [
            ("Category", self.category),
            ("Bank version", str(last.bank_version)),
            ("Limits", f"{last.thresholds.describe()}; map threshold {last.map_threshold:.4g}"),
            (
                "Extractor",
                f"{settings.backbone}, layers {', '.join(settings.layers)}, "
                f"{settings.input_in_words()}, {settings.precision}",
            ),
            ("Recorded", recorded),
        ]

    def _refused_lines(self) -> list[str]:
        more = self._verdicts["refused"] - len(self._refused)
        return [*self._refused, *([f"and {counted(more, 'more image')}"] if more else [])]

    def _write_references(self) -> dict[str, str]:
        """Write the pictures of the references that are shown, each once; return their files."""
        images = self.workspace.database.images
        names = {match.image for *_, shown in self._shown for match in shown.similar}
        return self._write_thumbnails(
            names, "reference", lambda name: images.thumbnail_of_name(self.category, name)
        )

    def _write_defects(self) -> dict[str, str]:
        """Write the pictures of the defects that are shown, each once; return their files."""
        defects = self.workspace.database.defects
        names = {match.name for *_, shown in self._shown for match in shown.defects}
        return self._write_thumbnails(
            names, "defect", lambda name: defects.thumbnail(self.category, name)
        )

    def _write_thumbnails(
        self, names: Iterable[str], kind: str, thumbnail: Callable[[str], bytes]
    ) -> dict[str, str]:
        files = {}
        for number, name in enumerate(sorted(names), 1):
            # What was removed meanwhile, or came without a picture, is left out.
            with contextlib.suppress(ImageError, ParameterError):
                picture = thumbnail(name)
                file = f"{kind}-{number}.png"
                with writing_report(self.pictures.parent):
                    Image.fromarray(decode(picture).pixels).save(
                        self.pictures / file, compress_level=4, **own_mark(".png")
                    )
                files[name] = file
        return files


def _push(
    heap: list[tuple[float, int, _Item]], item: tuple[float, int, _Item], most: int
) -> tuple[float, int, _Item] | None:
    """Add an item to the highest ones; return the one that is not among them any more."""
    if len(heap) < most:
        heapq.heappush(heap, item)
        return None
    return heapq.heappushpop(heap, item)


def _facts(inspection: Inspection) -> str:
    parts = [
        f"score {inspection.score:.4g}",
        inspection.against_the_limits,
        inspection.likeness_in_words,
        inspection.rarity,
    ]
    if inspection.position:
        parts.append(f"at {inspection.position}")
    if inspection.probable_defect:
        parts.append(str(inspection.probable_defect))
    return " · ".join(part for part in parts if part)


def _how_many(shown: int, total: int) -> str:
    if shown == total:
        return f"All {counted(total, 'image')}." if total > 1 else "The image that was judged."
    return f"The {shown:,} images with the highest scores, of {total:,}."


def reported(
    results: Iterable[Inspection | Refused],
    sources: Iterable[ImageSource],
    folder: Path,
    workspace: Workspace,
    category: str,
    extractor: Callable[[], ExtractorSettings],
) -> Iterator[Inspection | Refused]:
    """Yield results as they come, and write a page of them at the end; see `check_page_folder`.

    An interrupt or an error leaves the page that there was.

    Parameters
    ----------
    sources
        The images of the results, in the same order.
    extractor
        Returns the settings of the bank's extractor.
    """
    with new_pictures(folder) as pictures:
        report = InspectionReport(workspace, category, pictures, extractor)
        for source, result in zip(sources, results, strict=True):
            report.add(source, result)
            yield result
        report.write(folder)
