"""The report of a benchmark: ``index.html``, ``results.json`` and ``results.csv``."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from patchbank.datasets.catalogue import DataSet
from patchbank.datasets.published import Published
from patchbank.inspection.measuring.category_evaluation import CategoryEvaluation
from patchbank.inspection.measuring.figures import FIGURES, Evaluation, Failed, average
from patchbank.inspection.measuring.kept_results import versions
from patchbank.inspection.measuring.sections import extractor_in_words, section_of
from patchbank.inspection.settings import FitSettings
from patchbank.printable import counted
from patchbank.reports.page import (
    PAGE_NAME,
    EvaluationPage,
    Section,
    Source,
    TableRow,
    write_page,
)
from patchbank.reports.writing import replace_text, writing_report
from patchbank.settings import usable_cores

_CHOSEN = (
    "where images are larger than 336 pixels or not nearly square, the scale, the layers and the "
    "coreset are chosen instead: see each category"
)
_SYNTHETIC = (
    "The images of categories marked synthetic were drawn by code (patchbank make-surfaces). "
    "Their figures are useful for testing and for comparing settings. They say nothing about "
    "real surfaces, and cannot be compared with figures for MVTec AD, whose category names "
    "they share."
)


@dataclass(frozen=True, eq=False)
class CategoryResult:
    """A category that is done.

    Attributes
    ----------
    evaluation
        Its figures.
    published
        What others published for it.
    kept
        Whether it was done by an earlier run.
    again
        Why what was kept of it did not count; empty where nothing was.
    score_maps
        Number of maps written for images without a label.
    place, page
        Its folder in the benchmark's, and what the report shows of it.
    """

    evaluation: Evaluation
    published: Sequence[tuple[Published, Mapping[str, float]]]
    kept: bool
    again: str
    score_maps: int
    place: str
    page: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints and ``results.json`` holds."""
        return {
            **self.evaluation.to_json(),
            "score_maps": self.score_maps,
            "kept_from_before": self.kept,
            "published": [
                {"title": source.title, "url": source.url, **figures}
                for source, figures in self.published
            ],
        }


