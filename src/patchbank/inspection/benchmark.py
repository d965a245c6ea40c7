"""A benchmark: every category of a data set fitted and judged, kept on disk, and reported."""

from __future__ import annotations

import csv
import io
import json
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.datasets.catalogue import find_dataset
from patchbank.datasets.masks import read_mask
from patchbank.datasets.published import Published, published_for
from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.errors import DatasetError, DiskFullError, ImageError, PatchbankError, ReportError
from patchbank.inspection.evaluate import (
    CategoryEvaluation,
    Evaluation,
    Failed,
    average,
    checked_aupro_limit,
    evaluate_category,
    load_categories,
)
from patchbank.inspection.extremes import JudgedCase
from patchbank.inspection.figures import FIGURES
from patchbank.inspection.kept_results import KeptResults, identity, versions
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.scoring import place
from patchbank.progress import Progress, silent
from patchbank.reports.benchmark import (
    BenchmarkPage,
    CategorySection,
    Gallery,
    ShownCase,
    Source,
    TableRow,
    charts_to_json,
    write_benchmark_page,
    write_galleries,
)
from patchbank.reports.evaluation_charts import write_evaluation_charts
from patchbank.reports.page import PAGE_NAME
from patchbank.reports.writing import (
    check_report_packages,
    make_writable,
    replace_text,
    writing_report,
)
from patchbank.settings import usable_cores
from patchbank.vision.images import decode

