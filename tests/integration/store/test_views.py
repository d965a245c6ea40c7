"""The views that users query, and every query of their documentation."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
from pathlib import Path

import numpy as np
import psycopg
import pytest

from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.store.database import Database
from patchbank.store.embedded.programs import find_programs
from patchbank.store.hnsw_index import HnswIndex
from patchbank.store.inspections import InspectionRecord
from tests.fixtures.banks import make_bank, make_image
from tests.fixtures.defects import make_defect, make_regions

DOCUMENT = Path(__file__).parents[3] / "docs" / "sql.md"
QUERIES: list[str] = re.findall(
    r"```sql\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL
)
STORED = "leather/train/good/000.png"


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
        [
            make_defect("synthetic/0001", synthetic=True, regions=make_regions(2)),
            make_defect("crack.png", label="crack", regions=make_regions(3, seed=1)),
        ],
    )
    key = database.banks.active_key("leather")
    regions = [{"box_xyxy": [1, 2, 3, 4], "area_pixels": 4, "area_percent": 0.1, "peak_score": 3.0}]
    database.inspections.record_many(
        [
            InspectionRecord(key.category_id, 1, "new/1.png", "0" * 64, "fail", 3.0, 2.0, 2.0, 0.1,
                             regions=regions),
            InspectionRecord(key.category_id, 1, "new/2.png", "1" * 64, "pass", 1.0, 2.0, 2.0, 0.5),
        ]
    )  # fmt: skip
    database.banks.save("tile", make_bank(dimensions=9, embedding_dimensions=7))
    connection = psycopg.connect(database_url, autocommit=True)
    connection.execute("set search_path to patchbank, public")
    return connection


def query(number: int, category: str = "leather") -> bytes:
    """Return a query of the documentation, as another program than psql has it."""
    return QUERIES[number].replace(":'category'", f"'{category}'").encode()


def by_psql(url: str, text: str, category: str) -> list[list[str]]:
    """Return the rows that psql prints for a query of the documentation."""
    psql = find_programs(None, Path()) / "psql"
    done = subprocess.run(
        [psql, url, "--no-psqlrc", "--quiet", "--csv", "--tuples-only", "--set=ON_ERROR_STOP=1",
         f"--set=category={category}"],
        input=f"set search_path to patchbank, public;\n{text}",
        env={**os.environ, "LC_ALL": "C"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, ""), f"{text}\n{done.stderr}"
    return list(csv.reader(io.StringIO(done.stdout)))


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_every_documented_query_runs_on_any_bank(
    filled: psycopg.Connection, database: Database, database_url: str, number: int
) -> None:
    filled.close()
    nowhere = np.full(60, -1)
    unknown = make_bank(
        images=[],
        embeddings=np.empty((0, 5), np.float32),
        patch_image=nowhere,
        patch_row=nowhere.astype(np.int16),
        patch_column=nowhere.astype(np.int16),
        scores=CalibrationScores.none(),
    )
    database.banks.save("it's imported", unknown)
    rows = by_psql(database_url, QUERIES[number], "leather")
    assert rows
    # Nothing is unknown that is sorted or counted as an answer.
    assert "" not in [cell for row in rows for cell in row]
    assert "NaN" not in [cell for row in rows for cell in row]
    for category in ("tile", "it's imported", "none"):
        if category == "none" and "gset" in QUERIES[number]:
            continue
        rows = by_psql(database_url, QUERIES[number], category)
        assert "" not in [cell for row in rows for cell in row]


def test_the_query_for_an_index_uses_it(
    filled: psycopg.Connection, database: Database, database_url: str
) -> None:
    filled.close()
    key = database.banks.active_key("leather")
    database.indexes.build(HnswIndex("patches", *key[:2], "vector", 152, "cosine"), 600)
    (text,) = (text for text in QUERIES if "gset" in text)
    text = "set enable_seqscan = off; set enable_sort = off;\n" + text.replace(
        "with query", "explain with query"
    )
    plan = "\n".join(row[0] for row in by_psql(database_url, text, "leather"))
    assert "using hnsw_patches_1_1_vector152_cosine" in plan


def test_a_reference_becomes_a_defect_by_sql(
    filled: psycopg.Connection, database: Database, database_url: str
) -> None:
    filled.close()
    (text,) = (text for text in QUERIES if text.startswith("begin;"))
    assert by_psql(database_url, text, "leather")
    count = len(database.defects.of_category("leather"))
    ((name, label),) = by_psql(database_url, text.replace("rollback;", "commit;"), "leather")
    listed = database.defects.of_category("leather")
    assert len(listed) == count + 1
    (added,) = (one for one in listed if one.name == name)
    assert (added.label, added.synthetic, label) == ("scratch", False, "scratch")
    with psycopg.connect(database_url) as connection:
        row = connection.execute(
            "select defects.embedding <-> images.embedding from patchbank.defects "
            "join patchbank.images using (category_id, name)"
        ).fetchone()
    assert row is not None
    assert row[0] < 1e-5


def test_the_views_have_the_columns_that_are_documented(filled: psycopg.Connection) -> None:
    """They stay the same from version to version: add to them, at the end, and change none."""
    text = DOCUMENT.read_text(encoding="utf-8")
    tables = re.findall(r"^`(\w+)`, one row for each .*?\n\n((?:\|.*\n)+)", text, re.MULTILINE)
    assert [view for view, _ in tables] == [
        "banks", "images", "patches", "defects", "defect_regions", "calibration_scores",
        "inspections", "reviews",
    ]  # fmt: skip
    with filled:
        for view, table in tables:
            documented = {
                name
                for line in table.splitlines()
                for name in re.findall(r"`(\w+)`", line.split("|")[1])
            }
            cursor = filled.execute(f"select * from {view} limit 0".encode())
            assert {column.name for column in cursor.description or ()} == documented, view


def test_the_ten_most_similar_are_those_of_numpy(filled: psycopg.Connection) -> None:
    bank = leather()
    with filled:
        by_image = filled.execute(query(0)).fetchall()
        by_distance = filled.execute(query(1)).fetchall()
        by_patch = filled.execute(query(2)).fetchall()
    names = [image.name for image in bank.images]
    embeddings = bank.embeddings.astype(np.float64)
    lengths = np.linalg.norm(embeddings, axis=1)
    similarity = embeddings @ embeddings[0] / lengths / lengths[0]
    order = np.argsort(-similarity)[:10]
    assert [name for name, _ in by_image] == [names[position] for position in order]
    np.testing.assert_allclose([s for _, s in by_image], similarity[order], atol=1e-6)
    assert by_image[0] == (STORED, 1.0)
    distance = np.linalg.norm(embeddings - embeddings[0], axis=1)
    assert [name for name, _ in by_distance] == [names[i] for i in np.argsort(distance)[:10]]
    features = bank.features.astype(np.float64)
    lengths = np.linalg.norm(features, axis=1)
    order = np.argsort(-(features @ features[0]) / lengths)[:10]
    expected = [
        f"{names[bank.patch_image[i]]}#r{bank.patch_row[i]:02}c{bank.patch_column[i]:02}"
        for i in order
    ]
    assert [name for name, _ in by_patch] == expected
    assert by_patch[0] == ("leather/train/good/012.png#r14c03", 1.0)


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


def test_the_regions_of_defects_are_those_recorded(filled: psycopg.Connection) -> None:
    region = make_regions(3, seed=1)[1]
    with filled:
        row = filled.execute(
            "select embedding::real[], x0, y0, x1, y1, area_pixels, peak_score, defect_label "
            "from defect_regions where name = 'crack.png' and number = 2"
        ).fetchone()
        counts = filled.execute(
            "select name, count(*) from defect_regions group by name order by name"
        ).fetchall()
    assert row is not None
    np.testing.assert_array_equal(np.array(row[0], np.float32), region.embedding)
    assert row[1:] == (*region.box_xyxy, region.area_pixels, region.peak_score, "crack")
    assert counts == [("crack.png", 3), ("synthetic/0001", 2)]


def test_a_patch_is_named_by_its_place(filled: psycopg.Connection) -> None:
    with filled:
        row = filled.execute(
            "select patch_name('a', 0, 0, 7), patch_name('a', 14, 3, 7), "
            "patch_name('a', 9, 123, 7), patch_name(null, null, null, 7)"
        ).fetchone()
    assert row == ("a#r00c00", "a#r14c03", "a#r09c123", "#7")
