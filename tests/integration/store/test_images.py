from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest

from patchbank.errors import (
    BankGoneError,
    ImageError,
    NotFoundError,
    ParameterError,
    UnknownCategoryError,
)
from patchbank.store.database import Database
from patchbank.store.versions import Retention
from tests.fixtures.banks import make_bank, make_image


def _expected(
    names: Sequence[str], embeddings: npt.NDArray[np.float32], query: npt.NDArray[np.float32]
) -> list[tuple[str, float]]:
    """Return names and cosine similarities by brute force in float64, ties by name."""
    e, q = embeddings.astype(np.float64), query.astype(np.float64)
    length = np.linalg.norm(e, axis=1) * np.linalg.norm(q)
    similarity = np.divide(e @ q, length, out=np.zeros(len(e)), where=length > 0)
    return sorted(zip(names, similarity, strict=True), key=lambda pair: (-pair[1], pair[0]))


@pytest.mark.parametrize("dimensions", [2, 152, 1536])
def test_the_most_similar_images_are_those_of_brute_force(
    database: Database, dimensions: int
) -> None:
    bank = make_bank(image_count=150, embedding_dimensions=dimensions)
    database.banks.save("tile", bank)
    # Another category and another version must not come in between.
    database.banks.save("other", make_bank(image_count=150, embedding_dimensions=dimensions))
    random = np.random.default_rng(5)
    for _ in range(5):
        query = random.normal(size=dimensions).astype(np.float32)
        found = database.images.similar(database.banks.active_key("tile"), query, top=10)
        expected = _expected([i.name for i in bank.images], bank.embeddings, query)[:10]
        assert [image.name for image in found] == [name for name, _ in expected]
        np.testing.assert_allclose(
            [image.similarity for image in found], [s for _, s in expected], atol=1e-6
        )
        assert found[0].origin == f"/images/{found[0].name}"
        assert database.images.get("tile", found[0].name).image_id == found[0].image_id


def test_an_image_is_most_similar_to_itself(database: Database) -> None:
    bank = make_bank()
    database.banks.save("tile", bank)
    for image, embedding in zip(bank.images, bank.embeddings, strict=True):
        best = database.images.similar(database.banks.active_key("tile"), embedding, top=1)[0]
        assert best.name == image.name
        assert best.similarity == pytest.approx(1.0, abs=1e-6)


def test_ties_are_in_the_order_of_names(database: Database) -> None:
    names = ["b", "B", "ä", "a10", "a2", "Z"]
    embeddings = np.ones((6, 3), np.float32)
    bank = make_bank(
        image_count=6,
        embedding_dimensions=3,
        images=[make_image(name) for name in names],
        embeddings=embeddings,
    )
    database.banks.save("tile", bank)
    found = database.images.similar(database.banks.active_key("tile"), embeddings[0], top=4)
    assert [image.name for image in found] == sorted(names)[:4]


def test_zeros_are_similar_to_nothing(database: Database) -> None:
    embeddings = np.array([[0, 0], [1, 0], [-1, 0]], np.float32)
    bank = make_bank(
        image_count=3,
        embedding_dimensions=2,
        images=[make_image(name) for name in ("zero", "same", "opposite")],
        embeddings=embeddings,
    )
    database.banks.save("tile", bank)
    found = database.images.similar(database.banks.active_key("tile"), embeddings[1])
    assert [(i.name, i.similarity) for i in found] == [("same", 1), ("zero", 0), ("opposite", -1)]
    found = database.images.similar(database.banks.active_key("tile"), embeddings[0])
    assert [(i.name, i.similarity) for i in found] == [("opposite", 0), ("same", 0), ("zero", 0)]


def test_an_older_version_can_be_asked(database: Database) -> None:
    old, new = make_bank(seed=1), make_bank(seed=2, embedding_dimensions=7)
    database.banks.save("tile", old)
    database.banks.save("tile", new)
    first = database.banks.version("tile", 1).key
    found = database.images.similar(first, old.embeddings[4], top=1)
    assert found[0].name == old.images[4].name
    found = database.images.similar(database.banks.active_key("tile"), new.embeddings[4], top=1)
    assert found[0].name == new.images[4].name


def test_a_bank_learned_anew_does_not_answer_for_the_one_at_hand(database: Database) -> None:
    old = make_bank(seed=1)
    database.banks.save("tile", old)
    key = database.banks.active_key("tile")
    database.categories.remove("tile")
    with pytest.raises(BankGoneError, match="try again"):
        database.images.similar(key, old.embeddings[4])
    # Of the same name and version, and its embeddings have as many dimensions.
    assert database.banks.save("tile", make_bank(seed=2)) == key.version
    with pytest.raises(BankGoneError, match="try again"):
        database.images.similar(key, old.embeddings[4])


def test_a_bank_whose_references_are_gone_says_so(database: Database) -> None:
    database.retention = Retention(versions=2, days=0)
    old = make_bank(seed=1)
    database.banks.save("tile", old)
    key = database.banks.active_key("tile")
    database.banks.save("tile", make_bank(seed=2))
    assert database.images.similar(key, old.embeddings[4])
    database.banks.save("tile", make_bank(seed=3))
    with pytest.raises(BankGoneError, match="try again"):
        database.images.similar(key, old.embeddings[4])


@pytest.mark.parametrize("top", [0, -1])
def test_fewer_than_one_is_no_number_to_ask_for(database: Database, top: int) -> None:
    bank = make_bank()
    database.banks.save("tile", bank)
    with pytest.raises(ParameterError, match=f"top is {top}"):
        database.images.similar(database.banks.active_key("tile"), bank.embeddings[0], top=top)


def test_what_is_not_there_is_said(database: Database) -> None:
    with pytest.raises(UnknownCategoryError):
        database.images.get("tile", "x.png")
    database.banks.save("tile", make_bank())
    with pytest.raises(ImageError, match=r"no image 'x\.png'"):
        database.images.get("tile", "x.png")
    with pytest.raises(NotFoundError, match="no image number 1000"):
        database.images.thumbnail("tile", 1000)
    with pytest.raises(NotFoundError, match=r"no image 'x\.png'"):
        database.images.thumbnail_of_name("tile", "x.png")


def test_an_image_is_kept_with_what_was_said_of_it(database: Database) -> None:
    image = make_image("Zelle Ä/1.png", label="good", origin=None)
    database.banks.save("tile", make_bank(image_count=1, images=[image]))
    stored = database.images.get("tile", image.name)
    assert (stored.sha256, stored.width, stored.height) == (image.sha256, 300, 200)
    assert (stored.label, stored.defect_label, stored.origin) == ("good", None, None)
    assert database.images.thumbnail("tile", stored.image_id) == image.thumbnail
    assert database.images.thumbnail_of_name("tile", image.name) == image.thumbnail
