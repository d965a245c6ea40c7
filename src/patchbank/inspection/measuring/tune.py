"""Which settings find most on a category's images: some are tried with synthetic defects."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from patchbank.datasets.collect import collect
from patchbank.errors import (
    ExtractorMismatchError,
    MissingExtraError,
    MissingWeightsError,
    NotFittedError,
    ParameterError,
    UnknownBackboneError,
    UnknownCategoryError,
    WeightsError,
)
from patchbank.inspection.judging.matching import matching_settings
from patchbank.inspection.learning.bit_depth import settled_bit_depth
from patchbank.inspection.learning.demands import refused_remark
from patchbank.inspection.learning.memory_limit import checked_limit
from patchbank.inspection.learning.resolution import trial_extractor, with_fitting_budget
from patchbank.inspection.learning.settled_regions import settled_regions
from patchbank.inspection.learning.sizes import sizes_of, typical
from patchbank.inspection.measuring.candidates import candidates_of, options_given
from patchbank.inspection.measuring.evaluate import check_extractor
from patchbank.inspection.measuring.held_out import (
    HELD_OUT_OF,
    DefectTrial,
    Images,
    checked_defect_sizes,
    default_defect_sizes,
    split,
)
from patchbank.inspection.measuring.tune_page import RESULTS_NAME, write_tune_report
from patchbank.inspection.measuring.tune_report import TuneReport
from patchbank.inspection.measuring.tune_trial import TrialRunner, make_plan
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.sources import checked_names, without
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import images_needed
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.reports.page import check_page_folder
from patchbank.store.categories import checked_category_name
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings

# Fewer say little: one image is more than a tenth.
_ENOUGH_HELD_OUT = 10
# An inspection that runs alone uses one core or more.
_LEAST_CORES = 0.85

_FEW_FOUND = (
    "hardly any synthetic defect makes its image fail, because good images differ much from those "
    "learned, and the thresholds are high: add good images; what is located does not depend on "
    "the thresholds"
)


def tune_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    settings: FitSettings,
    *,
    defect_sizes: Sequence[int] = (),
    memory_limit: int | str | None = None,
    exclude: Sequence[str] = (),
    report: Path | None = None,
    progress: Progress = silent,
) -> TuneReport:
    """Try settings on the good images found at paths; see `tune`."""
    found = collect(paths, good_only=True, exclude=exclude)
    return tune(
        workspace,
        category,
        found.images,
        settings,
        paths=[str(path) for path in paths],
        found=found.remarks,
        defect_sizes=defect_sizes,
        memory_limit=memory_limit,
        exclude=exclude,
        report=report,
        progress=progress,
    )


def tune(
    workspace: Workspace,
    category: str,
    sources: Sequence[ImageSource],
    settings: FitSettings,
    *,
    names: Sequence[str] | None = None,
    paths: Sequence[str] = (),
    found: Sequence[str] = (),
    defect_sizes: Sequence[int] = (),
    memory_limit: int | str | None = None,
    exclude: Sequence[str] = (),
    report: Path | None = None,
    progress: Progress = silent,
) -> TuneReport:
    """Learn some good images with each of several settings, and judge others with small defects.

    The defects are synthetic, and the same for all settings. Nothing is stored, and no bank
    changes.

    Parameters
    ----------
    settings
        As for a fit; the resolution must be left to choose, since that is what is tried.
    paths
        Where the images are, for the command line that is recommended.
    found
        Remarks on how they were found.
    defect_sizes
        In pixels of the images; by default such that they tell settings apart.
    report
        Folder for a page with pictures.

    Raises
    ------
    NoImagesError
        If too few images can be used.
    ParameterError
        If the resolution or another setting is not as it must be.
    PatchbankError
        If no setting can be tried, or the page cannot be written.
    """
    began = time.perf_counter()
    category = checked_category_name(category)
    if "resolution" not in settings.to_choose:
        raise ParameterError(
            "tune tries image sizes and scales itself: leave out image_size, center_crop, scale, "
            "tile and overlap"
        )
    sizes = checked_defect_sizes(defect_sizes)
    checked_limit(memory_limit)
    if report is not None:
        check_page_folder(report, files=[RESULTS_NAME])
    images = Images(sources, checked_names(sources, names))
    if exclude:
        images = Images(*without(images.sources, images.names, exclude))
    _check_can_tune(workspace, settings.extractor)
    in_use, remarks = _in_use(workspace, category)
    given = options_given(settings, settings.extractor.bit_depth)
    # The bank that is recommended is to be fitted to the same images, in the same memory.
    if exclude:
        given["exclude"] = list(exclude)
    if memory_limit is not None:
        given["memory_limit"] = memory_limit
    settings, depth = settled_bit_depth(
        workspace, [(images.sources, images.names)], settings, progress
    )
    parts = split(
        images,
        seed=settings.seed,
        bit_depth=settings.extractor.bit_depth,
        limits=workspace.limits,
        progress=progress,
    )
    learned_sizes = sizes_of(workspace, parts.learned.sources)
    settings = settled_regions(workspace, parts.learned.sources, settings)
    usual = typical(learned_sizes)
    if sizes and sizes[-1] > min(usual):
        raise ParameterError(
            f"defect size {sizes[-1]}: larger than the images, of {usual[0]} x {usual[1]} pixels; "
            "give smaller sizes"
        )
    settings = with_fitting_budget(settings, learned_sizes)
    candidates = candidates_of(workspace, parts.learned, settings, given, in_use, progress)
    trial = DefectTrial(
        parts.held_out,
        sizes or default_defect_sizes(*usual),
        settings.seed,
        settings.extractor.bit_depth,
        workspace.limits,
        settings.extractor.regions,
    )
    plan = make_plan(candidates.tried, len(parts.learned), trial)
    runner = TrialRunner(workspace, parts.learned, plan, usual, memory_limit, progress)
    tried, failed = runner.run()
    tried.sort(key=lambda item: item.milliseconds)
    common = [line for line in tried[0].remarks if all(line in item.remarks for item in tried)]
    refused = refused_remark(len(parts.refused), len(images))
    result = TuneReport(
        category=category,
        paths=tuple(paths),
        settings=settings,
        learned=parts.learned,
        trial=plan.trial,
        refused=parts.refused,
        tried=tuple(
            replace(item, remarks=tuple(line for line in item.remarks if line not in common))
            for item in tried
        ),
        left_out=(*candidates.left_out, *plan.left_out, *failed),
        remarks=(*found, *remarks, *depth, *refused, *candidates.remarks, *plan.remarks, *common),
        seconds=time.perf_counter() - began,
        shown=runner.shown,
    )
    more = [*_on_images(result), *_on_machine(runner.cores)]
    result = replace(result, remarks=(*result.remarks, *more))
    return result if report is None else write_tune_report(report, result)


def _on_images(report: TuneReport) -> list[str]:
    """Return remarks where images are too few, or too different, for figures to be relied on."""
    rate, promised = report.settings.false_alarm_rate, report.tried[0].guaranteed_rate
    lines = []
    if promised > rate:
        lines.append(
            f"{counted(len(report.learned), 'image')} learned are too few for a false-alarm rate "
            f"of {100 * rate:.3g} %: in this trial, {100 * promised:.3g} % of good images may fail;"
            f" fit {counted(images_needed(rate), 'good image')} or more"
        )
    if len(report.trial.images) < _ENOUGH_HELD_OUT:
        lines.append(
            f"only {counted(len(report.trial.images), 'image')} held out, so the figures are "
            f"rough: give {HELD_OUT_OF * _ENOUGH_HELD_OUT} good images or more"
        )
    if report.few_found:
        lines.append(_FEW_FOUND)
    return lines


def _on_machine(cores: Sequence[float]) -> list[str]:
    """Return a remark where other programs took much of the processor's time."""
    if float(np.median(cores)) > _LEAST_CORES:
        return []
    return [
        "other programs were at work, so the milliseconds are too high: on an idle machine, "
        "another setting may be within the budget"
    ]


def _check_can_tune(workspace: Workspace, extractor: ExtractorSettings) -> None:
    """Find out before the work whether an extractor can be made, and at other sizes too."""
    check_extractor(workspace, extractor)
    try:
        trial_extractor(replace(extractor, center_crop=None), extractor.layers)
    except ParameterError as error:
        raise ParameterError(
            f"there is nothing to tune: {extractor.backbone} takes images of one size only"
        ) from error


def _in_use(workspace: Workspace, category: str) -> tuple[FitSettings | None, list[str]]:
    """Return what the category's bank was made with, if it has one; or why that is not tried."""
    try:
        stored = workspace.database.banks.active(category, patches=False)
    except (UnknownCategoryError, NotFittedError):
        return None, []
    try:
        extractor, _ = matching_settings(stored.content, f"category {category!r}: its bank")
        _check_can_tune(workspace, extractor)
        return FitSettings.from_json(stored.content.settings, extractor), []
    except (
        ExtractorMismatchError,
        MissingExtraError,
        MissingWeightsError,
        ParameterError,
        UnknownBackboneError,
        WeightsError,
    ) as error:
        return None, [f"the settings in use are not tried: {error}"]
