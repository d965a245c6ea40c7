"""A memory bank as a fit leaves it in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.learning.stream import Streaming
from patchbank.inspection.learning.suspicious import Suspicious, find_suspicious
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.verdicts import Refused
from patchbank.memory.calibration import Calibration, ConformalThreshold, Thresholds
from patchbank.store.bank_content import BankContent, ReferenceImage
from patchbank.vision.quantised import QuantisedGraph


@dataclass(frozen=True, eq=False)
class LearnedBank:
    """A memory bank in memory, with all that a judgement needs.

    Attributes
    ----------
    content
        What it consists of. Its covering radius is exact unless the fit was streamed and did not
        read every image again: then it is a bound. Images that a streamed fit did not draw for its
        calibration have no score.
    settings
        What it was made with.
    patches
        How many the images it was learned from have in all.
    quantised
        The extractor's graph where it was made of these images: with precision int8.
    streaming
        How the fit was streamed; None where all patches fitted into memory, and it is exact.
    remarks
        What a person should know although nothing failed, each one line; `suspicious` aside.
    patch_features
        The features of all inspected patches of each image, float32 (k, d); empty where the fit was
        streamed.
    summaries
        What labelled defects are compared with, float32 (k, s): a row for each of the scores.
    """

    content: BankContent
    settings: FitSettings
    patches: int
    quantised: QuantisedGraph | None = None
    streaming: Streaming | None = None
    refused: tuple[Refused, ...] = ()
    remarks: tuple[str, ...] = ()
    timings_s: dict[str, float] = field(default_factory=dict)
    patch_features: Sequence[NDArray[np.float32]] = field(default=(), repr=False)
    summaries: NDArray[np.float32] = field(kw_only=True, repr=False)

    @property
    def images(self) -> Sequence[ReferenceImage]:
        """The images it was learned from."""
        return self.content.images

    @property
    def features(self) -> NDArray[np.float32]:
        """The coreset in the order it was chosen, float32 (m, d)."""
        return self.content.features

    @property
    def embeddings(self) -> NDArray[np.float32]:
        """What each image looks like as a whole, float32 (n, e), centred."""
        return self.content.embeddings

    @property
    def covering_radius(self) -> float:
        """No patch of any image is farther from the bank."""
        return self.content.covering_radius

    @cached_property
    def scores(self) -> NDArray[np.float64]:
        """Each image's score with its own patches left out, float64 (n,); NaN where not known."""
        return self.content.scores.of_image(len(self.images))

    @cached_property
    def calibration(self) -> Calibration:
        """What its images score."""
        found = calibration_of(self.content)
        assert found is not None
        return found

    @property
    def threshold(self) -> ConformalThreshold:
        """The score above which an image fails, and what that promises."""
        return self.calibration.threshold(self.settings.false_alarm_rate)

    @property
    def thresholds(self) -> Thresholds:
        """Where an image passes and where it fails."""
        return self.settings.threshold_rule.thresholds(self.calibration)

    @cached_property
    def suspicious(self) -> Suspicious | None:
        """The reference images that stand apart and are perhaps not good."""
        return self.standing_apart(screening=False)

    def standing_apart(self, *, screening: bool) -> Suspicious | None:
        """Return the images that stand apart, as `find_suspicious` finds them."""
        return find_suspicious(
            [image.name for image in self.images],
            self.scores,
            self.settings.false_alarm_rate,
            self.embeddings,
            screening=screening,
        )
