"""The report of a benchmark: a page, and the same tables as JSON, CSV, Markdown and LaTeX."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from patchbank.datasets.catalogue import DataSet
from patchbank.datasets.published import Published, published_means
from patchbank.inspection.measuring.benchmark_csv import results_csv
from patchbank.inspection.measuring.benchmark_results import (
    CategoryResult,
    CategorySummary,
    published_to_json,
    summarised,
)
from patchbank.inspection.measuring.benchmark_text import BenchmarkText
from patchbank.inspection.measuring.figures import (
    FIGURES,
    Evaluation,
    Failed,
    average,
    mean_and_spread,
)
from patchbank.inspection.measuring.kept_results import versions
from patchbank.inspection.measuring.sections import extractor_in_words, kind_rows, section_of
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
_TEXTS = ("results.md", "results.tex", "results.csv", "results.json")


@dataclass(frozen=True, eq=False)
class ReportRow:
    """A row of the table over all categories.

    Attributes
    ----------
    category, source
        What was evaluated, and by whom.
    values, spread
        The figures, and their standard deviations over several seeds.
    note
        What else to know of the row; may be empty.
    anchor
        The section of the page on it, if there is one.
    own
        Whether it was measured here; False for published figures.
    kept
        Whether it was measured by an earlier run.
    """

    category: str
    source: str
    values: Mapping[str, float | None]
    spread: Mapping[str, float | None] = field(default_factory=dict)
    note: str = ""
    anchor: str | None = None
    own: bool = True
    kept: bool = False

    def texts(self) -> list[str]:
        """Return each of `FIGURES` as tables print it."""
        return [
            figure.text(self.values.get(figure.key), self.spread.get(figure.key))
            for figure in FIGURES
        ]


@dataclass(eq=False)
class BenchmarkReport:
    """What a benchmark has done so far, and the files that say so.

    Attributes
    ----------
    root, dataset
        What was measured.
    settings, seeds, aupro_limit
        How.
    folder
        Where the files are written.
    results, failed
        The categories that are done, with each seed, and those that could not be.
    """

    root: Path
    dataset: DataSet
    settings: FitSettings
    seeds: tuple[int, ...]
    aupro_limit: float
    folder: Path
    results: list[CategoryResult] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)

    @property
    def page(self) -> Path:
        """The page."""
        return self.folder / PAGE_NAME

    @property
    def has_usual_limit(self) -> bool:
        """Whether AUPRO is integrated up to the data set's own limit, as in published figures."""
        return self.aupro_limit == self.dataset.aupro_limit

    @property
    def synthetic(self) -> bool:
        """Whether images of a category that is done were made by code."""
        return any(result.evaluation.synthetic for result in self.results)

    def summaries(self) -> list[CategorySummary]:
        """Return the categories that are done, each over its seeds."""
        return summarised(self.results)

    def average(self) -> Evaluation:
        """Return the mean of each figure over the categories that are done.

        With several seeds, its spread is that of the means of each seed.
        """
        summaries = self.summaries()
        mean = average([summary.evaluation for summary in summaries])
        if len(self.seeds) == 1:
            return mean
        of_seeds = [
            [run.evaluation for run in self.results if run.seed == seed] for seed in self.seeds
        ]
        # An interrupt may have left categories without some of the seeds.
        complete = [average(runs).values for runs in of_seeds if len(runs) == len(summaries)]
        spread = mean_and_spread(complete)[1] if len(complete) > 1 else {}
        return replace(mean, facts={**mean.facts, "seeds": list(self.seeds)}, spread=spread)

    def published_means(self) -> list[tuple[Published, Mapping[str, float]]]:
        """Return the means of published figures over the categories of our own average."""
        names = [summary.evaluation.category for summary in self.summaries()]
        if len(names) < 2 or self.synthetic:
            return []
        return published_means(self.dataset.name, names, aupro=self.has_usual_limit)

    def average_json(self) -> dict[str, Any]:
        """Return the JSON object of the average, with published means over the same categories."""
        means = [published_to_json(*found) for found in self.published_means()]
        return {**self.average().to_json(), "published": means}

    def measured(self) -> str:
        """Return what measured the categories that are done: network and settings, in a line."""
        settings, extractor = self.settings, self.settings.extractor
        facts = [result.evaluation.facts for result in self.results]
        inputs = {f"layers {', '.join(known['layers'])}, {known['input']}" for known in facts}
        seen = inputs.pop() if len(inputs) == 1 else "layers and scale chosen for each category"
        inspected = (
            "" if extractor.regions is None else f"inspected: {extractor.regions_in_words()}, "
        )
        ratios = sorted({known["coreset_ratio"] for known in facts} or {settings.coreset_ratio})
        coreset = " to ".join(
            f"{100 * ratio:.3g}" for ratio in dict.fromkeys(ratios[:1] + ratios[-1:])
        )
        return (
            f"patchbank {versions()['patchbank']}: {extractor.backbone}, {seen}, {inspected}"
            f"{extractor.precision}, coreset {coreset} %, score {settings.image_score}, requested "
            f"false-alarm rate {100 * settings.false_alarm_rate:g} %, {self._seeds_in_words()}"
        )

    def _seeds_in_words(self) -> str:
        if len(self.seeds) == 1:
            return f"seed {self.seeds[0]}"
        return f"seeds {', '.join(map(str, self.seeds))}; mean ± standard deviation over the seeds"

    def rows(self) -> list[ReportRow]:
        """Return the rows of the table over all categories, published figures among them."""
        own = f"patchbank, {self.settings.extractor.backbone}"
        rows = []
        summaries = self.summaries()
        for summary in summaries:
            found = summary.evaluation
            done, asked = len(summary.runs), len(self.seeds)
            rows.append(
                ReportRow(
                    *(found.label, own, found.values, found.spread),
                    note=f"{done} of {asked} seeds" if done < asked else "",
                    anchor=_anchor(summary.first),
                    kept=all(run.kept for run in summary.runs),
                )
            )
            rows += [
                ReportRow(found.label, source.title, figures, own=False)
                for source, figures in summary.first.published
            ]
        if summaries:
            mean = self.average()
            rows.append(ReportRow(mean.label, own, mean.values, mean.spread))
            for source, figures in self.published_means():
                total = len(source.figures)
                same = f"same {len(summaries)} of" if len(summaries) < total else "all"
                note = f"{same} {total} categories"
                rows.append(ReportRow(mean.label, source.title, figures, note=note, own=False))
        return rows

    def titles(self) -> list[str]:
        """Return the title of each of `FIGURES`."""
        return [
            f"{figure.title} {self.aupro_limit:g}" if figure.key == "aupro" else figure.title
            for figure in FIGURES
        ]

    def write(self) -> None:
        """Write the page and ``results.*`` of what is done so far."""
        document = {
            "data_set": self.dataset.name,
            "root": str(self.root),
            "synthetic": self.synthetic,
            "aupro_limit": self.aupro_limit,
            "seeds": list(self.seeds),
            "settings": {**self.settings.to_json(), **self.settings.extractor.to_json()},
            "versions": versions(),
            "categories": [summary.to_json() for summary in self.summaries()],
            "failed": [item.to_json() for item in self.failed],
            "average": self.average_json() if self.results else None,
        }
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        tables = self._text()
        with writing_report(self.folder):
            replace_text(self.folder / "results.json", text)
            replace_text(
                self.folder / "results.csv",
                results_csv(self.summaries(), self.average(), self.published_means()),
            )
            replace_text(self.folder / "results.md", tables.as_markdown())
            replace_text(self.folder / "results.tex", tables.as_latex())
        write_page(self.folder, self._page())

    def _text(self) -> BenchmarkText:
        rows = self.rows()
        texts = [row.texts() for row in rows]
        shown = [index for index in range(len(FIGURES)) if any(row[index] != "-" for row in texts)]
        titles = self.titles()
        return BenchmarkText(
            title=self._title(),
            measured=self.measured(),
            notes=[_SYNTHETIC] if self.synthetic else [],
            columns=[titles[index] for index in shown],
            rows=[
                (
                    row.category if row.own else "",
                    f"{row.source} ({row.note})" if row.note else row.source,
                    [values[index] for index in shown],
                )
                for row, values in zip(rows, texts, strict=True)
            ],
            kinds=[
                (summary.evaluation.label, kind)
                for summary in self.summaries()
                for kind in kind_rows(summary.evaluation)
            ],
            sources=self._sources(),
            failures=[(item.category, item.error) for item in self.failed],
        )

    def _sources(self) -> list[Published]:
        return list(
            {
                source.title: source for result in self.results for source, _ in result.published
            }.values()
        )

    @property
    def _drawn(self) -> bool:
        """Whether the images of all categories that are done were made by code."""
        return self.synthetic and all(result.evaluation.synthetic for result in self.results)

    def _title(self) -> str:
        return f"Benchmark: {'synthetic surfaces' if self._drawn else self.dataset.title}"

    def _page(self) -> EvaluationPage:
        return EvaluationPage(
            title=self._title(),
            lead=(
                "For each category, patchbank learned from the good train images only and "
                "judged the test images. No threshold or setting was chosen using the test images."
            ),
            measured=self.measured(),
            synthetic=_SYNTHETIC if self.synthetic else "",
            columns=[
                (title, figure.explanation)
                for title, figure in zip(self.titles(), FIGURES, strict=True)
            ],
            rows=[_table_row(row) for row in self.rows()],
            texts=_TEXTS,
            sections=[self._section(summary) for summary in self.summaries()],
            failures=[(item.category, item.error) for item in self.failed],
            sources=[
                Source(source.title, source.source, source.url, source.settings, source.note)
                for source in self._sources()
            ],
            facts=(
                (
                    "Data set",
                    f"synthetic surfaces, laid out as {self.dataset.title}"
                    if self._drawn
                    else self.dataset.title,
                ),
                ("Folder", str(self.root)),
                ("Extractor", extractor_in_words(self.settings.extractor)),
                ("Coreset", f"{100 * self.settings.coreset_ratio:g} % of the patches"),
                *([("Resolution", _CHOSEN)] if "resolution" in self.settings.to_choose else []),
                ("Image score", self.settings.image_score),
                ("Requested false-alarm rate", f"{100 * self.settings.false_alarm_rate:g} %"),
                ("Seed" if len(self.seeds) == 1 else "Seeds", ", ".join(map(str, self.seeds))),
                (
                    "Versions",
                    ", ".join(f"{name} {version}" for name, version in versions().items()),
                ),
                ("Machine", f"{platform.machine()}, {counted(usable_cores(), 'core')} in use"),
            ),
        )

    def _section(self, summary: CategorySummary) -> Section:
        first = summary.first
        maps = f"{counted(first.score_maps, 'test image')}, in {first.place}/maps"
        known = first.evaluation.facts
        facts = [("Extractor", f"layers {', '.join(known['layers'])}, {known['input']}")]
        facts += [("Score maps", maps)] if first.score_maps else []
        section = section_of(first.evaluation, first.place, first.page, facts=facts)
        if len(summary.runs) == 1:
            return section
        rows = [
            *(TableRow(f"seed {run.seed}", run.evaluation.texts()) for run in summary.runs),
            TableRow("mean", summary.evaluation.texts()),
        ]
        return replace(
            section,
            remarks=summary.evaluation.remarks,
            kinds=kind_rows(summary.evaluation),
            seed=first.seed,
            seeds=rows,
        )


def _table_row(row: ReportRow) -> TableRow:
    if not row.own:
        return TableRow(row.source, row.texts(), note=row.note, own=False)
    notes = [row.source, row.note, "result of an earlier run" if row.kept else ""]
    return TableRow(row.category, row.texts(), row.anchor, "; ".join(filter(None, notes)))


def _anchor(result: CategoryResult) -> str:
    return result.place.rsplit("/", 1)[-1]