@dataclass(eq=False)
class BenchmarkReport:
    """What a benchmark has done so far, and the files that say so.

    Attributes
    ----------
    root, dataset
        What was measured.
    settings, aupro_limit
        How.
    folder
        Where the files are written.
    results, failed
        The categories that are done and those that could not be.
    """

    root: Path
    dataset: DataSet
    settings: FitSettings
    aupro_limit: float
    folder: Path
    results: list[CategoryResult] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    @property
    def page(self) -> Path:
        """The page."""
        return self.folder / PAGE_NAME

    @property
    def synthetic(self) -> bool:
        """Whether images of a category that is done were made by code."""
        return any(result.evaluation.synthetic for result in self.results)

    def average(self) -> Evaluation:
        """Return the mean of each figure over the categories that are done."""
        return average([result.evaluation for result in self.results])

    def write(self) -> None:
        """Write the page, ``results.json`` and ``results.csv`` of what is done so far."""
        document = {
            "data_set": self.dataset.name,
            "root": str(self.root),
            "synthetic": self.synthetic,
            "aupro_limit": self.aupro_limit,
            "settings": {**self.settings.to_json(), **self.settings.extractor.to_json()},
            "versions": versions(),
            "categories": [result.to_json() for result in self.results],
            "failed": [item.to_json() for item in self.failed],
            "average": self.average().to_json() if self.results else None,
        }
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        with writing_report(self.folder):
            replace_text(self.folder / "results.json", text)
            replace_text(self.folder / "results.csv", self._csv())
        write_page(self.folder, self._page())

    def _csv(self) -> str:
        rows: list[list[Any]] = [["category", "source", *(figure.key for figure in FIGURES)]]
        for result in self.results:
            rows.append(_csv_row(result.evaluation))
            for source, figures in result.published:
                rows.append([result.evaluation.category, source.title, *_values(figures)])
        if self.results:
            rows.append(_csv_row(self.average()))
        return _csv_text(rows)

    def _page(self) -> EvaluationPage:
        titles = [
            f"{figure.title} {self.aupro_limit:g}" if figure.key == "aupro" else figure.title
            for figure in FIGURES
        ]
        rows = []
        sources: dict[str, Source] = {}
        for result in self.results:
            note = "result of an earlier run" if result.kept else ""
            rows.append(_row(result.evaluation, _anchor(result), note))
            for source, figures in result.published:
                texts = [figure.text(figures.get(figure.key)) for figure in FIGURES]
                rows.append(TableRow(source.title, texts, own=False))
                sources[source.title] = Source(
                    source.title, source.source, source.url, source.settings, source.note
                )
        if self.results:
            rows.append(_row(self.average()))
        drawn = self.synthetic and all(result.evaluation.synthetic for result in self.results)
        return EvaluationPage(
            title=f"Benchmark: {'synthetic surfaces' if drawn else self.dataset.title}",
            lead=(
                "For each category, patchbank learned from the good train images only and "
                "judged the test images. No threshold or setting was chosen using the test images."
            ),
            synthetic=_SYNTHETIC if self.synthetic else "",
            columns=[
                (title, figure.explanation) for title, figure in zip(titles, FIGURES, strict=True)
            ],
            rows=rows,
            sections=[self._section(result) for result in self.results],
            failures=[(item.category, item.error) for item in self.failed],
            sources=list(sources.values()),
            facts=(
                (
                    "Data set",
                    f"synthetic surfaces, laid out as {self.dataset.title}"
                    if drawn
                    else self.dataset.title,
                ),
                ("Folder", str(self.root)),
                ("Extractor", extractor_in_words(self.settings.extractor)),
                ("Coreset", f"{100 * self.settings.coreset_ratio:g} % of the patches"),
                *([("Resolution", _CHOSEN)] if "resolution" in self.settings.to_choose else []),
                ("Image score", self.settings.image_score),
                ("Requested false-alarm rate", f"{100 * self.settings.false_alarm_rate:g} %"),
                ("Seed", str(self.settings.seed)),
                (
                    "Versions",
                    ", ".join(f"{name} {version}" for name, version in versions().items()),
                ),
                ("Machine", f"{platform.machine()}, {counted(usable_cores(), 'core')} in use"),
            ),
        )

    def _section(self, one: CategoryResult) -> Section:
        maps = f"{counted(one.score_maps, 'image')} without a label, in {one.place}/maps"
        known = one.evaluation.facts
        facts = [("Extractor", f"layers {', '.join(known['layers'])}, {known['input']}")]
        facts += [("Score maps", maps)] if one.score_maps else []
        return section_of(one.evaluation, one.place, one.page, facts=facts)


def images_csv(found: CategoryEvaluation) -> str:
    """Return the verdict on every test image as CSV."""
    rows: list[list[Any]] = [["image", "label", "kind", "score", "p_value", "verdict"]]
    for judgement in found.judged:
        sample = judgement.sample
        rows.append(
            [
                sample.name,
                sample.label,
                sample.kind,
                judgement.score,
                judgement.p_value,
                judgement.verdict,
            ]
        )
    return _csv_text(rows)


def _csv_row(evaluation: Evaluation) -> list[Any]:
    own = "patchbank, synthetic images" if evaluation.synthetic else "patchbank"
    return [evaluation.category, own, *_values(evaluation.values)]


def _csv_text(rows: Sequence[Sequence[Any]]) -> str:
    target = io.StringIO()
    csv.writer(target, lineterminator="\n").writerows(rows)
    return target.getvalue()


def _values(values: Mapping[str, float | None]) -> list[float | None]:
    return [values.get(figure.key) for figure in FIGURES]


def _row(evaluation: Evaluation, anchor: str | None = None, note: str = "") -> TableRow:
    texts = [figure.text(evaluation.value(figure.key)) for figure in FIGURES]
    return TableRow(evaluation.label, texts, anchor, note)


def _anchor(one: CategoryResult) -> str:
    return one.place.rsplit("/", 1)[-1]
