from __future__ import annotations

import numpy as np
import pytest

from patchbank.errors import NotFittedError, ParameterError, UnknownCategoryError
from patchbank.store.database import Database
from tests.fixtures.banks import make_bank
from tests.fixtures.defects import make_defect, make_regions


def test_a_defect_is_kept_with_what_was_said_of_it(database: Database) -> None:
    database.banks.save("tile", make_bank())
    database.defects.add("tile", "fingerprint", [make_defect("b.png", label="crack")])
    database.defects.add("tile", "other", [make_defect("a.png", synthetic=True, origin=None)])
    first, second = database.defects.of_category("tile")
    assert (first.name, first.label, first.synthetic, first.origin) == ("a.png", None, True, None)
    assert (second.name, second.label, second.synthetic) == ("b.png", "crack", False)
    assert (second.width, second.height, second.origin) == (300, 200, "/images/b.png")
    assert (first.comparable, second.comparable) == (False, True)
    assert database.defects.thumbnail("tile", "b.png") == b"\x89PNGb.png"
    # The same name is the same defect, seen again.
    database.defects.add("tile", "fingerprint", [make_defect("b.png", label="hole")])
    assert [defect.label for defect in database.defects.of_category("tile")] == [None, "hole"]


def test_similar_defects_are_those_of_brute_force(database: Database) -> None:
    bank = make_bank()
    database.banks.save("tile", bank)
    defects = [make_defect(f"{seed}.png", seed=seed) for seed in range(20)]
    database.defects.add("tile", "fingerprint", defects)
    # Of another extractor, and of another length: it must not even be looked at.
    database.defects.add("tile", "other", [make_defect("other.png", dimensions=9)])
    key = database.banks.active_key("tile")
    query = np.random.default_rng(3).normal(size=5).astype(np.float32)
    vectors = (
        np.stack([defect.embedding for defect in defects]).astype(np.float64) - bank.embedding_mean
    )
    cosine = vectors @ query / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)
    distance = np.linalg.norm(vectors - query, axis=1)
    found = database.defects.similar(key, query, top=4)
    assert [defect.name for defect in found] == [f"{i}.png" for i in np.argsort(-cosine)[:4]]
    np.testing.assert_allclose(
        [defect.similarity for defect in found], np.sort(-cosine)[:4] * -1, 1e-5
    )
    found = database.defects.similar(key, query, top=4, metric="l2")
    assert [defect.name for defect in found] == [f"{i}.png" for i in np.argsort(distance)[:4]]
    np.testing.assert_allclose([defect.distance for defect in found], np.sort(distance)[:4], 1e-5)
    assert database.defects.counts(key) == (21, 20)
    embedding = database.defects.embedding(key, "7.png")
    assert embedding is not None
    np.testing.assert_allclose(embedding, vectors[7], rtol=1e-5)
    assert database.defects.embedding(key, "no.png") is None
    with pytest.raises(ParameterError, match=r"'other\.png' was recorded with an extractor other"):
        database.defects.embedding(key, "other.png")


def test_removing_removes_what_was_named_or_nothing(database: Database) -> None:
    database.banks.save("tile", make_bank())
    names = ["a", "b", "c", "d"]
    database.defects.add(
        "tile", "fingerprint", [make_defect(name, synthetic=name > "b") for name in names]
    )
    with pytest.raises(ParameterError, match="no defect 'x'"):
        database.defects.remove("tile", ["a", "x"])
    assert [defect.name for defect in database.defects.of_category("tile")] == names
    assert database.defects.remove("tile", ["a"], synthetic=True) == ["a", "c", "d"]
    assert [defect.name for defect in database.defects.of_category("tile")] == ["b"]
    with database.connection() as connection:
        events = connection.execute(
            "select kind, detail from event where kind like '%defects' order by event_id"
        ).fetchall()
    assert events == [
        ("add defects", {"names": names, "synthetic": 2}),
        ("remove defects", {"names": ["a", "c", "d"]}),
    ]


def test_defects_go_with_their_category(database: Database) -> None:
    database.banks.save("tile", make_bank())
    database.defects.add("tile", "fingerprint", [make_defect("a")])
    assert database.categories.remove("tile").defects == 1


def test_defects_need_a_bank(database: Database) -> None:
    with pytest.raises(UnknownCategoryError):
        database.defects.add("tile", "fingerprint", [make_defect("a")])
    with pytest.raises(UnknownCategoryError):
        database.defects.of_category("tile")
    with database.connection() as connection:
        connection.execute("insert into category (name) values ('tile')")
    with pytest.raises(NotFittedError):
        database.defects.add("tile", "fingerprint", [make_defect("a")])


def test_the_book_is_what_a_bank_can_compare_and_counts_its_changes(database: Database) -> None:
    database.banks.save("tile", make_bank())
    key, begin = database.banks.active_state("tile")
    assert database.defects.book(key).names == []
    regions = make_regions(3)
    database.defects.add(
        "tile",
        "fingerprint",
        [
            make_defect("b.png", label="crack", regions=regions[:2]),
            make_defect("a.png", synthetic=True, regions=regions[2:]),
            make_defect("without.png"),
        ],
    )
    database.defects.add("tile", "other", [make_defect("c.png", regions=make_regions(1))])
    book = database.defects.book(key)
    assert (book.names, book.labels, book.synthetic) == (
        ["a.png", "b.png"], [None, "crack"], [True, False],
    )  # fmt: skip
    assert book.owners.tolist() == [0, 1, 1]
    expected = [regions[2].embedding, regions[0].embedding, regions[1].embedding]
    np.testing.assert_array_equal(book.embeddings, expected)
    assert book.changes == database.banks.active_state("tile")[1] == begin + 2
    # The same name again, with other regions; and none.
    database.defects.add("tile", "fingerprint", [make_defect("b.png", regions=regions[2:])])
    assert database.defects.book(key).owners.tolist() == [0, 1]
    database.defects.remove("tile", ["a.png", "b.png"])
    assert database.defects.book(key).names == []
    assert database.banks.active_state("tile")[1] == begin + 4
