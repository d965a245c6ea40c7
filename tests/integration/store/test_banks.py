from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from patchbank.errors import (
    DatabaseError,
    DiskFullError,
    NotFittedError,
    ParameterError,
    UnknownCategoryError,
)
from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.store.database import Database, open_database
from patchbank.store.sessions import BankNotice
from patchbank.store.stored_bank import StoredBank
from patchbank.store.versions import Retention
from tests.fixtures.banks import make_bank, make_image

# Says when it is in the middle of a COPY of a bank, and stays there.
STUCK = """
import sys, time
from pathlib import Path
from psycopg import Copy
from patchbank.store.database import open_database
from tests.fixtures.banks import make_bank
real, blocks = Copy.write, 0
def write(self, block):
    global blocks
    real(self, block)
    blocks += 1
    if blocks == 7:
        print("copying", flush=True)
        time.sleep(60)
Copy.write = write
with open_database(sys.argv[1], Path(sys.argv[2])) as database:
    database.banks.save("tile", make_bank(patches=40_000, dimensions=152, seed=1))
"""


def assert_same(stored: StoredBank, bank: BankContent) -> None:
    """Check that a bank came back bit for bit."""
    found = stored.content
    for name in (
        "features", "patch_image", "patch_row", "patch_column", "embeddings", "embedding_mean",
    ):  # fmt: skip
        expected = getattr(bank, name)
        np.testing.assert_array_equal(getattr(found, name), expected)
        assert getattr(found, name).dtype == expected.dtype
    for name in ("extractor_fingerprint", "extractor", "settings", "coreset_ratio"):
        assert getattr(found, name) == getattr(bank, name)
    assert found.covering_radius == bank.covering_radius
    assert found.images == [replace(image, thumbnail=b"") for image in bank.images]
    for field in fields(CalibrationScores):
        np.testing.assert_array_equal(
            getattr(found.scores, field.name), getattr(bank.scores, field.name)
        )


# 2,500 dimensions do not fit into a page and are stored outside the row.
@pytest.mark.parametrize("dimensions", [1, 152, 1536, 2500])
def test_a_bank_comes_back_as_it_was(database: Database, dimensions: int) -> None:
    bank = make_bank(dimensions=dimensions, image_count=3, embedding_dimensions=dimensions)
    assert database.banks.save("tile", bank) == 1
    stored = database.banks.active("tile")
    assert (stored.category, stored.version, stored.state) == ("tile", 1, "active")
    assert_same(stored, bank)


def test_extreme_values_come_back_as_they_were(database: Database) -> None:
    values = np.array([[9.9e14, -9.9e14, 1e-45, -0.0, 0.0, 1 / 3]], np.float32)
    bank = make_bank(
        patches=1,
        dimensions=6,
        features=values,
    )
    database.banks.save("tile", bank)
    stored = database.banks.active("tile")
    assert stored.content.features.tobytes() == values.tobytes()


def test_a_new_bank_replaces_the_old_one(database: Database) -> None:
    banks = [make_bank(seed=seed, patches=50 + seed) for seed in range(4)]
    database.retention = Retention(versions=2, days=0)
    for number, bank in enumerate(banks, start=1):
        assert database.banks.save("tile", bank) == number
        assert database.banks.active_version("tile") == number
        assert_same(database.banks.active("tile"), bank)
    history = database.banks.history("tile")
    assert [(b.version, b.state, b.patch_count) for b in history] == [
        (4, "active", 53), (3, "retired", 52), (2, "pruned", 51), (1, "pruned", 50),
    ]  # fmt: skip
    assert history[0].retired_at is None
    assert [bank.cause for bank in history] == ["fit"] * 4
    assert history[1].retired_at is not None
    with database.connection() as connection:
        kept = connection.execute("select generation, count(*) from patch group by 1 order by 1")
        assert kept.fetchall() == [(3, 52), (4, 53)]
        kept = connection.execute("select distinct generation from reference order by 1")
        assert kept.fetchall() == [(3,), (4,)]
        events = connection.execute("select kind, detail->>'version' from event order by event_id")
        assert events.fetchall() == [("fit", str(number)) for number in range(1, 5)]


def test_a_graph_comes_and_goes_with_its_bank(database: Database) -> None:
    database.retention = Retention(versions=2, days=0)
    graphs = [b"one", None, bytes(range(256)) * 5000, b"", None]
    for version, graph in enumerate(graphs, start=1):
        database.banks.save("tile", make_bank(quantised_graph=graph))
        assert database.banks.active("tile").content.quantised_graph == graph
        with database.connection() as connection:
            kept = connection.execute(
                "select generation from quantised_graph order by 1"
            ).fetchall()
        # Of the active version and of the one before, where they have one.
        last = range(max(1, version - 1), version + 1)
        assert [version for (version,) in kept] == [
            version for version in last if graphs[version - 1] is not None
        ]
    database.banks.save("leather", make_bank(quantised_graph=b"other"))
    database.categories.remove("tile")
    assert database.banks.active("leather").content.quantised_graph == b"other"


