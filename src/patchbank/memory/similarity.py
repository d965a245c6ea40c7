"""Which reference images look like an image: exact cosine similarity of embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


class SimilarityIndex:
    """Embeddings at hand to be compared with others. May be used by several threads.

    Parameters
    ----------
    embeddings
        float32 (n, e). Not copied.
    """

    def __init__(self, embeddings: npt.NDArray[np.float32]) -> None:
        self._embeddings = embeddings
        self._lengths = _lengths(embeddings)

    def most_similar(
        self, embedding: npt.NDArray[np.floating], top: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the indices of the most similar embeddings and their cosine similarities.

        Best first, the first index first where two are equal; fewer than `top` where there are
        fewer. An embedding of zeros has no direction: its similarity is 0.

        Parameters
        ----------
        embedding
            Shape (e,).
        top
            At least 1.
        """
        query = np.asarray(embedding, np.float32)
        # einsum stays in this thread: BLAS would wake others, which then wait for more in a loop.
        products = np.einsum("ne,e->n", self._embeddings, query)
        lengths = self._lengths * _lengths(query[None])[0]
        similarities = np.zeros(len(products))
        np.divide(products, lengths, out=similarities, where=lengths > 0)
        np.clip(similarities, -1.0, 1.0, out=similarities)
        best = np.argsort(-similarities, kind="stable")[:top]
        return best, similarities[best]


def _lengths(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    squares = np.einsum("ne,ne->n", embeddings, embeddings, dtype=np.float64)
    return np.asarray(np.sqrt(squares))
