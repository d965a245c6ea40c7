"""A benchmark: every category of a data set fitted and judged, kept on disk, and reported."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.datasets.catalogue import find_dataset
from patchbank.datasets.published import published_for
from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.errors import DiskFullError, ParameterError, PatchbankError, ReportError
from patchbank.inspection.measuring.benchmark_csv import images_csv
from patchbank.inspection.measuring.benchmark_report import BenchmarkReport
from patchbank.inspection.measuring.benchmark_results import CategoryResult
from patchbank.inspection.measuring.evaluate import (
    check_extractor,
    checked_aupro_limit,
    evaluate_category,
    load_categories,
)
from patchbank.inspection.measuring.figures import Evaluation, Failed
from patchbank.inspection.measuring.kept_results import KeptResults, identity, map_files
from patchbank.inspection.measuring.sections import write_pictures
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.reports.writing import (
    check_report_packages,
    make_writable,
    replace_text,
    writing_report,
)
from patchbank.vision.own_pictures import own_mark

# Best and worst cases shown, of each kind.
_CASES = 4


class Benchmark:
    """Fits and judges categories of a data set, and keeps each when it is done.

    A category that was done with the same settings, seed, files and versions is not done again.
    Whatever can be found wrong before the work is, when this is made.

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
    seeds
        Evaluate each category with each of these seeds, instead of that of the settings.
    all_maps
        Whether to write the score map of every test image, not only of those without a label.
    restart
        Whether to do anew what was kept.

    Raises
    ------
    DatasetError
        If the data set is not laid out as expected.
    ParameterError, UnknownBackboneError, UnknownLayerError, WeightsError, MissingExtraError
        If the settings cannot be used.
    DiskFullError, ReportError
        If the folder cannot be written, or has files but is not that of a benchmark.
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
        seeds: Sequence[int] | None = None,
        all_maps: bool = False,
        restart: bool = False,
        progress: Progress = silent,
    ) -> None:
        check_report_packages()
        found = find_dataset(dataset)
        self.report = BenchmarkReport(
            root=Path(root),
            dataset=found,
            settings=settings,
            seeds=(settings.seed,) if seeds is None else checked_seeds(seeds),
            aupro_limit=checked_aupro_limit(aupro_limit, found),
            folder=folder,
        )
        self._all_maps = all_maps
        self._restart = restart
        self._workspace = workspace
        self._progress = progress
        self._samples = load_categories(found, root, categories, progress=progress)
        check_extractor(workspace, settings.extractor)
        self._fingerprint = settings.extractor.fingerprint()
        self._kept = KeptResults(folder)
        self._kept.check_own()
        make_writable(folder, self._kept.categories, page=self.report.page)

    def run(self) -> Iterator[CategoryResult | Failed]:
        """Do and yield one category after the other, seed by seed; report each at once.

        A category whose images cannot be used is yielded as failed, and the others are done.

        Raises
        ------
        DiskFullError, ReportError
            If the folder cannot be written, or another benchmark is writing there.
        """
        with self._kept.locked():
            yield from self._run()

    def _run(self) -> Iterator[CategoryResult | Failed]:
        for samples in self._samples:
            for seed in self.report.seeds:
                try:
                    result = self._category(samples, replace(self.report.settings, seed=seed))
                except (DiskFullError, ReportError):
                    raise  # would meet the next category too
                except PatchbankError as error:
                    failed = Failed.because(samples.category, error)
                    self.report.failed.append(failed)
                    self.report.write()
                    yield failed
                    break  # the images are the same for the next seed
                self.report.results.append(result)
                self.report.write()
                yield result

    def _category(self, samples: CategorySamples, settings: FitSettings) -> CategoryResult:
        category = samples.category
        place = self._kept.place(category, settings.seed)
        synthetic = self.report.dataset.is_synthetic(self.report.root, samples)
        wanted = identity(
            samples,
            self.report.dataset.name,
            settings,
            self._fingerprint,
            self.report.aupro_limit,
            synthetic,
        )
        if self._all_maps:
            wanted["all maps"] = True  # a result that has them holds for a run that needs fewer
        document, again = (None, "") if self._restart else self._kept.find(place, wanted)
        kept = document is not None
        if document is None:
            document = self._done(samples, settings, place, wanted, synthetic)
        return CategoryResult(
            seed=settings.seed,
            evaluation=Evaluation(**document["evaluation"]),
            published=()
            if synthetic
            else published_for(
                self.report.dataset.name, category, aupro=self.report.has_usual_limit
            ),
            kept=kept,
            again=again,
            score_maps=document["score_maps"],
            place=place,
            page=document["page"],
        )

    def _done(
        self,
        samples: CategorySamples,
        settings: FitSettings,
        place: str,
        wanted: dict[str, Any],
        synthetic: bool,
    ) -> dict[str, Any]:
        """Fit and judge a category and keep what came of it; return the document that is kept."""
        maps = map_files(
            sample for sample in samples.test if self._all_maps or sample.label == "unknown"
        )
        written: list[Path] = []
        with self._kept.keeping(place) as (folder, document):

            def write_map(sample: Sample, anomaly_map: npt.NDArray[np.float32]) -> None:
                file = folder / maps[sample.name]
                with writing_report(self.report.folder):
                    file.parent.mkdir(parents=True, exist_ok=True)
                    Image.fromarray(anomaly_map).save(
                        file, compression="tiff_adobe_deflate", **own_mark(file.suffix)
                    )
                written.append(file)

            found = evaluate_category(
                self._workspace,
                samples,
                settings,
                aupro_limit=self.report.aupro_limit,
                synthetic=synthetic,
                cases=_CASES,
                write_map=write_map,
                all_maps=self._all_maps,
                progress=self._progress,
            )
            with writing_report(self.report.folder):
                page = write_pictures(folder, found)
                replace_text(folder / "images.csv", images_csv(found))
            document.update(
                identity=wanted,
                evaluation=asdict(found.summary()),
                score_maps=len(written),
                page=page,
            )
        return document


def checked_seeds(seeds: Sequence[int]) -> tuple[int, ...]:
    """Return the seeds, each once; refuse none and repeated ones.

    Raises
    ------
    ParameterError
        If so: a repeated seed would make the spread look smaller than it is.
    """
    if not seeds:
        raise ParameterError("seeds: none given; give one or more, such as 0,1,2")
    for number, seed in enumerate(seeds):
        if seed in seeds[:number]:
            raise ParameterError(f"seed {seed} is given twice; give each seed once")
    return tuple(seeds)