def test_categories_do_not_see_one_another(database: Database) -> None:
    first, second = make_bank(seed=1), make_bank(seed=2, dimensions=9)
    database.banks.save("tile", first)
    database.banks.save("leather", second)
    assert_same(database.banks.active("tile"), first)
    assert_same(database.banks.active("leather"), second)


def test_without_a_bank(database: Database) -> None:
    with pytest.raises(UnknownCategoryError, match="'tile'"):
        database.banks.active("tile")
    with database.connection() as connection:
        connection.execute("insert into category (name) values ('tile')")
    for read in (database.banks.active, database.banks.active_version):
        with pytest.raises(NotFittedError, match="patchbank fit"):
            read("tile")
    assert database.banks.history("tile") == []


def test_a_name_that_cannot_be_is_refused(database: Database) -> None:
    with pytest.raises(ParameterError):
        database.banks.save("a/b", make_bank())
    assert database.categories.list() == []


def test_saves_of_one_category_wait_for_one_another(database: Database) -> None:
    banks = {seed: make_bank(seed=seed, patches=2000) for seed in range(6)}
    start = threading.Barrier(6)

    def save(seed: int) -> tuple[int, int]:
        start.wait()
        return database.banks.save("tile", banks[seed]), seed

    with ThreadPoolExecutor(6) as threads:
        versions = dict(threads.map(save, banks))
    assert sorted(versions) == [1, 2, 3, 4, 5, 6]
    assert_same(database.banks.active("tile"), banks[versions[6]])


def test_a_reader_sees_one_bank_whole_while_others_save(database: Database) -> None:
    banks = {seed: make_bank(seed=seed, patches=500 + seed) for seed in range(8)}
    database.banks.save("tile", banks[0])
    done = threading.Event()

    def save() -> None:
        for seed in range(1, 8):
            database.banks.save("tile", banks[seed])
        done.set()

    with ThreadPoolExecutor(1) as threads:
        saving = threads.submit(save)
        seen = set()
        while not done.is_set() and not saving.done():
            stored = database.banks.active("tile")
            assert_same(stored, banks[stored.version - 1])
            seen.add(stored.version)
        saving.result()
    assert seen


