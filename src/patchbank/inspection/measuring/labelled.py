"""Labelled defects in an evaluation: drawn from the test images, and left out of the figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.errors import DatasetError, ParameterError
from patchbank.inspection.judging.judge import Judge, calibration_of
from patchbank.inspection.learning.dependence import groups_of_references
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.learning.repeats import Repeats
from patchbank.inspection.verdicts import Refused
from patchbank.memory.labelled import FEWEST_REFERENCES, sharpen
from patchbank.printable import counted
from patchbank.progress import Progress
from patchbank.vision.decoded_image import ImageLimits
from patchbank.vision.extraction import Refusal
from patchbank.vision.extractor import Extractor


@dataclass(frozen=True)
class Labelled:
    """What labelled defects did in an evaluation.

    Attributes
    ----------
    images
        How many defects were labelled.
    seed
        What they were drawn with.
    order
        Share of pairs of a labelled defect and a reference, each left out in turn, that likeness
        puts in the right order; None for a single defect, or where nothing was learned of them.
    used
        Whether they change scores.
    image_auroc
        The image AUROC without them, on the same images.
    refused
        Images that were drawn and could not be used.
    """

    images: int
    seed: int
    order: float | None
    used: bool
    image_auroc: float | None = None
    refused: tuple[Refused, ...] = ()

    @property
    def remark(self) -> str:
        """What they were, in one line."""
        drawn = (
            f"{counted(self.images, 'labelled defect')} drawn from the test images with seed "
            f"{self.seed}, left out of the figures"
        )
        if not self.used:
            return f"{drawn}: nothing was learned of them, and scores are as without them"
        auroc = "-" if self.image_auroc is None else f"{self.image_auroc:.4f}"
        return f"{drawn}; without them, the image AUROC is {auroc}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of an evaluation's figures."""
        return {
            "images": self.images,
            "seed": self.seed,
            "order": self.order,
            "used": self.used,
            "image_auroc_without": self.image_auroc,
        }


def check_number(number: int) -> None:
    """Raise ParameterError for a number of labelled defects that cannot be drawn."""
    if number < 0:
        raise ParameterError(f"labelled defects {number}: must be at least 0")


def without_labelled(
    samples: CategorySamples, number: int, seed: int
) -> tuple[tuple[Sample, ...], CategorySamples]:
    """Draw anomalous test images to be labelled; return them, and the samples without them.

    Raises
    ------
    DatasetError
        If no anomalous image would be left to judge.
    """
    anomalous = [sample for sample in samples.test if sample.label == "anomalous"]
    if number >= len(anomalous):
        raise DatasetError(
            f"{number} labelled defects: there are {counted(len(anomalous), 'anomalous image')} to "
            f"draw from, and one at least must be left to judge; "
            + (f"give at most {len(anomalous) - 1}" if len(anomalous) > 1 else "give none")
        )
    chosen = np.random.default_rng(seed).permutation(len(anomalous))[:number]
    drawn = tuple(anomalous[index] for index in sorted(chosen.tolist()))
    names = {sample.name for sample in drawn}
    rest = tuple(sample for sample in samples.test if sample.name not in names)
    return drawn, replace(samples, test=rest)


def with_labelled(
    bank: LearnedBank,
    judge: Judge,
    extractor: Extractor,
    drawn: Sequence[Sample],
    seed: int,
    repeats: Repeats,
    limits: ImageLimits,
    progress: Progress,
) -> tuple[Judge, Labelled]:
    """Return what judges with labelled defects, and what they are.

    A picture that is there twice is labelled once, and does not count in the figures either.
    """
    found, labels, refused = [], [], []
    stream = extractor.extract_many(
        [sample.path for sample in drawn],
        names=[sample.name for sample in drawn],
        limits=limits,
        stage="labelled defects",
        progress=progress,
    )
    for sample, result in zip(drawn, stream, strict=True):
        if isinstance(result, Refusal):
            refused.append(Refused(sample.name, str(result.error)))
        elif repeats.counts(sample, result.image):
            image = result.image
            found.append(judge.summary(result.patches, result.embedding, image.width, image.height))
            labels.append(sample.kind)
    labelled = Labelled(len(found), seed, None, used=False, refused=tuple(refused))
    content, scores = bank.content, bank.content.scores
    groups = groups_of_references(content, [image.texture for image in content.images])
    few = groups is not None and groups.count_of(scores.image) < FEWEST_REFERENCES
    if not found or few:
        return judge, labelled
    references = np.concatenate(
        [bank.summaries, (content.embeddings + content.embedding_mean)[scores.image]], axis=1
    )
    sharpened = sharpen(
        references,
        scores.score,
        np.stack(found),
        labels,
        None if groups is None else groups.of_images(scores.image),
    )
    if sharpened is None:
        return judge, labelled
    likeness, additions = sharpened
    calibration = calibration_of(
        replace(content, scores=replace(scores, score=scores.score + additions))
    )
    assert calibration is not None
    order = None if np.isnan(likeness.order) else likeness.order
    return (
        Judge(bank.features, bank.settings, calibration, likeness=likeness),
        replace(labelled, order=order, used=True),
    )
