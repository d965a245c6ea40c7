"""How well a category is learned: fit on train, judge test, never tune on test."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from patchbank.datasets import mvtec
from patchbank.datasets.masks import read_mask
from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.errors import DatasetError, ImageError, PatchbankError
from patchbank.inspection.judge import Judge, Judgement
from patchbank.inspection.learn import LearnedBank, learn
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.scoring import place
from patchbank.metrics import (
    ImageMetrics,
    PixelMetrics,
    PixelScores,
    Proportion,
    Rates,
    image_metrics,
    rates_at,
)
from patchbank.progress import Progress, silent
from patchbank.vision.extractor import Refusal
from patchbank.vision.quantise import check_can_quantise

_AVERAGED = (
    "image_auroc",
    "average_precision",
    "f1_max",
    "false_alarm_rate",
    "recall",
    "pixel_auroc",
    "aupro",
)


@dataclass(frozen=True, eq=False)
class Judged:
    """A test image and what the bank says of it."""

    sample: Sample
    judgement: Judgement


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Figures of one category, or the average of several.

    `values` holds `image_auroc`, `average_precision`, `f1_max`, `false_alarm_rate`, `recall`,
    `pixel_auroc` and `aupro`; None where the test images cannot tell.
    """

    category: str
    values: dict[str, float | None]
    facts: dict[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    def value(self, name: str) -> float | None:
        """Return one figure, or None."""
        return self.values[name]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        return {"category": self.category, **self.values, **self.facts}


@dataclass(frozen=True)
class Failed:
    """A category that could not be evaluated, and why, in one line."""

    category: str
    error: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        return {"category": self.category, "error": self.error}


@dataclass(frozen=True, eq=False)
class CategoryEvaluation:
    """All of an evaluation: the bank, every judgement, and the figures with their curves.

    `unread_masks` says of each mask that could not be used why; its image does not count in
    `pixels`.
    """

    samples: CategorySamples
    bank: LearnedBank
    judged: tuple[Judged, ...]
    refused: tuple[Refused, ...]
    image: ImageMetrics
    rates: Rates
    pixels: PixelMetrics | None
    unread_masks: tuple[str, ...] = ()

    def summary(self) -> Evaluation:
        """Return the figures."""
        false_alarms, recall = self.rates.false_alarm_rate, self.rates.recall
        remarks = [*self.samples.warnings]
        remarks += [one.reason for one in (*self.bank.refused, *self.refused)]
        remarks += self.unread_masks
        if not self.bank.threshold.sufficient:
            remarks.append(self.bank.threshold.describe())
        return Evaluation(
            category=self.samples.category,
            values={
                "image_auroc": self.image.image_auroc,
                "average_precision": self.image.average_precision,
                "f1_max": self.image.f1_max,
                "false_alarm_rate": None if false_alarms is None else false_alarms.value,
                "recall": None if recall is None else recall.value,
                "pixel_auroc": None if self.pixels is None else self.pixels.pixel_auroc,
                "aupro": None if self.pixels is None else self.pixels.aupro,
            },
            facts={
                "threshold": self.rates.threshold,
                "requested_false_alarm_rate": self.bank.settings.false_alarm_rate,
                "false_alarm_interval": _interval(false_alarms),
                "recall_interval": _interval(recall),
                "train_images": len(self.bank.images),
                "test_good": self.image.good,
                "test_anomalous": self.image.anomalous,
                "refused": len(self.bank.refused) + len(self.refused),
                "bank_size": len(self.bank.features),
                "center_crop": self.bank.settings.extractor.center_crop,
            },
            remarks=tuple(remarks),
        )


def evaluate(
    workspace: Workspace,
    root: str | Path,
    categories: Sequence[str] | None,
    settings: FitSettings,
    *,
    progress: Progress = silent,
) -> Iterator[Evaluation | Failed]:
    """Yield the figures of each category of a data set in MVTec AD's layout, then their average.

    A category whose images cannot be used is yielded as failed and the others are done; the average
    is over those that were done, and is left out where none was. Nothing is stored: no bank in use
    is replaced.

    Raises
    ------
    DatasetError
        If the folders are not laid out as expected, before any work is done.
    ParameterError, UnknownBackboneError, UnknownLayerError, WeightsError, MissingExtraError
        If the settings cannot be used for any category, before any work is done.
    """
    names = list(dict.fromkeys(categories)) if categories else mvtec.list_categories(root)
    # All are read first, so that a mistake in the last does not cost the work on the others.
    all_samples = [mvtec.load(root, name) for name in names]
    # Made now, so that what is wrong with the settings is said once and not of each category.
    if settings.extractor.is_quantised:
        check_can_quantise()
    else:
        workspace.extractor(settings.extractor)
    summaries = []
    for samples in all_samples:
        try:
            summary = evaluate_category(workspace, samples, settings, progress=progress).summary()
        except PatchbankError as error:
            yield Failed(samples.category, " ".join(str(error).split()))
            continue
        summaries.append(summary)
        yield summary
    if summaries:
        yield average(summaries)


def average(summaries: Sequence[Evaluation]) -> Evaluation:
    """Return the mean of each figure over the categories that have it."""
    values: dict[str, float | None] = {}
    for name in _AVERAGED:
        known = [value for one in summaries if (value := one.value(name)) is not None]
        values[name] = float(np.mean(known)) if known else None
    return Evaluation("average", values, {"categories": len(summaries)})


def evaluate_category(
    workspace: Workspace,
    samples: CategorySamples,
    settings: FitSettings,
    *,
    progress: Progress = silent,
) -> CategoryEvaluation:
    """Learn from the train images of one category and judge its test images.

    Pixel figures are computed on the original resolution, where at least one test image has a mask;
    anomalous images without a mask, or with one that cannot be used, do not count in them.

    Raises
    ------
    NoImagesError, DatasetError
        If too few train images can be used, or no test image.
    """

    def in_category(stage: str, done: int, total: int) -> None:
        progress(f"{samples.category}: {stage}", done, total)

    bank = learn(
        workspace,
        [sample.path for sample in samples.train],
        settings,
        names=[sample.name for sample in samples.train],
        progress=in_category,
    )
    judge = Judge(bank.features, settings, bank.calibration)
    extractor = workspace.extractor(settings.extractor, bank.quantised)
    pixels = PixelScores() if samples.has_masks else None
    judged: list[Judged] = []
    refused: list[Refused] = []
    unread_masks: list[str] = []
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
        width, height = result.image.width, result.image.height
        judgement = judge(result.patches, width, height)
        judged.append(Judged(sample, judgement))
        if pixels is not None and (sample.label == "good" or sample.mask is not None):
            try:
                mask = None if sample.mask is None else read_mask(sample.mask, height, width)
            except (ImageError, DatasetError) as error:
                unread_masks.append(f"{sample.name} does not count in the pixel figures: {error}")
                continue
            full = place(judgement.anomaly_map, judgement.inspected_box, width, height)
            pixels.add(full, mask)
    labelled = [one for one in judged if one.sample.label != "unknown"]
    if not labelled:
        raise DatasetError(
            f"none of the {len(samples.test)} test images could be judged; "
            f"{refused[0].reason if refused else 'put images below its test folder.'}"
        )
    anomalous = np.array([one.sample.label == "anomalous" for one in labelled])
    scores = np.array([one.judgement.score for one in labelled])
    return CategoryEvaluation(
        samples=samples,
        bank=bank,
        judged=tuple(judged),
        refused=tuple(refused),
        image=image_metrics(anomalous, scores),
        rates=rates_at(anomalous, scores, judge.threshold.value),
        pixels=None if pixels is None else pixels.metrics(),
        unread_masks=tuple(unread_masks),
    )


def _interval(proportion: Proportion | None) -> list[float] | None:
    return None if proportion is None else [proportion.low, proportion.high]