def test_a_process_killed_while_copying_leaves_the_old_bank(
    database: Database, database_url: str, tmp_path: Path
) -> None:
    old = make_bank(seed=3)
    database.banks.save("tile", old)
    process = subprocess.Popen(
        [sys.executable, "-c", STUCK, database_url, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "copying\n"
    # The old bank answers while the new one is under way...
    assert_same(database.banks.active("tile"), old)
    process.kill()
    process.communicate()
    # ...and after its death.
    assert_same(database.banks.active("tile"), old)
    assert len(database.banks.history("tile")) == 1
    with database.connection() as connection:
        assert connection.execute("select count(*) from patch").fetchone() == (60,)
    new = make_bank(seed=4)
    assert database.banks.save("tile", new) == 2
    assert_same(database.banks.active("tile"), new)


def test_an_interrupt_while_copying_leaves_the_old_bank(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = make_bank(seed=3)
    database.banks.save("tile", old)
    written = psycopg.Copy.write

    def interrupted(copy: psycopg.Copy, block: bytes) -> None:
        written(copy, block)
        if len(block) > 10_000:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(psycopg.Copy, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            database.banks.save("tile", make_bank(seed=4, patches=5000))
    assert_same(database.banks.active("tile"), old)
    assert database.banks.save("tile", make_bank(seed=5)) == 2


def test_a_full_disk_is_said_and_changes_nothing(database: Database) -> None:
    old = make_bank(seed=3)
    database.banks.save("tile", old)
    with database.connection() as connection:
        # The server itself raises what it raises when a file cannot grow.
        connection.execute("""
            create function full_disk() returns trigger language plpgsql as $$
            begin raise exception 'could not extend file: No space left on device'
            using errcode = 'disk_full'; end $$;
            create trigger full_disk before insert on patch execute function full_disk();
        """)
    with pytest.raises(DiskFullError, match="nothing was saved"):
        database.banks.save("tile", make_bank(seed=4))
    assert_same(database.banks.active("tile"), old)


@pytest.mark.parametrize(
    ("removed", "left"),
    [
        (b"delete from patch where ordinal = 7", "59 of 60 patches, 12 of 12 references"),
        (b"delete from reference where position = 7", "60 of 60 patches, 11 of 12 references"),
        # As a restore without its constraints may leave it.
        (
            b"set local session_replication_role = replica;"
            b"delete from image where name = 'good/007.png'",
            "60 of 60 patches, 11 of 12 references",
        ),
    ],
)
def test_a_bank_with_missing_parts_is_not_used(
    database: Database, removed: bytes, left: str
) -> None:
    database.banks.save("tile", make_bank())
    with database.connection() as connection:
        connection.execute(removed)
    with pytest.raises(DatabaseError, match=f"{left}; fit the category again"):
        database.banks.active("tile")


def test_images_stay_for_as_long_as_a_bank_refers_to_them(database: Database) -> None:
    database.retention = Retention(versions=2, days=0)
    sets = [[f"{version}-{number}.png" for number in range(4)] for version in range(1, 6)]
    database.banks.save("other", make_bank(images=[make_image(f"{n}") for n in range(12)]))
    for number, names in enumerate(sets):
        database.banks.save(
            "tile", make_bank(image_count=4, images=[make_image(name) for name in names])
        )
        kept = sorted(name for part in sets[max(0, number - 1) : number + 1] for name in part)
        assert _image_names(database, "tile") == kept
    assert len(_image_names(database, "other")) == 12


def test_only_good_images_go_with_their_banks(database: Database) -> None:
    database.retention = Retention(versions=2, days=0)
    first = [make_image("good"), make_image("bad", label="anomalous"), make_image("again")]
    database.banks.save("tile", make_bank(image_count=3, images=first))
    for _ in range(2):
        database.banks.save("tile", make_bank(image_count=1, images=[make_image("again")]))
    assert _image_names(database, "tile") == ["again", "bad"]


def _image_names(database: Database, category: str) -> list[str]:
    with database.connection() as connection:
        rows = connection.execute(
            "select image.name from image join category using (category_id) "
            "where category.name = %s order by 1",
            [category],
        ).fetchall()
    return [name for (name,) in rows]


def test_others_hear_of_a_new_bank(database: Database, database_url: str, tmp_path: Path) -> None:
    with (
        open_database(database_url, tmp_path) as other,
        ThreadPoolExecutor(1) as threads,
    ):
        changes = other.changes(timeout=20.0)
        first = threads.submit(next, changes)
        while not _listens(database):
            pass
        database.banks.save("tile", make_bank())
        assert first.result() == BankNotice("tile", 1)
        database.categories.remove("tile")
        assert next(changes) == BankNotice("tile", None)


def _listens(database: Database) -> bool:
    with database.connection() as connection:
        row = connection.execute(
            "select count(*) from pg_stat_activity "
            "where datname = current_database() and query like 'listen%'"
        ).fetchone()
    return row == (1,)


def test_the_same_image_is_kept_once(database: Database) -> None:
    images = [make_image(f"{number}.png") for number in range(12)]
    database.banks.save("tile", make_bank(images=images))
    before = database.images.get("tile", "3.png")
    images[3] = make_image("3.png", sha256="ab" * 32, width=7, thumbnail=b"new")
    database.banks.save("tile", make_bank(images=images))
    after = database.images.get("tile", "3.png")
    assert (after.image_id, after.sha256, after.width) == (before.image_id, "ab" * 32, 7)
    assert database.images.thumbnail("tile", after.image_id) == b"new"
    with database.connection() as connection:
        assert connection.execute("select count(*) from image").fetchone() == (12,)


def test_a_category_is_one_composed_or_not(database: Database) -> None:
    composed, decomposed = "B\u00fcrste", "Bu\u0308rste"
    assert database.banks.save(decomposed, make_bank()) == 1
    assert database.banks.save(composed, make_bank()) == 2
    assert [category.name for category in database.categories.list()] == [composed]
    for name in (composed, decomposed):
        assert database.banks.active(name).version == 2
        assert database.categories.get(name).bank_version == 2
        assert len(database.banks.history(name)) == 2
    assert database.categories.remove(decomposed).banks == 2


def test_an_unknown_category_names_the_one_meant(database: Database) -> None:
    for name in ("bottle", "Cell Mono"):
        database.banks.save(name, make_bank())
    for wrong, meant in (("botle", "bottle"), ("cell-mono", "Cell Mono"), ("BOTTLE", "bottle")):
        for ask in (
            database.banks.active,
            database.banks.active_key,
            database.banks.history,
            database.categories.get,
            database.categories.remove,
        ):
            with pytest.raises(UnknownCategoryError, match=f"did you mean '{meant}'"):
                ask(wrong)
    with pytest.raises(UnknownCategoryError, match="no category 'zipper'; `patchbank categories`"):
        database.banks.active("zipper")
