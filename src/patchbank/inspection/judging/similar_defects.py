"""The recorded defects that the strongest region of an image is most similar to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from patchbank.inspection.matches import DefectMatch
from patchbank.memory.defect_book import DefectBook, Probable
from patchbank.store.defects import StoredBook


class ReadyBook:
    """The defect book of a category as it was at one moment, in memory; it never changes.

    Parameters
    ----------
    stored
        The defects that the bank can compare regions with.
    """

    def __init__(self, stored: StoredBook) -> None:
        self._stored = stored
        # Synthetic ones stand in for defects: they have no name to give.
        labels = [
            None if synthetic else label
            for label, synthetic in zip(stored.labels, stored.synthetic, strict=True)
        ]
        # An image that was recorded twice speaks for its label once.
        said: set[tuple[str, str | None]] = set()
        for number, sha256 in enumerate(stored.sha256s):
            if (sha256, labels[number]) in said:
                labels[number] = None
            said.add((sha256, labels[number]))
        self._book = DefectBook(stored.embeddings, stored.owners, labels)

    @property
    def changes(self) -> int:
        """How often the category's defects had been changed when it was read."""
        return self._stored.changes

    def similar(
        self, embedding: NDArray[np.float32] | None, sha256: str, top: int
    ) -> tuple[tuple[DefectMatch, ...], Probable | None]:
        """Return the most similar defects, best first, ties by name, and what it probably is.

        Parameters
        ----------
        embedding
            float32 (d,), of the image's strongest region; None if it has none to compare.
        sha256
            Of the image's content: a defect of the same content does not say what it is.
        top
            The number to return at most.
        """
        if embedding is None or not len(self._book):
            return (), None
        stored = self._stored
        similarities = self._book.similarities(embedding)
        itself = np.array([known == sha256 for known in stored.sha256s], np.bool_)
        matches = tuple(
            DefectMatch(
                stored.names[number],
                stored.labels[number],
                float(similarities[number]),
                synthetic=stored.synthetic[number],
                itself=bool(itself[number]),
            )
            for number in np.argsort(-similarities, kind="stable")[:top]
        )
        return matches, self._book.probable(similarities, without=itself)


def empty_book() -> ReadyBook:
    """Return a book without defects."""
    return ReadyBook(
        StoredBook(0, [], [], [], [], np.zeros(0, np.int64), np.zeros((0, 0), np.float32))
    )
