"""HNSW indexes: used where they are, and never in the way."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from patchbank.errors import DatabaseError, ParameterError, PgvectorMissingError
from patchbank.store import queries
from patchbank.store.database import Database, open_database
from patchbank.store.hnsw_index import HnswIndex, Indexed, Metric, VectorType, fitting_type
from tests.fixtures.banks import make_bank


def _index(database: Database, on: Indexed = "patches", **changes: Any) -> HnswIndex:
    category_id, generation, _ = database.banks.active_key("tile")
    given: dict[str, Any] = {
        "type": "vector", "dimensions": 16, "metric": "l2", "generation": generation, **changes
    }  # fmt: skip
    return HnswIndex(on=on, category_id=category_id, **given)


def _names(database: Database) -> list[tuple[str, bool]]:
    category_id, *_ = database.banks.active_key("tile")
    return sorted(
        (stored.index.name, stored.valid) for stored in database.indexes.of_category(category_id)
    )


@pytest.fixture
def filled(database: Database) -> Database:
    database.banks.save(
        "tile", make_bank(patches=1500, dimensions=16, image_count=400, embedding_dimensions=16)
    )
    return database


@pytest.mark.parametrize("type_", ["vector", "halfvec"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("on", ["images", "patches"])
def test_an_index_answers_as_the_scan_does(
    filled: Database, on: Indexed, metric: Metric, type_: VectorType
) -> None:
    index = _index(filled, on, metric=metric, type=type_)
    key = filled.banks.active_key("tile")
    assert filled.indexes.find(key, on, metric) is None
    filled.indexes.build(index, 1500)
    assert filled.indexes.find(key, on, metric) == index
    source = filled.images if on == "images" else filled.patches
    subject, parameter = ("images", "embedding") if on == "images" else ("patches", "feature")
    random = np.random.default_rng(1)
    same = 0
    for _ in range(20):
        query = random.normal(size=16).astype(np.float32)
        exact = source.similar(key, query, metric=metric)
        found = source.similar(key, query, metric=metric, index=index)
        assert len(found) == 10
        same += len({image.name for image in exact} & {image.name for image in found})
        by_name = {image.name: image for image in exact}
        for image in found:
            if image.name in by_name:
                # Distances are computed from the full vectors, not in half precision.
                assert image.similarity == by_name[image.name].similarity
                assert image.distance == by_name[image.name].distance
    assert same / 200 >= 0.95
    with filled.connection() as connection:
        index.prepare(connection, 10)
        statement = index.query(queries.load(subject)["similar_by_index"])
        plan = connection.execute(
            b"explain " + statement,
            {**key.parameters(), parameter: [0.5] * 16, "top": 10, "candidates": 20},
        ).fetchall()
    assert any(f"Index Scan using {index.name}" in line for (line,) in plan), plan


def test_building_tells_how_far_it_is(filled: Database) -> None:
    calls: list[tuple[str, int, int]] = []
    filled.indexes.build(_index(filled), 1500, progress=lambda *call: calls.append(call))
    assert calls[-1] == ("index of patches", 1500, 1500)
    assert all(0 <= done <= total for _, done, total in calls)


def test_another_type_takes_the_place(filled: Database) -> None:
    old, new = _index(filled), _index(filled, type="halfvec")
    other = _index(filled, metric="cosine")
    for index in (old, other, new):
        filled.indexes.build(index, 1500)
    assert _names(filled) == sorted([(other.name, True), (new.name, True)])
    assert filled.indexes.drop(old.category_id, "images") == []
    assert {index.name for index in filled.indexes.drop(old.category_id)} == {other.name, new.name}
    assert _names(filled) == []


def test_an_index_goes_with_its_bank(filled: Database) -> None:
    filled.banks.save("other", make_bank(dimensions=16))
    other_key = filled.banks.active_key("other")
    other = HnswIndex("patches", *other_key[:2], type="vector", dimensions=16, metric="l2")
    filled.indexes.build(other, 60)
    filled.indexes.build(_index(filled), 1500)
    filled.banks.save("tile", make_bank(dimensions=16))
    assert _names(filled) == []
    index = _index(filled)
    filled.indexes.build(index, 60)
    filled.categories.remove("tile")
    assert filled.indexes.of_category(index.category_id) == []
    assert filled.indexes.find(other_key, "patches", "l2") == other


def test_an_interrupted_build_leaves_nothing(filled: Database) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        filled.indexes.build(_index(filled), 1500, progress=interrupt)
    assert _names(filled) == []
    filled.indexes.build(_index(filled), 1500)
    assert _names(filled) == [(_index(filled).name, True)]


def test_what_a_killed_server_process_left_is_removed(filled: Database, database_url: str) -> None:
    index = _index(filled)
    blocker = psycopg.connect(database_url)
    # The build waits for whoever wrote to the table before; then its process is ended.
    blocker.execute("insert into patchbank.patch select 1, 99, 0, 1, 0, 0, '[1]'")
    failure: list[BaseException] = []

    def build() -> None:
        try:
            filled.indexes.build(index, 1500)
        except DatabaseError as error:
            failure.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    with psycopg.connect(database_url, autocommit=True) as killer:
        # The index is listed before the statement that builds it starts.
        building = (
            "select pid from pg_stat_activity "
            "where datname = current_database() and query like 'create index concurrently%'"
        )
        while (found := killer.execute(building).fetchone()) is None:
            assert thread.is_alive()
        with pytest.raises(DatabaseError, match="another process is changing"):
            filled.indexes.build(index, 1500)
        killer.execute("select pg_terminate_backend(%s, 5000)", found)
        thread.join()
        blocker.close()
        assert failure
        assert _names(filled) == [(index.name, False)]
        assert filled.indexes.find(filled.banks.active_key("tile"), "patches", "l2") is None
    filled.indexes.build(index, 1500)
    assert _names(filled) == [(index.name, True)]


def test_a_fit_does_not_wait_for_an_index_in_use(filled: Database, database_url: str) -> None:
    filled.indexes.build(_index(filled), 1500)
    old = _index(filled).name
    with psycopg.connect(database_url) as reader:
        # As another index that is being built would.
        reader.execute("lock table patchbank.patch in share update exclusive mode")
        assert filled.banks.save("tile", make_bank(dimensions=16)) == 2
        assert _names(filled) == [(old, True)]
    assert filled.banks.save("tile", make_bank(dimensions=16)) == 3
    assert _names(filled) == []


def test_a_session_is_given_back_as_it_was(filled: Database) -> None:
    def settings() -> tuple[Any, ...]:
        with filled.connection() as connection:
            row = connection.execute(
                "select current_setting('maintenance_work_mem'), current_setting('enable_sort')"
            ).fetchone()
            assert row is not None
            return row

    before = settings()
    index = _index(filled)
    filled.indexes.build(index, 1_000_000)
    filled.patches.similar(
        filled.banks.active_key("tile"), np.ones(16, np.float32), metric="l2", index=index
    )
    assert settings() == before


def test_the_type_fits_the_dimensions(filled: Database) -> None:
    types = [fitting_type(dimensions) for dimensions in (1, 2000, 2001, 4000)]
    assert types == ["vector", "vector", "halfvec", "halfvec"]
    with pytest.raises(ParameterError, match=r"2001 dimensions .* limit is 2000; use --type half"):
        filled.indexes.build(_index(filled, dimensions=2001), 1500)
    with pytest.raises(ParameterError, match="limit is 4000; search without an index"):
        fitting_type(4001)


def test_what_is_known_of_an_index_is_kept_with_it(filled: Database) -> None:
    index = _index(filled, least_ef_search=400)
    key = filled.banks.active_key("tile")
    filled.indexes.build(index, 1500)
    found = filled.indexes.find(key, "patches", "l2")
    assert found is not None
    assert (found.least_ef_search, found.recall, found.ef_search(10)) == (400, None, 400)
    filled.indexes.record(replace(found, recall=0.98765))
    found = filled.indexes.find(key, "patches", "l2")
    assert found is not None
    assert (found.least_ef_search, found.recall) == (400, 0.98765)
    filled.indexes.drop(index.category_id)
    # A fit may have been faster.
    filled.indexes.record(found)


def test_an_index_that_somebody_dropped_is_not_used(filled: Database) -> None:
    index = _index(filled)
    filled.indexes.build(index, 1500)
    with filled.connection() as connection:
        connection.execute(f"drop index patchbank.{index.name}".encode())
    assert filled.indexes.find(filled.banks.active_key("tile"), "patches", "l2") is None
    filled.indexes.build(index, 1500)
    assert filled.indexes.find(filled.banks.active_key("tile"), "patches", "l2") == index


@pytest.mark.parametrize("type_", ["vector", "halfvec"])
def test_nearest_patches_of_many_features_by_an_index(filled: Database, type_: Any) -> None:
    key = filled.banks.active_key("tile")
    queries = np.random.default_rng(3).normal(size=(200, 16)).astype(np.float32)
    exact = {count: filled.patches.nearest(key, queries, count) for count in (1, 3)}
    index = _index(filled, type=type_)
    filled.indexes.build(index, 1500)
    for count, (distances, ordinals) in exact.items():
        found = filled.patches.nearest(key, queries, count, index=index)
        assert found[0].shape == distances.shape
        assert (found[1] == ordinals).mean() > 0.97
        same = found[1] == ordinals
        np.testing.assert_array_equal(found[0][same], distances[same])
    # One that finds too few, here since it is over another bank, is not relied upon.
    other = replace(index, generation=99)
    np.testing.assert_array_equal(filled.patches.nearest(key, queries, index=other)[1], exact[1][1])


@pytest.mark.parametrize("by_index", [False, True])
def test_nearest_patches_are_found_where_nothing_can_be_written(
    filled: Database, database_url: str, tmp_path: Path, by_index: bool
) -> None:
    key = filled.banks.active_key("tile")
    index = _index(filled)
    if by_index:
        filled.indexes.build(index, 1500)
    features = filled.banks.active("tile").content.features
    read_only = make_conninfo(database_url, options="-c default_transaction_read_only=on")
    with open_database(read_only, tmp_path) as database:
        found = database.indexes.find(key, "patches", "l2")
        assert (found == index) is by_index
        # As on a standby, where there can be no temporary table either.
        distances, ordinals = database.patches.nearest(key, features[::100], index=found)
    assert ordinals[:, 0].tolist() == list(range(0, 1500, 100))
    assert not distances.any()


def test_features_beyond_half_precision_are_searched_without_its_index(filled: Database) -> None:
    key = filled.banks.active_key("tile")
    index = _index(filled, type="halfvec")
    filled.indexes.build(index, 1500)
    features = np.repeat(np.array([[1], [1e5], [-1e5]], np.float32), 16, axis=1)
    exact = filled.patches.nearest(key, features)
    found = filled.patches.nearest(key, features, index=index)
    np.testing.assert_array_equal(found[0], exact[0])
    np.testing.assert_array_equal(found[1], exact[1])


@pytest.mark.parametrize("dimensions", [16, 2500])
def test_values_beyond_half_precision_are_said(database: Database, dimensions: int) -> None:
    bank = make_bank(dimensions=dimensions)
    features = bank.features.copy()
    features[7, 3] = 1e5
    database.banks.save("tile", replace(bank, features=features))
    remedy = "use --type vector" if dimensions == 16 else "search without an index"
    with pytest.raises(ParameterError, match=f"above 65,504.*; {remedy}") as raised:
        database.indexes.build(_index(database, type="halfvec", dimensions=dimensions), 60)
    assert "\n" not in str(raised.value)
    assert _names(database) == []


def test_an_index_knows_what_it_cannot_find(filled: Database) -> None:
    ones, zeros = np.ones(16, np.float32), np.zeros(16, np.float32)
    for type_ in ("vector", "halfvec"):
        for metric in ("cosine", "l2"):
            index = _index(filled, type=type_, metric=metric)
            assert index.can_find(ones)
            assert index.can_find(zeros) == (metric == "l2")
            assert index.can_find(ones * 1e5) == (type_ == "vector")
            assert index.can_find(ones * 1e-9) == (type_ == "vector" or metric == "l2")


def test_an_old_pgvector_has_no_indexes(filled: Database) -> None:
    with filled.connection() as connection:
        connection.execute("update pg_extension set extversion = '0.8.3' where extname = 'vector'")
    with pytest.raises(PgvectorMissingError, match=r"0\.8\.3; HNSW indexes need 0\.8\.4 or newer"):
        filled.indexes.build(_index(filled), 1500)
    with filled.connection() as connection:
        connection.execute("update pg_extension set extversion = '0.8.5' where extname = 'vector'")
