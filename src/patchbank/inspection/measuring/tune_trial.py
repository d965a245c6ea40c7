"""Settings are tried: learned with, timed, and judged by on images with synthetic defects."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from patchbank.errors import PatchbankError
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.learning.remarks import too_few_images
from patchbank.inspection.measuring.candidates import Candidate
from patchbank.inspection.measuring.held_out import CONTRASTS, DefectTrial, Images, Judged
from patchbank.inspection.measuring.located import crop_around, strongest_at
from patchbank.inspection.measuring.timed import TIMED, InspectionTime, inspection_time
from patchbank.inspection.measuring.tune_report import ShownDefect, Tried
from patchbank.inspection.verdicts import Judgement
from patchbank.inspection.workspace import Workspace
from patchbank.metrics import proportion
from patchbank.progress import Progress
from patchbank.vision.extraction import Refusal

# Fewer images are held out where the whole would take longer; then settings are left out.
_LONG_SECONDS = 900
_TOO_LONG_SECONDS = 1800
_LONG_SHARE = 1 / 8
_FEWEST_HELD_OUT = 8
# Learning takes about as long as judging each image twice.
_LEARNING = 2

# Pixels of a crop around a defect, at least, and as a multiple of the defect's size.
_LEAST_CROP, _CROP_SIZES = 96, 6


@dataclass(frozen=True, eq=False)
class Plan:
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


def make_plan(candidates: Sequence[Candidate], learned: int, trial: DefectTrial) -> Plan:
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
    return Plan(tuple(kept), fewer, seconds(kept, held_out), tuple(left_out), tuple(remarks))


class TrialRunner:
    """Tries one candidate after the other."""

    def __init__(
        self,
        workspace: Workspace,
        learned: Images,
        plan: Plan,
        usual: tuple[int, int],
        memory_limit: int | str | None,
        progress: Progress,
    ) -> None:
        self._workspace, self._learned, self._usual = workspace, learned, usual
        self._candidates, self._trial = plan.candidates, plan.trial
        self._memory_limit, self._progress = memory_limit, progress
        self.cores: list[float] = []
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
            taken = InspectionTime(candidate.expected_ms, 0.0, 1.0)
        self.cores.append(taken.cores)
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
                strongest = strongest_at(judgement, judged.box, candidate.settings.extractor)
                cell = judged.size, judged.contrast
                fails[cell] += failing
                located[cell] += strongest
                found[cell] += failing and strongest
                which = Judged(judged.image, judged.size, judged.contrast)
                if which in self.shown:
                    shown[self.shown.index(which)] = _shown(
                        judgement, judged, trial.sizes[judged.size], strongest, failing
                    )
        # `tune` says it of the whole trial.
        few = too_few_images(bank.threshold)
        return Tried(
            candidate=candidate,
            patches=bank.settings.extractor.patches_of(*self._usual),
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
            remarks=tuple(line for line in bank.remarks if line not in few),
            shown=tuple(shown[key] for key in sorted(shown)),
        )


def _promised(bank: LearnedBank) -> float:
    return max(bank.threshold.guaranteed_rate, bank.settings.false_alarm_rate)


def _shown(
    judgement: Judgement, judged: Judged, size: int, located: bool, fails: bool
) -> ShownDefect:
    """Return the part of a map around a defect."""
    side = max(_LEAST_CROP, _CROP_SIZES * size)
    left, top, right, bottom = crop_around(judged.box, side, judgement.width, judgement.height)
    crop = judgement.full_map()[top:bottom, left:right].copy()
    return ShownDefect(judged, (left, top, right, bottom), crop, located, fails)
