"""The views that users query, and every query of their documentation."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import psycopg
import pytest

from patchbank.store.bank_content import BankContent
from patchbank.store.database import Database
from tests.fixtures.banks import make_bank, make_image
from tests.fixtures.defects import make_defect

DOCUMENT = Path(__file__).parents[3] / "docs" / "sql.md"
QUERIES = re.findall(r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
STORED = "leather/train/good/012.png"


def leather() -> BankContent:
    """Return a bank with the names that the documentation has."""
    bank = make_bank(
        patches=600,
        dimensions=152,
        image_count=30,
        images=[make_image(f"leather/train/good/{number:03}.png") for number in range(30)],
        extractor={"grid": [28, 28]},
    )
    bank.patch_image[0], bank.patch_row[0], bank.patch_column[0] = 12, 14, 3
    return bank


@pytest.fixture
def filled(database: Database, database_url: str) -> psycopg.Connection:
    """A prompt on a database with `leather`, its defects, and a category of other lengths."""
    database.banks.save("leather", leather())
    database.defects.add(
        "leather",
        "fingerprint",
        [make_defect("synthetic/0001", synthetic=True), make_defect("crack.png", label="crack")],
    )
    database.banks.save("tile", make_bank(dimensions=9, embedding_dimensions=7))
    connection = psycopg.connect(database_url, autocommit=True)
    connection.execute("set search_path to patchbank, public")
    return connection


def test_every_documented_query_runs_and_finds_something(filled: psycopg.Connection) -> None:
    assert len(QUERIES) >= 8
    with filled:
        for query in QUERIES:
            assert filled.execute(query.encode()).fetchall(), query


def test_the_ten_most_similar_are_those_of_numpy(filled: psycopg.Connection) -> None:
    bank = leather()
    with filled:
        by_image = filled.execute(QUERIES[0].encode()).fetchall()
        by_distance = filled.execute(QUERIES[1].encode()).fetchall()
        by_patch = filled.execute(QUERIES[2].encode()).fetchall()
    names = [image.name for image in bank.images]
    embeddings = bank.embeddings.astype(np.float64)
    lengths = np.linalg.norm(embeddings, axis=1)
    similarity = embeddings @ embeddings[12] / lengths / lengths[12]
    order = np.argsort(-similarity)[:10]
    assert [name for name, _ in by_image] == [names[position] for position in order]
    np.testing.assert_allclose([s for _, s in by_image], similarity[order], atol=1e-6)
    assert by_image[0] == (STORED, 1.0)
    distance = np.linalg.norm(embeddings - embeddings[12], axis=1)
    assert [name for name, _ in by_distance] == [names[i] for i in np.argsort(distance)[:10]]
    features = bank.features.astype(np.float64)
    lengths = np.linalg.norm(features, axis=1)
    order = np.argsort(-(features @ features[0]) / lengths)[:10]
    expected = [
        f"{names[bank.patch_image[i]]}#r{bank.patch_row[i]:02}c{bank.patch_column[i]:02}"
        for i in order
    ]
    assert [name for name, _ in by_patch] == expected
    assert by_patch[0] == (f"{STORED}#r14c03", 1.0)


def test_a_comparison_meets_the_category_asked_for_alone(filled: psycopg.Connection) -> None:
    """In a condition, too: the vectors of `tile` are of other lengths."""
    with filled:
        for view, column in (("images", "embedding"), ("patches", "feature")):
            rows = filled.execute(
                f"select count(*) from {view} where {column} <-> (select {column} from {view} "
                f"where category = 'leather' limit 1) < 1e9 and category = 'leather'".encode()
            ).fetchone()
            assert rows is not None
            assert rows[0] in (30, 600)


def test_only_active_banks_are_shown(filled: psycopg.Connection, database: Database) -> None:
    database.banks.save("leather", make_bank(image_count=4, seed=2, extractor_fingerprint="other"))
    with filled:
        counts = [
            filled.execute(
                f"select count(*), min(version) from {view} where category = 'leather'".encode()
            ).fetchone()
            for view in ("banks", "images", "patches", "defects")
        ]
    # The defects were seen by another extractor.
    assert counts == [(1, 2), (4, 2), (60, 2), (0, None)]


def test_defects_are_centred_as_the_images_are(filled: psycopg.Connection) -> None:
    defect = make_defect("crack.png")
    with filled:
        row = filled.execute(
            "select embedding::real[], label, defect_label, synthetic from defects "
            "where name = 'crack.png'"
        ).fetchone()
    assert row is not None
    np.testing.assert_allclose(row[0], defect.embedding - leather().embedding_mean, rtol=1e-6)
    assert row[1:] == ("anomalous", "crack", False)


def test_a_patch_is_named_by_its_place(filled: psycopg.Connection) -> None:
    with filled:
        row = filled.execute(
            "select patch_name('a', 0, 0, 7), patch_name('a', 14, 3, 7), "
            "patch_name('a', 9, 123, 7), patch_name(null, null, null, 7)"
        ).fetchone()
    assert row == ("a#r00c00", "a#r14c03", "a#r09c123", "#7")
