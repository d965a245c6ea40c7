"""All of an evaluation of one category: its bank, every verdict, and the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.learning.repeats import Repeats
from patchbank.inspection.measuring.costs import Costs, Proposal
from patchbank.inspection.measuring.extremes import Extremes
from patchbank.inspection.measuring.figures import Evaluation
from patchbank.inspection.measuring.labelled import Labelled
from patchbank.inspection.verdicts import Refused
from patchbank.memory.calibration import Thresholds, Verdict
from patchbank.metrics import (
    ImageMetrics,
    PixelMetrics,
    Proportion,
    Rates,
    image_metrics,
    proportion,
)


@dataclass(frozen=True, slots=True)
class Judged:
    """A test image and what the bank says of it, without its map.

    `added` is what labelled defects added to the score.
    """

    sample: Sample
    verdict: Verdict
    score: float
    p_value: float
    added: float = 0.0


@dataclass(frozen=True, eq=False)
class CategoryEvaluation:
    """All of an evaluation: the bank, every verdict, and the figures with their curves.

    Attributes
    ----------
    extremes
        The best and the worst cases, with their maps.
    repeats
        Test images that count in no figure, or once.
    unread_masks
        Why a mask could not be used, for each, so that its image does not count in `pixels`; and
        what was done to some so that they could.
    fit_seconds
        From the first train image to the calibrated bank.
    thresholds
        Where an image passes and where it fails.
    labelled
        What labelled defects did, if some were asked for.
    costs, proposal
        What mistakes cost, if given, and the false-alarm rate at which they cost least; None
        without an anomalous image.
    milliseconds_per_image
        From file to verdict and map, one image at a time, all cores; the median of a few.
    """

    samples: CategorySamples
    bank: LearnedBank
    judged: tuple[Judged, ...]
    refused: tuple[Refused, ...]
    repeats: Repeats
    image: ImageMetrics
    rates: Rates
    pixels: PixelMetrics | None
    extremes: Extremes
    unread_masks: tuple[str, ...]
    fit_seconds: float
    milliseconds_per_image: float | None
    thresholds: Thresholds
    labelled: Labelled | None = None
    costs: Costs | None = None
    proposal: Proposal | None = None
    synthetic: bool = False

    @property
    def map_threshold(self) -> float:
        """The score above which a pixel belongs to a region."""
        rate = self.bank.settings.false_alarm_rate
        return self.bank.calibration.map_threshold(rate).value

    def scores(self, label: str) -> npt.NDArray[np.float64]:
        """Return the (n,) scores of the images of a label."""
        return np.array(
            [judgement.score for judgement in self.judged if judgement.sample.label == label]
        )

    def reviewed(self, label: str) -> int:
        """Return how many images of a label go to review."""
        return sum(item.sample.label == label and item.verdict == "review" for item in self.judged)

    def summary(self) -> Evaluation:
        """Return the figures."""
        false_alarms, recall = self.rates.false_alarm_rate, self.rates.recall
        missed = None if recall is None else proportion(recall.total - recall.count, recall.total)
        remarks = [*self.samples.warnings]
        drawn = () if self.labelled is None else self.labelled.refused
        remarks += [refusal.error for refusal in (*self.bank.refused, *drawn, *self.refused)]
        remarks += [] if self.labelled is None else [self.labelled.remark]
        remarks += self.repeats.remarks()
        remarks += self.unread_masks
        if self.costs is not None and self.proposal is None:
            remarks.append(
                "no proposal by costs: no anomalous image was judged, so that it is not known how "
                "many defects a limit misses; add images of defects to the test images"
            )
        if self.bank.suspicious is not None:
            remarks.append(self.bank.suspicious.describe("remove it from the training images"))
        remarks += self.bank.remarks
        return Evaluation(
            category=self.samples.category,
            values={
                "image_auroc": self.image.image_auroc,
                "average_precision": self.image.average_precision,
                "f1_max": self.image.f1_max,
                "false_alarm_rate": None if false_alarms is None else false_alarms.value,
                "recall": None if recall is None else recall.value,
                "pixel_auroc": None if self.pixels is None else self.pixels.pixel_auroc,
                "pixel_average_precision": (
                    None if self.pixels is None else self.pixels.pixel_average_precision
                ),
                "aupro": None if self.pixels is None else self.pixels.aupro,
                "fit_seconds": self.fit_seconds,
                "milliseconds_per_image": self.milliseconds_per_image,
            },
            facts={
                "aupro_limit": None if self.pixels is None else self.pixels.fpr_limit,
                **self.thresholds.to_json(),
                **self.bank.threshold.stated(),
                "requested_false_alarm_rate": self.bank.settings.false_alarm_rate,
                "requested_review_rate": self.bank.settings.review_rate,
                "false_alarm_rate_interval": _interval(false_alarms),
                "recall_interval": _interval(recall),
                "miss_rate": None if missed is None else missed.value,
                "miss_rate_interval": _interval(missed),
                "proposal": None if self.proposal is None else self.proposal.to_json(),
                "review_good": self.reviewed("good"),
                "review_anomalous": self.reviewed("anomalous"),
                "train_images": len(self.bank.images),
                "test_good": self.image.good,
                "test_anomalous": self.image.anomalous,
                "test_unlabelled": sum(
                    judgement.sample.label == "unknown" for judgement in self.judged
                ),
                "test_left_out": len(self.repeats),
                "refused": len(self.bank.refused) + len(drawn) + len(self.refused),
                "labelled_defects": None if self.labelled is None else self.labelled.to_json(),
                "kinds": figures_by_kind(self.judged),
                "bank_size": len(self.bank.features),
                "seed": self.bank.settings.seed,
                "coreset_ratio": self.bank.settings.coreset_ratio,
                "image_score": self.bank.settings.image_score,
                "backbone": self.bank.settings.extractor.backbone,
                "precision": self.bank.settings.extractor.precision,
                "layers": list(self.bank.settings.extractor.layers),
                "input": self.bank.settings.extractor.input_in_words(),
                "scale": self.bank.settings.extractor.scale,
                "center_crop": self.bank.settings.extractor.center_crop,
                "bit_depth": self.bank.settings.extractor.bit_depth,
            },
            remarks=tuple(remarks),
            synthetic=self.synthetic,
        )


def figures_by_kind(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Return the figures of each kind of defect against all good images, as JSON, by its name."""
    good = [item.score for item in judged if item.sample.label == "good"]
    anomalous = [item for item in judged if item.sample.label == "anomalous"]
    figures = []
    for kind in sorted({item.sample.kind for item in anomalous}):
        images = [item for item in anomalous if item.sample.kind == kind]
        scores = [*good, *(item.score for item in images)]
        recall = proportion(sum(item.verdict == "fail" for item in images), len(images))
        figures.append(
            {
                "kind": kind,
                "images": recall.total,
                "failed": recall.count,
                "recall": recall.value,
                "recall_interval": _interval(recall),
                "image_auroc": image_metrics(
                    np.arange(len(scores)) >= len(good), scores
                ).image_auroc,
            }
        )
    return figures


def _interval(proportion: Proportion | None) -> list[float] | None:
    return None if proportion is None else [proportion.low, proportion.high]
