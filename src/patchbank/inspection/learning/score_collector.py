"""Scores of good images, collected one after another for a calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import NoImagesError
from patchbank.inspection.judging.judge import map_of
from patchbank.inspection.settings import FitSettings
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import image_score, reweighted_score
from patchbank.store.bank_content import CalibrationScores
from patchbank.vision.regions import taken


class ScoreCollector:
    """Collects what good images score by a bank that does not hold their own patches.

    Parameters
    ----------
    index
        The bank's index. Its groups are the numbers of the images where these are in the bank.
    """

    def __init__(self, settings: FitSettings, index: NeighbourIndex) -> None:
        self._settings, self.index = settings, index
        self._images: list[int] = []
        self._scores: list[float] = []
        self._maxima: list[float] = []

    def add(
        self,
        image: int,
        size: tuple[int, int],
        patches: NDArray[np.float32],
        distances: NDArray[np.float32],
        nearest: NDArray[np.int64],
    ) -> float:
        """Return the score of one image's distances (h, w) and count it in.

        `image` is its number: where the bank holds patches of it, they are left out; `size` is its
        width and height. Patches that are not inspected do not count.
        """
        settings = self._settings
        inspected = settings.extractor.inspected_of(*size)
        counting = taken(distances, inspected)[np.newaxis]
        if settings.image_score == "reweighted":
            group = None if self.index.groups is None else image
            score = reweighted_score(
                taken(patches, inspected)[np.newaxis],
                counting,
                taken(nearest, inspected)[np.newaxis],
                self.index,
                exclude_group=group,
            )
        else:
            score = image_score(counting, settings.image_score)
        self._images.append(image)
        self._scores.append(score)
        self._maxima.append(float(map_of(distances, settings, *size).max()))
        return score

    def scores(self, *, held_out: bool = False) -> CalibrationScores:
        """Return the scores of all images counted; `held_out` where the bank did not learn them.

        Raises
        ------
        NoImagesError
            If there are none.
        """
        if not self._scores:
            raise NoImagesError(
                "none of the images could be read again for the calibration; do not change "
                "them while fit is running, and fit again"
            )
        return CalibrationScores.of_images(
            self._images, self._scores, self._maxima, held_out=held_out
        )
