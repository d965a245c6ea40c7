"""The demonstration: good solar cells learned from real photographs, others judged, a page left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from patchbank.datasets.demo import CITATION, LICENCE, LICENCE_URL, demo_split
from patchbank.datasets.samples import Sample
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import save
from patchbank.inspection.measuring.category_evaluation import CategoryEvaluation, Judged
from patchbank.inspection.measuring.evaluate import evaluate_category
from patchbank.inspection.measuring.sections import (
    extractor_in_words,
    section_of,
    shown_case,
    write_pictures,
)
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.reports.galleries import write_evidence
from patchbank.reports.page import (
    EvaluationPage,
    Section,
    check_page_folder,
    new_pictures,
    write_page,
)
from patchbank.reports.pictures import SimilarImage
from patchbank.vision.images import decode

# Its own name, so that a category of the user's called cell-mono is not replaced.
DEMO_CATEGORY = "demo-cell-mono"
_GALLERY = 6


@dataclass(frozen=True, eq=False)
class DemoReport:
    """What the demonstration did."""

    page: Path
    evaluation: CategoryEvaluation
    bank_version: int
    passed: Inspection
    failed: Inspection
    timings_s: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        return {
            **self.evaluation.summary().to_json(),
            "category": DEMO_CATEGORY,
            "bank_version": self.bank_version,
            "page": str(self.page),
            "passed": self.passed.to_json(),
            "failed": self.failed.to_json(),
            "timings_s": {name: round(value, 3) for name, value in self.timings_s.items()},
        }


def run_demo(workspace: Workspace, folder: Path, *, progress: Progress = silent) -> DemoReport:
    """Learn 200 good monocrystalline cells, judge all others, and leave a page in a folder.

    The bank is stored as the category `DEMO_CATEGORY`, for the user to go on with.

    Raises
    ------
    MissingExtraError
        If the demo images or the report's packages are not installed.
    ReportError, DiskFullError, DatabaseError
        If the page or the bank cannot be written. That the folder cannot be written is found out
        before any work, and nothing is stored then.
    """
    heatmaps = folder / "heatmaps"
    check_page_folder(folder, heatmaps.name, extra="demo")
    samples = demo_split("mono")
    watch = Stopwatch()
    with watch.stage("learning and judging"):
        evaluation = evaluate_category(
            workspace, samples, FitSettings(), cases=_GALLERY, progress=progress
        )
    with watch.stage("database"):
        version = save(workspace, DEMO_CATEGORY, evaluation.bank)
    inspector = Inspector(workspace, DEMO_CATEGORY)
    with watch.stage("inspection"):
        passing = _typical_pass(evaluation).sample
        passed = inspector.inspect(passing.path, name=passing.name, heatmaps=heatmaps)
        failing = evaluation.extremes.highest_anomalous[0].sample
        failed = inspector.inspect(failing.path, name=failing.name, heatmaps=heatmaps)
    with watch.stage("page"), new_pictures(folder) as pictures:
        section = section_of(
            evaluation.summary(),
            pictures.name,
            write_pictures(pictures, evaluation),
            evidence=_write_evidence(workspace, pictures, passing, passed, evaluation),
        )
        page = write_page(folder, _page(evaluation, section, watch))
    timings = {**watch.seconds, "total": watch.total()}
    return DemoReport(page, evaluation, version, passed, failed, timings)


def _typical_pass(evaluation: CategoryEvaluation) -> Judged:
    """Return the good image of the median score: neither the best case nor the worst."""
    good = [judgement for judgement in evaluation.judged if judgement.sample.label == "good"]
    passing = [item for item in good if item.verdict == "pass"] or good
    return sorted(passing, key=lambda item: item.score)[len(passing) // 2]


def _write_evidence(
    workspace: Workspace,
    pictures: Path,
    sample: Sample,
    passed: Inspection,
    evaluation: CategoryEvaluation,
) -> dict[str, Any]:
    """Write an image that passes and the references most like it."""
    images = workspace.database.images
    similar = []
    for found in passed.similar:
        image_id = images.get(DEMO_CATEGORY, found.image).image_id
        thumbnail = decode(images.thumbnail(DEMO_CATEGORY, image_id))
        similar.append(SimilarImage(found.image, found.similarity, thumbnail.pixels))
    case = shown_case(sample, passed, evaluation.bank.settings.extractor.bit_depth)
    return write_evidence(pictures, case, similar, evaluation.map_threshold)


def _page(evaluation: CategoryEvaluation, section: Section, watch: Stopwatch) -> EvaluationPage:
    bank = evaluation.bank
    stages = ", ".join(
        f"{name} {seconds:.1f} s" for name, seconds in (bank.timings_s | watch.seconds).items()
    )
    return EvaluationPage(
        title="Solar cells: what patchbank learned and how it judges",
        lead=(
            f"Electroluminescence photographs of monocrystalline solar cells. Patchbank learned "
            f"what good looks like from {len(bank.images)} good cells, and judged "
            f"{evaluation.image.good} other good and {evaluation.image.anomalous} anomalous ones. "
            f"It learned from none of these, and its threshold comes from good cells only."
        ),
        sections=[section],
        facts=(
            ("Data set", "ELPV, monocrystalline cells; good: defect probability 0, anomalous: 1"),
            ("Split", "200 good cells to learn from, all others judged; seed 0"),
            ("Extractor", extractor_in_words(bank.settings.extractor)),
            (
                "Memory bank",
                f"{len(bank.features):,} of "
                f"{bank.patches:,} patches "
                f"({bank.settings.coreset_ratio:.0%}), covering radius {bank.covering_radius:.3g}",
            ),
            ("Image score", bank.settings.image_score),
            ("Calibration", bank.threshold.describe()),
            ("Review", bank.settings.threshold_rule.describe_review(bank.calibration)),
            ("Time", stages),
        ),
        credits=(f"Images: ELPV data set, {LICENCE} ({LICENCE_URL}).", CITATION),
    )
