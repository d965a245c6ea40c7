"""The recorded defects that a region is most similar to, and what it therefore probably is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from patchbank.memory.similarity import SimilarityIndex

# The rule of `DefectBook.probable`; chosen and measured by benchmarks/defect_labels.py.
_NEAREST = 8
_AGREEING = 7 / 8
_LEAST = 4


@dataclass(frozen=True)
class Probable:
    """A label that a region probably has.

    Attributes
    ----------
    label
        The label.
    agreeing, nearest
        How many of so many most similar labelled defects have it.
    """

    label: str
    agreeing: int
    nearest: int

    def to_json(self) -> dict[str, str | int]:
        """Return the JSON object the commands print."""
        return {"label": self.label, "agreeing": self.agreeing, "nearest": self.nearest}

    def __str__(self) -> str:
        return f"probably {self.label} ({self.agreeing} of {self.nearest} nearest)"


class DefectBook:
    """Recorded defects by the embeddings of their regions; thread-safe.

    Parameters
    ----------
    embeddings
        float32 (regions, d), from `region_embedding`; not copied.
    owners
        int64 (regions,): the defect that each belongs to, ascending from 0; a defect's strongest
        region comes first.
    labels
        Of each defect; None for one that may not speak for a label, such as a synthetic one.
    """

    def __init__(
        self,
        embeddings: npt.NDArray[np.float32],
        owners: npt.NDArray[np.int64],
        labels: Sequence[str | None],
    ) -> None:
        self._embeddings, self._owners = embeddings, owners
        self._index = SimilarityIndex(embeddings)
        self._labels = np.array([label or "" for label in labels], dtype=object)
        self._starts = np.flatnonzero(np.diff(owners, prepend=-1))
        self._usual: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._labels)

    def similarities(self, embedding: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        """Return the cosine similarity of each defect's most similar region, (defects,)."""
        if not len(self):
            return np.zeros(0)
        return np.maximum.reduceat(self._index.similarities(embedding), self._starts)

    def probable(
        self, similarities: npt.NDArray[np.float64], *, without: npt.NDArray[np.bool_]
    ) -> Probable | None:
        """Return the label that a region with these similarities probably has, if any.

        Of the most similar labelled defects, eight or as many as have the first one's label, seven
        in eight have that label (all of fewer than eight); at least four defects have it; and the
        region is as similar to one of these as at least half of them are to another of them, which
        keeps a kind of defect that is not in the book from getting the label of the nearest.

        Parameters
        ----------
        similarities
            From `similarities`.
        without
            bool (defects,): those to leave out, such as the inspected image itself.
        """
        counting = np.flatnonzero((self._labels != "") & ~without)
        if not len(counting):
            return None
        nearest = counting[np.argsort(-similarities[counting], kind="stable")]
        label = str(self._labels[nearest[0]])
        count = int(np.count_nonzero(self._labels[counting] == label))
        considered = min(_NEAREST, count)
        agreeing = int(np.count_nonzero(self._labels[nearest[:considered]] == label))
        if count < _LEAST or agreeing < _AGREEING * considered:
            return None
        if similarities[nearest[0]] < self._usual_similarity(label):
            return None
        return Probable(label, agreeing, considered)

    def _usual_similarity(self, label: str) -> float:
        """Return the median similarity of a label's defects to the most similar other one."""
        usual = self._usual.get(label)
        if usual is None:
            among = np.flatnonzero(self._labels == label)
            similar = np.stack(
                [
                    self.similarities(self._embeddings[self._starts[number]])[among]
                    for number in among
                ]
            )
            np.fill_diagonal(similar, -np.inf)
            usual = self._usual[label] = float(np.median(similar.max(axis=1)))
        return usual
