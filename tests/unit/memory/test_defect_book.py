"""Embeddings of regions, and the rule that names what a region probably is."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.memory.defect_book import DefectBook, Probable
from patchbank.memory.region_embedding import patches_in_box, region_embedding


def test_an_embedding_is_the_weighted_mean_difference() -> None:
    random = np.random.default_rng(0)
    features, nearest = random.normal(size=(2, 7, 5)).astype(np.float32)
    distances = np.linalg.norm(features - nearest, axis=1).astype(np.float32)
    weights = distances.astype(np.float64) ** 4
    expected = np.average(features.astype(np.float64) - nearest, axis=0, weights=weights)
    np.testing.assert_allclose(region_embedding(features, nearest, distances), expected, rtol=1e-5)
    # Distances whose fourth power is no float32, and no difference at all.
    large = np.float32(1e12)
    scaled = region_embedding(features * large, nearest * large, distances * large)
    np.testing.assert_allclose(scaled, expected * 1e12, rtol=1e-5)
    assert not region_embedding(features, features, np.zeros(7, np.float32)).any()


def test_patches_in_a_box_are_those_with_their_centre_there() -> None:
    down, across = np.linspace(5, 35, 4), np.linspace(5, 25, 3)
    inside = np.argwhere(patches_in_box((0, 5, 16, 25), down, across))
    assert inside.tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    # Between the centres, or in one line only: the nearest one.
    assert np.argwhere(patches_in_box((11, 17, 13, 19), down, across)).tolist() == [[1, 1]]
    assert np.argwhere(patches_in_box((26, 0, 30, 40), down, across))[:, 1].tolist() == [2] * 4


def _book(
    counts: dict[str | None, int], *, spread: float = 0.3
) -> tuple[DefectBook, npt.NDArray[np.float32]]:
    """Return a book of defects around an axis for each label, two regions each, and the axes."""
    random = np.random.default_rng(1)
    axes = np.eye(len(counts), 30, dtype=np.float32)
    embeddings, labels = [], []
    for axis, (label, count) in zip(axes, counts.items(), strict=True):
        for _ in range(count):
            first = axis + random.normal(scale=spread / 30**0.5, size=30)
            # Of another region, which is like nothing.
            embeddings += [first, random.normal(size=30)]
            labels.append(label)
    owners = np.repeat(np.arange(len(labels)), 2)
    return DefectBook(np.array(embeddings, np.float32), owners, labels), axes


def test_a_defect_is_as_similar_as_its_most_similar_region() -> None:
    random = np.random.default_rng(2)
    embeddings = random.normal(size=(6, 4)).astype(np.float32)
    book = DefectBook(embeddings, np.array([0, 0, 1, 2, 2, 2]), ["a", None, "b"])
    query = random.normal(size=4).astype(np.float32)
    cosines = embeddings @ query / np.linalg.norm(embeddings, axis=1) / np.linalg.norm(query)
    expected = [cosines[:2].max(), cosines[2], cosines[3:].max()]
    np.testing.assert_allclose(book.similarities(query), expected, rtol=1e-5)
    nothing = DefectBook(np.zeros((0, 0), np.float32), np.zeros(0, np.int64), [])
    assert len(nothing.similarities(query)) == 0


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"crack": 8, "dent": 8}, Probable("crack", 8, 8)),
        ({"crack": 4, "dent": 20}, Probable("crack", 4, 4)),
        # Too few of them, and none with a label.
        ({"crack": 3, "dent": 20}, None),
        ({None: 20}, None),
    ],
)
def test_what_a_region_probably_is(
    counts: dict[str | None, int], expected: Probable | None
) -> None:
    book, axes = _book(counts)
    similarities = book.similarities(axes[0])
    none = np.zeros(len(book), np.bool_)
    assert book.probable(similarities, without=none) == expected
    # Without the defects of that label there is nothing to say of such a region.
    of_first = np.arange(len(book)) < next(iter(counts.values()))
    assert book.probable(similarities, without=of_first) is None


def test_a_kind_that_is_not_in_the_book_gets_no_name() -> None:
    book, axes = _book({"crack": 10, "dent": 10})
    unknown = axes[0] + 2 * np.eye(30, dtype=np.float32)[7]
    similarities = book.similarities(unknown)
    # All the nearest are cracks, but it is less like them than they are like each other.
    assert set(np.argsort(-similarities)[:8]) < set(range(10))
    assert book.probable(similarities, without=np.zeros(20, np.bool_)) is None


def test_one_of_eight_may_disagree() -> None:
    book, _ = _book({"crack": 7, "dent": 9})
    mixed = DefectBook(
        book._embeddings, book._owners, ["crack"] * 7 + ["dent"] + ["crack"] + ["dent"] * 7
    )
    none = np.zeros(16, np.bool_)
    similarities = np.linspace(1, 0, 16)
    assert mixed.probable(similarities, without=none) == Probable("crack", 7, 8)
    assert str(Probable("crack", 7, 8)) == "probably crack (7 of 8 nearest)"
    # Two are too many.
    swapped = similarities[[0, 1, 2, 3, 4, 5, 8, 7, 9, 6, *range(10, 16)]]
    assert mixed.probable(swapped, without=none) is None
