"""How well a category is learned: fit on train, judge test, never tune on test."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from patchbank.datasets.catalogue import DataSet, find_dataset
from patchbank.datasets.layouts.shared import some
from patchbank.datasets.masks import read_mask
from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.errors import (
    DatasetError,
    ImageError,
    ParameterError,
    PatchbankError,
)
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.bit_depth import settled_bit_depth
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.learning.repeats import Repeats
from patchbank.inspection.measuring.category_evaluation import CategoryEvaluation, Judged
from patchbank.inspection.measuring.costs import Costs, propose
from patchbank.inspection.measuring.extremes import Extremes
from patchbank.inspection.measuring.figures import Evaluation, Failed, average
from patchbank.inspection.measuring.labelled import (
    Labelled,
    check_number,
    with_labelled,
    without_labelled,
)
from patchbank.inspection.measuring.timed import inspection_time
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.sources import checked_groups, source_name
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.metrics import (
    NO_IMAGE_METRICS,
    PixelScores,
    Rates,
    image_metrics,
    rates_at,
)
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.vision.extraction import Refusal
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantise import check_can_quantise

# Takes the map of a test image, (height, width) of float32, NaN where not inspected.
MapWriter = Callable[[Sample, npt.NDArray[np.float32]], None]


def evaluate(
    workspace: Workspace,
    root: str | Path,
    categories: Sequence[str] | None,
    settings: FitSettings,
    *,
    dataset: str = "mvtec",
    group_by: str | None = None,
    aupro_limit: float | None = None,
    labelled_defects: int = 0,
    costs: Costs | None = None,
    progress: Progress = silent,
) -> Iterator[Evaluation | Failed]:
    """Yield the figures of each category of a data set, then their average.

    A category whose images cannot be used is yielded as failed and the others are done; the average
    is over those that were done, and is left out where none was. Nothing is stored: no bank in use
    is replaced. Of each category, `labelled_defects` are labelled and left out of the figures; see
    `evaluate_category`.

    Raises
    ------
    DatasetError
        If the folders are not laid out as expected, before any work is done.
    ParameterError, UnknownBackboneError, UnknownLayerError, WeightsError, MissingExtraError
        If the settings cannot be used for any category, before any work is done.
    """
    found = find_dataset(dataset)
    check_number(labelled_defects)
    limit = checked_aupro_limit(aupro_limit, found)
    all_samples = load_categories(found, root, categories, progress=progress)
    check_extractor(workspace, settings.extractor)
    summaries = []
    for samples in all_samples:
        try:
            summary = evaluate_category(
                workspace,
                samples,
                settings,
                group_by=group_by,
                aupro_limit=limit,
                synthetic=found.is_synthetic(root, samples),
                labelled_defects=labelled_defects,
                costs=costs,
                progress=progress,
            ).summary()
        except PatchbankError as error:
            yield Failed.because(samples.category, error)
            continue
        summaries.append(summary)
        yield summary
    if summaries:
        yield average(summaries)


def load_categories(
    dataset: DataSet,
    root: str | Path,
    categories: Sequence[str] | None,
    *,
    progress: Progress = silent,
) -> list[CategorySamples]:
    """Return the samples of the named categories, or of all, each once.

    All are read first, so that a mistake in the last does not cost the work on the others.

    Raises
    ------
    DatasetError
        If the folders are not laid out as expected, or a category is not there.
    ParameterError
        If no category is named, which would silently mean all.
    """
    if categories is not None and not categories:
        raise ParameterError("categories: no name given; name some, or leave it out for all")
    names = list(dict.fromkeys(categories)) if categories else dataset.list_categories(root)
    return [dataset.load(root, name, progress=progress) for name in names]


def checked_aupro_limit(limit: float | None, dataset: DataSet) -> float:
    """Return the limit given, or the data set's own.

    Raises
    ------
    ParameterError
        If it is not in (0, 1].
    """
    limit = dataset.aupro_limit if limit is None else limit
    if not 0 < limit <= 1:
        raise ParameterError(f"the AUPRO limit is {limit}; must be above 0 and at most 1")
    return limit


def check_extractor(workspace: Workspace, settings: ExtractorSettings) -> None:
    """Find out now what is wrong with an extractor, so that it is said once, not of each category.

    Raises
    ------
    MissingExtraError, MissingWeightsError, WeightsError, ParameterError
        If it cannot be made.
    """
    if settings.is_quantised:
        check_can_quantise()  # its graph is made from a category's images
    else:
        workspace.extractor(settings)


def evaluate_category(
    workspace: Workspace,
    samples: CategorySamples,
    settings: FitSettings,
    *,
    group_by: str | None = None,
    aupro_limit: float = 0.3,
    synthetic: bool = False,
    cases: int = 0,
    write_map: MapWriter | None = None,
    all_maps: bool = False,
    labelled_defects: int = 0,
    costs: Costs | None = None,
    progress: Progress = silent,
) -> CategoryEvaluation:
    """Learn from the train images of one category and judge its test images.

    Pixel figures are computed on the original resolution, where at least one test image has a mask;
    anomalous images without a mask, or with one that cannot be used, do not count in them. No map
    is kept but those of the extremes.

    Parameters
    ----------
    group_by
        Which train images depend on one another; see `groups_by`.
    aupro_limit
        False-positive rate up to which the per-region overlap is integrated.
    synthetic
        Whether the images were made by code, for the figures to be labelled so.
    cases
        How many of the best and the worst cases to keep, of each kind.
    write_map
        Called with the map of every image without a label.
    all_maps
        Whether `write_map` is called for all other test images too.
    labelled_defects
        How many anomalous test images to label: scores rise with likeness to them. They are drawn
        with the settings' seed and count in no figure.
    costs
        What mistakes cost, for a proposal by the anomalous images that are judged.

    Raises
    ------
    NoImagesError, DatasetError
        If too few train images can be used, or no test image, or all anomalous ones were labelled.
    """
    check_number(labelled_defects)
    drawn: tuple[Sample, ...] = ()
    if labelled_defects:
        drawn, samples = without_labelled(samples, labelled_defects, settings.seed)

    def in_category(stage: str, done: int, total: int) -> None:
        progress(f"{samples.category}: {stage}", done, total)

    # The brightest values may be those of defects: the images to judge count too, unlabelled.
    settings, depth_remarks = settled_bit_depth(
        workspace,
        [
            ([sample.path for sample in some_samples], [sample.name for sample in some_samples])
            for some_samples in (samples.train, (*drawn, *samples.test))
        ],
        settings,
        in_category,
    )
    paths = [source_name(sample.path) for sample in samples.train]
    by_path, ungrouped = checked_groups(paths, None, group_by)
    labels = (
        None
        if by_path is None
        else {
            sample.name: by_path.get(path)
            for sample, path in zip(samples.train, paths, strict=True)
        }
    )
    began = time.perf_counter()
    bank = learn(
        workspace,
        [sample.path for sample in samples.train],
        settings,
        names=[sample.name for sample in samples.train],
        groups=labels,
        progress=in_category,
    )
    bank = replace(bank, remarks=(*depth_remarks, *ungrouped, *bank.remarks))
    fit_seconds = time.perf_counter() - began
    judge = Judge(bank.features, bank.settings, bank.calibration)
    extractor = workspace.extractor(bank.settings.extractor, bank.quantised)
    repeats = Repeats(bank.images)
    labelled: Labelled | None = None
    if drawn:
        judge, labelled = with_labelled(
            bank, judge, extractor, drawn, settings.seed, repeats, workspace.limits, in_category
        )
    taken = inspection_time(
        judge,
        extractor,
        [sample.path for sample in samples.test],
        [sample.name for sample in samples.test],
        workspace.limits,
    )
    pixels = PixelScores() if samples.has_masks else None
    extremes = Extremes(cases)
    judged: list[Judged] = []
    refused: list[Refused] = []
    unread_masks: list[str] = []
    changed_masks: dict[str, str] = {}
    stream = extractor.extract_many(
        [sample.path for sample in samples.test],
        names=[sample.name for sample in samples.test],
        limits=workspace.limits,
        stage="judged",
        progress=in_category,
    )
    for sample, result in zip(samples.test, stream, strict=True):
        if isinstance(result, Refusal):
            refused.append(Refused(sample.name, str(result.error)))
            continue
        if not repeats.counts(sample, result.image):
            continue
        width, height = result.image.width, result.image.height
        judgement = judge(result.patches, width, height, embedding=result.embedding)
        judged.append(
            Judged(sample, judgement.verdict, judgement.score, judgement.p_value, judgement.added)
        )
        extremes.add(sample, judgement)
        counts = pixels is not None and (sample.label == "good" or sample.mask is not None)
        writes = write_map is not None and (all_maps or sample.label == "unknown")
        if not counts and not writes:
            continue
        full = judgement.full_map()
        if write_map is not None and writes:
            write_map(sample, full)
        if pixels is not None and counts:
            try:
                mask = (
                    None
                    if sample.mask is None
                    else read_mask(
                        sample.mask,
                        height,
                        width,
                        image=sample.path,
                        on_change=partial(changed_masks.setdefault, sample.name),
                    )
                )
            except (ImageError, DatasetError) as error:
                unread_masks.append(f"{sample.name} is not counted in the pixel figures: {error}")
                continue
            pixels.add(full, mask)
    if not judged:
        reasons = [*repeats.remarks(), *(refusal.error for refusal in refused)]
        raise DatasetError(
            f"none of the {len(samples.test)} test images could be judged; "
            f"{reasons[0] if reasons else 'put images in its test folder'}"
        )
    known = [item for item in judged if item.sample.label != "unknown"]
    anomalous = np.array([item.sample.label == "anomalous" for item in known])
    scores = np.array([item.score for item in known])
    threshold = judge.thresholds.fail_above
    if labelled is not None and known:
        before = scores - np.array([item.added for item in known])
        labelled = replace(labelled, image_auroc=image_metrics(anomalous, before).image_auroc)
    return CategoryEvaluation(
        samples=samples,
        bank=bank,
        judged=tuple(judged),
        refused=tuple(refused),
        repeats=repeats,
        image=image_metrics(anomalous, scores) if known else NO_IMAGE_METRICS,
        rates=rates_at(anomalous, scores, threshold) if known else Rates(threshold, None, None),
        pixels=None if pixels is None else pixels.metrics(aupro_limit),
        extremes=extremes,
        unread_masks=(*unread_masks, *_remarks_on_changed(changed_masks)),
        fit_seconds=fit_seconds,
        thresholds=judge.thresholds,
        labelled=labelled,
        costs=costs,
        proposal=None
        if costs is None or not anomalous.any()
        else propose(judge.calibration, scores[anomalous].tolist(), costs, threshold),
        milliseconds_per_image=None if taken is None else taken.total,
        synthetic=synthetic,
    )


def _remarks_on_changed(changed: Mapping[str, str]) -> list[str]:
    remarks = []
    for change, text in (
        ("scaled", "whose size differs from their image were scaled to it (nearest pixel)"),
        ("turned", "stored in the orientation of the file were rotated with their image"),
    ):
        names = [name for name, done in changed.items() if done == change]
        if names:
            remarks.append(f"{counted(len(names), 'mask')} {text}: {some(names)}")
    return remarks