# Best and worst cases shown, of each kind.
_CASES = 4
_SYNTHETIC = (
    "The images were drawn by code (patchbank make-surfaces). The figures show that the path works "
    "and compare settings; they say nothing about real surfaces, and are not to be read beside "
    "figures of MVTec AD, whose category names they share."
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


class Benchmark:
    """Fits and judges categories of a data set, and keeps each when it is done.

    A category that was done with the same settings, files and versions is not done again. Whatever
    can be found wrong before the work is, when this is made.

    Parameters
    ----------
    root
        The data set's folder.
    categories
        Their names; all by default.
    folder
        Where results and the report are kept.
    dataset
        Its name in the catalogue.
    aupro_limit
        False-positive rate up to which AUPRO is integrated; the data set's own by default.
    restart
        Whether to do anew what was kept.

    Raises
    ------
    DatasetError
        If the data set is not laid out as expected.
    ParameterError, UnknownBackboneError, UnknownLayerError, WeightsError, MissingExtraError
        If the settings cannot be used.
    DiskFullError, ReportError
        If the folder cannot be written.
    """

    def __init__(
        self,
        workspace: Workspace,
        root: str | Path,
        categories: Sequence[str] | None,
        settings: FitSettings,
        folder: Path,
        *,
        dataset: str = "mvtec",
        aupro_limit: float | None = None,
        restart: bool = False,
        progress: Progress = silent,
    ) -> None:
        check_report_packages()
        self.root = Path(root)
        self.folder = folder
        self.settings = settings
        self.dataset = find_dataset(dataset)
        self.aupro_limit = checked_aupro_limit(aupro_limit, self.dataset)
        self.synthetic = self.dataset.is_synthetic(self.root)
        self._restart = restart
        self._workspace = workspace
        self._progress = progress
        self._samples = load_categories(self.dataset, root, categories, progress=progress)
        self._fingerprint = workspace.extractor(settings.extractor).fingerprint
        self._kept = KeptResults(folder)
        make_writable(folder, self._kept.categories, page=self.page)
        self.results: list[CategoryResult] = []
        self.failed: list[Failed] = []

    @property
    def page(self) -> Path:
        """The report."""
        return self.folder / PAGE_NAME

    def average(self) -> Evaluation:
        """Return the mean of each figure over the categories that are done."""
        return average([one.evaluation for one in self.results])

    def run(self) -> Iterator[CategoryResult | Failed]:
        """Do and yield one category after the other; the report is up to date after each.

        A category whose images cannot be used is yielded as failed, and the others are done.
        """
        for samples in self._samples:
            try:
                result = self._category(samples)
            except (DiskFullError, ReportError):
                raise  # would meet the next category too
            except PatchbankError as error:
                failed = Failed.because(samples.category, error)
                self.failed.append(failed)
                self._write_report()
                yield failed
                continue
            self.results.append(result)
            self._write_report()
            yield result

    def _category(self, samples: CategorySamples) -> CategoryResult:
        category = samples.category
        wanted = identity(
            samples, self.dataset.name, self.settings, self._fingerprint, self.aupro_limit
        )
        unlabelled = [sample for sample in samples.test if sample.label == "unknown"]
        document, again = (
            (None, "") if self._restart else self._kept.find(category, wanted, unlabelled)
        )
        kept = document is not None
        if document is None:
            document = self._done(samples, wanted)
        return CategoryResult(
            evaluation=Evaluation(**document["evaluation"]),
            published=() if self.synthetic else published_for(self.dataset.name, category),
            kept=kept,
            again=again,
            score_maps=document["score_maps"],
            place=self._kept.place(category),
            page=document["page"],
        )

    def _done(self, samples: CategorySamples, wanted: dict[str, Any]) -> dict[str, Any]:
        """Fit and judge a category and keep what came of it; return the document that is kept."""
        maps = 0

        def write_map(sample: Sample, anomaly_map: npt.NDArray[np.float32]) -> None:
            nonlocal maps
            maps += 1
            file = self._kept.map_file(sample)
            with writing_report(self.folder):
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(anomaly_map).save(file, compression="tiff_adobe_deflate")

        found = evaluate_category(
            self._workspace,
            samples,
            self.settings,
            aupro_limit=self.aupro_limit,
            synthetic=self.synthetic,
            cases=_CASES,
            write_map=write_map,
            progress=self._progress,
        )
        with self._kept.keeping(samples.category) as (folder, document):
            map_threshold = found.map_threshold
            charts = write_evaluation_charts(
                folder,
                found.image,
                found.rates,
                found.pixels,
                found.scores("good"),
                found.scores("anomalous"),
            )
            (folder / "images.csv").write_text(_images_csv(found), encoding="utf-8", newline="")
            document.update(
                identity=wanted,
                evaluation=asdict(found.summary()),
                score_maps=maps,
                page={
                    "map_threshold": map_threshold,
                    "charts": charts_to_json(charts),
                    "galleries": write_galleries(folder, _galleries(found), map_threshold),
                },
            )
        return document

    def _write_report(self) -> None:
        """Write the page, ``results.json`` and ``results.csv`` of what is done so far."""
        document = {
            "data_set": self.dataset.name,
            "root": str(self.root),
            "synthetic": self.synthetic,
            "aupro_limit": self.aupro_limit,
            "settings": {**self.settings.to_json(), **self.settings.extractor.to_json()},
            "versions": versions(),
            "categories": [one.to_json() for one in self.results],
            "failed": [one.to_json() for one in self.failed],
            "average": self.average().to_json() if self.results else None,
        }
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        with writing_report(self.folder):
            replace_text(self.folder / "results.json", text)
            replace_text(self.folder / "results.csv", self._csv())
        write_benchmark_page(self.folder, self._page())

    def _csv(self) -> str:
        rows: list[list[Any]] = [["category", "source", *(figure.key for figure in FIGURES)]]
        own = "patchbank, synthetic images" if self.synthetic else "patchbank"
        for one in self.results:
            rows.append([one.evaluation.category, own, *_values(one.evaluation.values)])
            for source, figures in one.published:
                rows.append([one.evaluation.category, source.title, *_values(figures)])
        if self.results:
            rows.append(["average", own, *_values(self.average().values)])
        return _csv_text(rows)

    def _page(self) -> BenchmarkPage:
        titles = [
            f"{figure.title} {self.aupro_limit:g}" if figure.key == "aupro" else figure.title
            for figure in FIGURES
        ]
        rows = []
        sources: dict[str, Source] = {}
        for one in self.results:
            note = "kept from before" if one.kept else ""
            rows.append(_row(one.evaluation, _anchor(one), note))
            for source, figures in one.published:
                texts = [figure.text(figures.get(figure.key)) for figure in FIGURES]
                rows.append(TableRow(source.title, texts, own=False))
                sources[source.title] = Source(
                    source.title, source.source, source.url, source.settings, source.note
                )
        if self.results:
            rows.append(_row(self.average()))
        extractor = self.settings.extractor
        return BenchmarkPage(
            title=f"Benchmark: {'synthetic surfaces' if self.synthetic else self.dataset.title}",
            lead=(
                "Patchbank learned each category from its good train images alone and judged its "
                "test images. No threshold and no setting was chosen on the test images."
            ),
            synthetic=_SYNTHETIC if self.synthetic else "",
            columns=[
                (title, figure.explanation) for title, figure in zip(titles, FIGURES, strict=True)
            ],
            rows=rows,
            sections=[self._section(one) for one in self.results],
            failures=[(one.category, one.error) for one in self.failed],
            sources=list(sources.values()),
            facts=(
                ("Data set", f"{self.dataset.title}{', synthetic' if self.synthetic else ''}"),
                ("Folder", str(self.root)),
                (
                    "Extractor",
                    f"{extractor.backbone}, layers {', '.join(extractor.layers)}, "
                    f"{extractor.image_size} pixels"
                    + (f" cropped to {extractor.center_crop}" if extractor.center_crop else "")
                    + f", {extractor.precision}",
                ),
                ("Coreset", f"{100 * self.settings.coreset_ratio:g} % of the patches"),
                ("Image score", self.settings.image_score),
                ("False-alarm rate asked for", f"{100 * self.settings.false_alarm_rate:g} %"),
                ("Seed", str(self.settings.seed)),
                ("Versions", ", ".join(f"{name} {one}" for name, one in versions().items())),
                ("Machine", f"{platform.machine()}, {usable_cores()} cores in use"),
            ),
        )

    def _section(self, one: CategoryResult) -> CategorySection:
        facts = one.evaluation.facts
        shown = [
            (
                "Images",
                f"{facts['train_images']} learned from; judged: {facts['test_good']} good, "
                f"{facts['test_anomalous']} anomalous",
            ),
            ("Memory bank", f"{facts['bank_size']:,} patches"),
            ("Threshold", f"{facts['threshold']:.4g}, from the train images alone"),
            ("False alarms", _share(one.evaluation, "false_alarm_rate", "false_alarm_interval")),
            ("Recall", _share(one.evaluation, "recall", "recall_interval")),
        ]
        if one.score_maps:
            shown.append(
                ("Score maps", f"{one.score_maps} images without a label, below {self._kept.maps}")
            )
        return CategorySection(
            name=one.evaluation.label,
            anchor=_anchor(one),
            folder=one.place,
            facts=shown,
            remarks=one.evaluation.remarks,
            map_threshold=one.page["map_threshold"],
            charts=one.page["charts"],
            galleries=one.page["galleries"],
        )


def _galleries(found: CategoryEvaluation) -> Iterator[Gallery]:
    extremes = found.extremes
    yield Gallery(
        "worst",
        "Hardest to find",
        "The anomalous images with the lowest scores.",
        _shown(extremes.lowest_anomalous),
    )
    yield Gallery(
        "good",
        "Nearest to a false alarm",
        "The good images with the highest scores.",
        _shown(extremes.highest_good),
    )
    yield Gallery(
        "best",
        "Clearest finds",
        "The anomalous images with the highest scores.",
        _shown(extremes.highest_anomalous),
    )


def _shown(cases: Sequence[JudgedCase]) -> Iterator[ShownCase]:
    for case in cases:
        sample, judgement = case.sample, case.judgement
        pixels = decode(sample.path).pixels
        height, width = pixels.shape[:2]
        try:
            mask = None if sample.mask is None else read_mask(sample.mask, height, width)
        except (ImageError, DatasetError):
            mask = None  # a remark says so
        yield ShownCase(
            name=sample.name,
            kind=sample.kind,
            verdict=judgement.verdict,
            score=judgement.score,
            p_value=judgement.p_value,
            pixels=pixels,
            anomaly_map=place(judgement.anomaly_map, judgement.inspected_box, width, height),
            mask=mask,
        )


def _images_csv(found: CategoryEvaluation) -> str:
    rows: list[list[Any]] = [["image", "label", "kind", "score", "p_value", "verdict"]]
    for one in found.judged:
        sample = one.sample
        rows.append([sample.name, sample.label, sample.kind, one.score, one.p_value, one.verdict])
    return _csv_text(rows)


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


def _share(evaluation: Evaluation, key: str, interval: str) -> str:
    value, bounds = evaluation.value(key), evaluation.facts[interval]
    if value is None or bounds is None:
        return "not known: no such image"
    low, high = bounds
    return f"{100 * value:.1f} % (95 % interval of the true rate: {100 * low:.1f} to {100 * high:.1f} %)"
