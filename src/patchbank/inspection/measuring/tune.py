"""Which settings find most on a category's images: some are tried with synthetic defects."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from patchbank.datasets.collect import collect
from patchbank.errors import (
    ExtractorMismatchError,
    MissingExtraError,
    MissingWeightsError,
    NotFittedError,
    ParameterError,
    PatchbankError,
    UnknownBackboneError,
    UnknownCategoryError,
    WeightsError,
)
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.judging.matching import matching_settings
from patchbank.inspection.learning.bit_depth import settled_bit_depth
from patchbank.inspection.learning.demands import refused_remark
from patchbank.inspection.learning.learn import LearnedBank, learn
from patchbank.inspection.learning.memory_limit import checked_limit
from patchbank.inspection.learning.resolution import trial_extractor, with_fitting_budget
from patchbank.inspection.learning.sizes import sizes_of, typical
from patchbank.inspection.measuring.candidates import Candidate, candidates_of, options_given
from patchbank.inspection.measuring.evaluate import check_extractor
from patchbank.inspection.measuring.held_out import (
    CONTRASTS,
    DefectTrial,
    Images,
    Judged,
    checked_defect_sizes,
    default_defect_sizes,
    split,
)
from patchbank.inspection.measuring.timed import TIMED, InspectionTime, inspection_time
from patchbank.inspection.measuring.tune_page import write_tune_report
from patchbank.inspection.measuring.tune_report import ShownDefect, Tried, TuneReport
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.sources import checked_names, without
from patchbank.inspection.verdicts import Judgement
from patchbank.inspection.workspace import Workspace
from patchbank.metrics import proportion
from patchbank.progress import Progress, silent
from patchbank.reports.page import PAGE_NAME
from patchbank.reports.writing import check_report_packages, make_writable
from patchbank.store.categories import checked_category_name
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Refusal
from patchbank.vision.extractor_settings import ExtractorSettings

# Fewer images are held out where the whole would take longer; then settings are left out.
_LONG_SECONDS = 900
_TOO_LONG_SECONDS = 1800
_LONG_SHARE = 1 / 8
_FEWEST_HELD_OUT = 8
# Learning takes about as long as judging each image twice.
_LEARNING = 2

# A defect is located where the map is strongest within so many patches from it: a patch's features
# are those of its neighbourhood.
_PATCHES_BESIDE = 2

_FEW_FOUND = (
    "hardly any synthetic defect makes its image fail, because good images differ much from those "
    "learned, and the thresholds are high: add good images; what is located does not depend on "
    "the thresholds"
)

# Pixels of a crop around a defect, at least, and as a multiple of the defect's size.
_LEAST_CROP, _CROP_SIZES = 96, 6


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
        check_report_packages()
        make_writable(report, page=report / PAGE_NAME)
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
    usual = typical(learned_sizes)
    settings = with_fitting_budget(settings, learned_sizes)
    candidates = candidates_of(workspace, parts.learned, settings, given, in_use, progress)
    trial = DefectTrial(
        parts.held_out,
        sizes or default_defect_sizes(*usual),
        settings.seed,
        settings.extractor.bit_depth,
        workspace.limits,
    )
    plan = _plan(candidates.tried, len(parts.learned), trial)
    runner = _Runner(workspace, parts.learned, plan, usual, memory_limit, progress)
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
    if result.few_found:
        result = replace(result, remarks=(*result.remarks, _FEW_FOUND))
    return result if report is None else write_tune_report(report, result)


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


@dataclass(frozen=True, eq=False)
class _Plan:
    """What is tried on what, so that it ends in time.

    Attributes
    ----------
    seconds
        About how long it will take.
    """

    candidates: tuple[Candidate, ...]
    trial: DefectTrial
    seconds: float
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]


def _plan(candidates: Sequence[Candidate], learned: int, trial: DefectTrial) -> _Plan:
    """Hold out fewer images, then leave out expensive settings, where it would take too long."""

    def seconds(kept: Sequence[Candidate], held_out: int) -> float:
        images = _LEARNING * learned + TIMED + held_out * (1 + trial.defects)
        return images * sum(item.expected_ms for item in kept) / 1e3

    most = held_out = len(trial.images)
    kept = list(candidates)
    while held_out > _FEWEST_HELD_OUT and seconds(kept, held_out) > _LONG_SECONDS:
        held_out -= 1
    left_out = []
    # Cheapest first: the last is the most expensive.
    for candidate in reversed(candidates):
        if seconds(kept, held_out) <= _TOO_LONG_SECONDS:
            break
        long = seconds([candidate], held_out) > _LONG_SHARE * _TOO_LONG_SECONDS
        if long and not candidate.marks:
            kept.remove(candidate)
            left_out.append(
                f"{candidate.title}: about {candidate.expected_ms:,.0f} ms an image, which would "
                "take too long here"
            )
    remarks = []
    if held_out < most:
        remarks.append(
            f"{held_out} of {most} images held out are used, so that it does not take too long"
        )
    fewer = replace(trial, images=trial.images.first(held_out))
    return _Plan(tuple(kept), fewer, seconds(kept, held_out), tuple(left_out), tuple(remarks))


class _Runner:
    """Tries one candidate after the other."""

    def __init__(
        self,
        workspace: Workspace,
        learned: Images,
        plan: _Plan,
        usual: tuple[int, int],
        memory_limit: int | str | None,
        progress: Progress,
    ) -> None:
        self._workspace, self._learned, self._usual = workspace, learned, usual
        self._candidates, self._trial = plan.candidates, plan.trial
        self._memory_limit, self._progress = memory_limit, progress
        trial = plan.trial
        # What is left is told by a count of images, each of which counts as often as it is seen.
        self._stage = f"settings tried, about {max(1, round(plan.seconds / 60))} min"
        self._each = _LEARNING * len(learned) + trial.pictures
        # Drawn before anything is judged, one of each size and contrast.
        random = np.random.default_rng([trial.seed, 5])
        order = random.permutation(len(trial.images))
        self.shown = tuple(
            Judged(int(order[(size * len(CONTRASTS) + contrast) % len(order)]), size, contrast)
            for size in range(len(trial.sizes))
            for contrast in range(len(CONTRASTS))
        )

    def run(self) -> tuple[list[Tried], list[str]]:
        """Return what came of each candidate, and a line on each that cannot be tried.

        Raises
        ------
        PatchbankError
            If none can be tried: the first reason.
        """
        tried: list[Tried] = []
        failed: list[tuple[Candidate, PatchbankError]] = []
        for number, candidate in enumerate(self._candidates):
            try:
                tried.append(self._try(number, candidate))
            except PatchbankError as error:
                failed.append((candidate, error))
        if not tried:
            raise failed[0][1]
        return tried, [f"{candidate.title}: {error}" for candidate, error in failed]

    def _done(self, number: int, images: float) -> None:
        total = self._each * len(self._candidates)
        self._progress(self._stage, min(total, round(number * self._each + images)), total)

    def _try(self, number: int, candidate: Candidate) -> Tried:
        learned, trial = self._learned, self._trial

        def learning(stage: str, done: int, total: int) -> None:
            if stage == "features":
                self._done(number, _LEARNING * len(learned) * done / max(1, total))
            else:
                self._progress(stage, done, total)

        self._done(number, 0)
        began = time.perf_counter()
        bank = learn(
            self._workspace,
            learned.sources,
            candidate.settings,
            names=learned.names,
            memory_limit=self._memory_limit,
            progress=learning,
        )
        fit_seconds = time.perf_counter() - began
        judge = Judge(bank.features, bank.settings, bank.calibration)
        extractor = self._workspace.extractor(bank.settings.extractor, bank.quantised)
        held_out = trial.images
        taken = inspection_time(
            judge, extractor, held_out.sources, held_out.names, self._workspace.limits
        )
        if taken is None:
            taken = InspectionTime(candidate.expected_ms, 0.0)
        drawn: deque[Judged] = deque()
        shape = len(trial.sizes), len(CONTRASTS)
        found, located, fails = (np.zeros(shape, np.int64) for _ in range(3))
        alarms = 0
        shown: dict[int, ShownDefect] = {}
        with extractor:
            stream = extractor.extract_many(trial.draw(drawn), limits=self._workspace.limits)
            for done, result in enumerate(stream, start=1):
                judged = drawn.popleft()
                if isinstance(result, Refusal):
                    raise result.error
                judgement = judge(result.patches, result.image.width, result.image.height)
                self._done(number, _LEARNING * len(learned) + done)
                failing = judgement.verdict == "fail"
                if judged.size < 0:
                    alarms += failing
                    continue
                strongest = _strongest_at(judgement, judged.box, candidate.settings)
                cell = judged.size, judged.contrast
                fails[cell] += failing
                located[cell] += strongest
                found[cell] += failing and strongest
                which = Judged(judged.image, judged.size, judged.contrast)
                if which in self.shown:
                    shown[self.shown.index(which)] = _shown(
                        judgement, judged, trial.sizes[judged.size], strongest, failing
                    )
        rows, columns = bank.settings.extractor.grid_of(*self._usual)
        return Tried(
            candidate=candidate,
            patches=rows * columns,
            bank_size=len(bank.features),
            milliseconds=taken.total - taken.reading,
            reading_ms=taken.reading,
            false_alarms=proportion(alarms, len(held_out)),
            guaranteed_rate=_promised(bank),
            found=found,
            located=located,
            fails=fails,
            held_out=len(held_out),
            fit_seconds=fit_seconds,
            map_threshold=judge.map_threshold,
            remarks=bank.remarks,
            shown=tuple(shown[key] for key in sorted(shown)),
        )


def _promised(bank: LearnedBank) -> float:
    return max(bank.threshold.guaranteed_rate, bank.settings.false_alarm_rate)


def _strongest_at(
    judgement: Judgement, box: tuple[int, int, int, int], settings: FitSettings
) -> bool:
    """Return whether the map is strongest at a box, or within two patches of it."""
    x0, y0, x1, y1 = judgement.inspected_box
    rows, columns = settings.extractor.grid_of(judgement.width, judgement.height)
    high, wide = judgement.anomaly_map.shape
    row, column = np.unravel_index(int(judgement.anomaly_map.argmax()), (high, wide))
    x = x0 + (column + 0.5) * (x1 - x0) / wide
    y = y0 + (row + 0.5) * (y1 - y0) / high
    beside_x = _PATCHES_BESIDE * (x1 - x0) / columns
    beside_y = _PATCHES_BESIDE * (y1 - y0) / rows
    return bool(
        box[0] - beside_x <= x <= box[2] + beside_x and box[1] - beside_y <= y <= box[3] + beside_y
    )


def _shown(
    judgement: Judgement, judged: Judged, size: int, located: bool, fails: bool
) -> ShownDefect:
    """Return the part of a map around a defect."""
    side = max(_LEAST_CROP, _CROP_SIZES * size)
    wide, high = min(side, judgement.width), min(side, judgement.height)
    x0, y0, x1, y1 = judged.box
    left = min(max(0, (x0 + x1 - wide) // 2), judgement.width - wide)
    top = min(max(0, (y0 + y1 - high) // 2), judgement.height - high)
    crop = judgement.full_map()[top : top + high, left : left + wide].copy()
    return ShownDefect(judged, (left, top, left + wide, top + high), crop, located, fails)
