"""Which reference images look like an image: exact cosine similarity of embeddings."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

# Embeddings this near, as a share of their length, are of one image: computed twice they differ by
# rounding, and by less than the noise of a camera.
_SAME_IMAGE = 1e-3
# The nearest other beside the quarter of all others: solar cells have 0.26 and more, saved again as
# JPEG in other qualities, shifted by a pixel or with a little noise 0.1 to 0.3.
_NEAR_COPY = 0.25
# References whose nearest others are looked for: more would tell no more.
_MOST_ASKED = 2_000
_BLOCK = 4_096


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


def same_image(
    embeddings: npt.NDArray[np.float32], query: npt.NDArray[np.float32]
) -> npt.NDArray[np.bool_]:
    """Return which embeddings are those of the query's own image, under whatever name.

    Parameters
    ----------
    embeddings
        float32 (n, e).
    query
        float32 (e,), centred as they are.
    """
    same = np.zeros(len(embeddings), np.bool_)
    limit = _SAME_IMAGE * float(np.linalg.norm(query))
    for start in range(0, len(embeddings), _BLOCK):
        block = slice(start, start + _BLOCK)
        same[block] = _lengths(embeddings[block] - query) <= limit
    return same


def similarities_to_others(
    embeddings: npt.NDArray[np.float32], offset: npt.NDArray[np.float32] | None = None
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Return how similar embeddings are to the most similar of the others, and which they are.

    One that is of the same image is no other; an embedding without others is left out. Of more than
    2,000 embeddings so many are asked, evenly spread.

    Parameters
    ----------
    embeddings
        float32 (n, e).
    offset
        Added to each of them first, (e,).
    """
    count = len(embeddings)
    asked = np.unique(np.linspace(0, count - 1, min(count, _MOST_ASKED)).astype(np.int64))
    queries = _shifted(embeddings[asked], offset)
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
        np.maximum(nearest, similarity.max(axis=1), out=nearest)
    known = np.isfinite(nearest)
    return np.clip(nearest[known], -1.0, 1.0), asked[known]


def _shifted(
    embeddings: npt.NDArray[np.float32], offset: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float64]:
    wide = embeddings.astype(np.float64)
    return wide if offset is None else wide + offset


def near_copies(embeddings: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Return which embeddings have another that is nearly the same: of the same photograph, say.

    The distance to the nearest other is small beside that to a quarter of all others, which images
    of a few kinds, each alike, do not make small: photographs of different parts differ too.

    Parameters
    ----------
    embeddings
        float32 (n, e); of more than 2,000 so many are taken, evenly spread. Of two nothing is
        known: they have no others.
    """
    count = len(embeddings)
    if count < 3:
        return np.zeros(count, np.bool_)
    taken = np.unique(np.linspace(0, count - 1, min(count, _MOST_ASKED)).astype(np.int64))
    # Around their mean, lest the squares of long vectors hide small differences.
    wide = _shifted(embeddings[taken], -embeddings[taken].mean(axis=0))
    squares = np.einsum("ne,ne->n", wide, wide)
    distances = np.sqrt(np.maximum(squares[:, None] + squares - 2 * wide @ wide.T, 0))
    np.fill_diagonal(distances, np.inf)
    ordered = np.sort(distances, axis=1)
    return np.asarray(ordered[:, 0] < _NEAR_COPY * ordered[:, max(1, (len(taken) - 1) // 4)])
