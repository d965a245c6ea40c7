"""Scores of good images, collected one after another for a calibration."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import NoImagesError
from patchbank.inspection.judging.judge import map_of
from patchbank.inspection.settings import FitSettings
from patchbank.memory.groups import Groups
from patchbank.memory.labelled import summary
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.scoring import image_score, reweighted_score
from patchbank.store.bank_content import CalibrationScores
from patchbank.vision.regions import spread


class ScoreCollector:
    """Collects what good images score by a bank that does not hold their own patches.

    Parameters
    ----------
    index
        The bank's index. Its groups are the numbers of the images where these are in the bank.
    groups
        Images that depend on one another; by default none do.
    summarise
        Whether to keep a summary of each image, for labelled defects to be compared with.
    """

    def __init__(
        self,
        settings: FitSettings,
        index: NeighbourIndex,
        groups: Groups | None = None,
        *,
        summarise: bool = False,
    ) -> None:
        self._settings, self.index, self._summarise = settings, index, summarise
        self._groups = None if groups is None or groups.are_single else groups
        self._summaries: list[NDArray[np.float32]] = []
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
        """Return the score of one image by its inspected patches, and count it in.

        Parameters
        ----------
        image
            Its number: where the bank holds patches of it, they are left out.
        size
            Its width and height.
        patches, distances, nearest
            float32 (n, d), float32 (n,) and int64 (n,): of the patches that are inspected, row by
            row.
        """
        settings = self._settings
        counting = distances[np.newaxis]
        if settings.image_score == "reweighted":
            index, group = self._without(image)
            score = reweighted_score(
                patches[np.newaxis],
                counting,
                nearest[np.newaxis],
                index,
                exclude_group=group,
            )
        else:
            score = image_score(counting, settings.image_score)
        if self._summarise:
            self._summaries.append(summary(patches, distances, nearest, self.index))
        self._images.append(image)
        self._scores.append(score)
        extractor = settings.extractor
        whole = spread(distances, extractor.inspected_of(*size), extractor.grid_of(*size))
        self._maxima.append(float(map_of(whole, settings, *size).max()))
        return score

    def _without(self, image: int) -> tuple[NeighbourIndex, int | None]:
        """Return the index and which group of its rows an image must not be compared with."""
        if self.index.groups is None:
            return self.index, None
        if self._groups is None:
            return self.index, image
        gone = self._groups.rows_left_out_with(image, self.index.groups)
        return self.index.with_groups(gone.astype(np.int64)), 1

    def scores(self, *, held_out: bool = False, groups: Groups | None = None) -> CalibrationScores:
        """Return the scores of all images counted; `held_out` where the bank did not learn them.

        `groups` are those of images that the bank does not hold, and that so need not be left out.

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
        groups = groups or self._groups
        return CalibrationScores.of_images(
            self._images,
            self._scores,
            self._maxima,
            held_out=held_out,
            group=None if groups is None else groups.shared[self._images],
        )

    def summaries(self) -> NDArray[np.float32]:
        """Return the summary of each image counted, float32 (k, s); see `summary`."""
        return np.stack(self._summaries)
