"""Find similar images: exact cosine similarity of embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Embeddings this close, as a share of their length, are of the same image: computed twice, they
# differ by rounding, and by less than a camera's noise.
_SAME_IMAGE = 1e-3
# The most references whose nearest others are searched; more would add no information.
_MOST_QUERIES = 2_000
_BLOCK = 4_096


class SimilarityIndex:
    """Embeddings prepared for a similarity search; thread-safe.

    Parameters
    ----------
    embeddings
        float32 (n, e); not copied.
    """

    def __init__(self, embeddings: npt.NDArray[np.float32]) -> None:
        self._embeddings = embeddings
        self._lengths = _lengths(embeddings)

    def most_similar(
        self, embedding: npt.NDArray[np.floating], top: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """Return the indices of the most similar embeddings and their cosine similarities.

        They are sorted best first, ties by index. An embedding of zeros has similarity 0.

        Parameters
        ----------
        embedding
            Shape (e,).
        top
            The number to return, at least 1; fewer if there are fewer.
        """
        similarities = self.similarities(embedding)
        best = np.argsort(-similarities, kind="stable")[:top]
        return best, similarities[best]

    def similarities(self, embedding: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """Return the cosine similarity of every embedding to this one, (n,)."""
        query = np.asarray(embedding, np.float32)
        # einsum stays in this thread; BLAS would start threads that then busy-wait for work.
        products = np.einsum("ne,e->n", self._embeddings, query)
        lengths = self._lengths * _lengths(query[None])[0]
        similarities = np.zeros(len(products))
        np.divide(products, lengths, out=similarities, where=lengths > 0)
        np.clip(similarities, -1.0, 1.0, out=similarities)
        return similarities


def _lengths(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
    squares = np.einsum("ne,ne->n", embeddings, embeddings, dtype=np.float64)
    return np.asarray(np.sqrt(squares))


def same_image(
    embeddings: npt.NDArray[np.float32], query: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Return which embeddings belong to the query's own image, whatever its name.

    Parameters
    ----------
    embeddings
        float32 (n, e).
    query
        float32 (e,), centred like the embeddings.
    """
    same = np.zeros(len(embeddings), np.bool_)
    limit = _SAME_IMAGE * float(np.linalg.norm(query))
    for start in range(0, len(embeddings), _BLOCK):
        block = slice(start, start + _BLOCK)
        same[block] = _lengths(embeddings[block] - query) <= limit
    return same


def similarities_to_others(
    embeddings: npt.NDArray[np.float32],
    offset: npt.NDArray[np.float32] | None = None,
    groups: npt.NDArray[np.int64] | None = None,
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return embeddings' similarities to the most similar others, and these embeddings' indices.

    Copies of the same image, and images of the same group, do not count as others; an embedding
    without others is left out. Of more than 2,000 embeddings, 2,000 evenly spaced ones are used as
    queries.

    Parameters
    ----------
    embeddings
        float32 (n, e).
    offset
        (e,), added to every embedding first.
    groups
        int64 (n,): the group of each; negative if it is a group of its own, as all are by default.
    """
    count = len(embeddings)
    sampled = np.unique(np.linspace(0, count - 1, min(count, _MOST_QUERIES)).astype(np.int64))
    queries = _shifted(embeddings[sampled], offset)
    lengths = np.linalg.norm(queries, axis=1)
    nearest = np.full(len(queries), -np.inf)
    for start in range(0, count, _BLOCK):
        others = _shifted(embeddings[start : start + _BLOCK], offset)
        other_lengths = np.linalg.norm(others, axis=1)
        products = queries @ others.T
        squares = lengths[:, None] ** 2 + other_lengths**2 - 2 * products
        scale = lengths[:, None] * other_lengths
        similarity = np.divide(products, scale, out=np.zeros_like(products), where=scale > 0)
        similarity[squares <= _SAME_IMAGE**2 * lengths[:, None] ** 2] = -np.inf
        if groups is not None:
            own = groups[sampled][:, None]
            similarity[(own >= 0) & (own == groups[start : start + _BLOCK])] = -np.inf
        np.maximum(nearest, similarity.max(axis=1), out=nearest)
    has_others = np.isfinite(nearest)
    return np.clip(nearest[has_others], -1.0, 1.0), sampled[has_others]


def _shifted(
    embeddings: npt.NDArray[np.float32], offset: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float64]:
    wide = embeddings.astype(np.float64)
    return wide if offset is None else wide + offset
