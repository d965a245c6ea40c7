"""A database that an earlier patchbank made judges as it did."""

from __future__ import annotations

import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import psycopg
import pytest

from patchbank.errors import (
    DatabaseError,
    DatabaseUnreachableError,
    DatabaseUpgradedWarning,
    DatabaseUpgradeNeededError,
    DiskFullError,
)
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.manage import psql, show_category, upgrade, url_for_clients
from patchbank.inspection.learning.calibrate import calibrate
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.store import migrate, queries
from patchbank.store.backup import read_backup
from patchbank.store.bank_content import BankContent
from patchbank.store.database import open_database, upgrade_database
from patchbank.store.embedded.room import Room
from patchbank.store.embedded.server import EmbeddedServer
from patchbank.store.psql import ClientPrograms
from patchbank.store.stored_bank import StoredBank
from tests.fixtures.banks import make_bank
from tests.fixtures.commands import Run
from tests.fixtures.older_database import ROWS, make_older
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


def test_banks_stored_as_copies_become_rows_with_the_same_verdicts(
    database_url: str, empty_database_url: str, graphs_home: Path, surfaces: Surfaces
) -> None:
    train, good = sorted(surfaces.train.iterdir()), sorted(surfaces.good.iterdir())
    images = [*good[:3], *sorted(surfaces.scratched.iterdir())[:3]]
    stored, expected = [], {}
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        fit(workspace, "fitted", train, SETTINGS)
        fit(workspace, "calibrated", train[:16], SETTINGS)
        calibrate(workspace, "calibrated", train[16:], force=True)
        for category in ("fitted", "calibrated"):
            bank = workspace.database.banks.active(category, thumbnails=True)
            # Each lay there as a copy, under its version's number; one before was pruned.
            stored += [replace(bank, key=bank.key._replace(version=v)) for v in (1, 2, 3)]
            inspector = Inspector(workspace, category)
            expected[category] = [inspector.inspect(image) for image in images]
    make_older(empty_database_url, stored)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("delete from patchbank.patch where version = 1")
        connection.execute("delete from patchbank.reference where version = 1")
        for name, text in (("images", "ef_search 200, recall 9950 of 10000"), ("patches", "mine")):
            index = f"hnsw_{name}_1_3_vector16_l2"
            connection.execute(f"create index {index} on patchbank.bank (version)".encode())
            connection.execute(f"comment on index patchbank.{index} is '{text}'".encode())

    with Workspace(home=graphs_home, database_url=empty_database_url) as workspace:
        with pytest.raises(DatabaseUpgradeNeededError, match="run `patchbank database upgrade`"):
            _ = workspace.database
        plan, upgraded = upgrade(workspace, lambda plan: ROWS not in plan.migrations)
        assert not upgraded
        assert list(plan.migrations) == [name for name in migrate.migrations() if name >= ROWS]
        assert plan.migrations[ROWS].startswith("Stores a bank version as a set of rows")
        assert (plan.banks, plan.inspections) == (6, 6)
        upgraded_by, upgraded = upgrade(workspace, lambda plan: True)
        assert upgraded
        # The server may have tidied up meanwhile.
        assert replace(upgraded_by, size_bytes=plan.size_bytes) == plan
        assert upgrade(workspace, lambda plan: False)[0].migrations == {}
        for category, inspections in expected.items():
            history = show_category(workspace, category)["history"]
            assert [version["state"] for version in history] == ["active", "retired", "pruned"]
            for version in (None, 2):
                inspector = Inspector(workspace, category, bank_version=version)
                for image, before in zip(images, inspections, strict=True):
                    after = inspector.inspect(image)
                    assert (after.verdict, after.score) == (before.verdict, before.score)
                    assert after.p_value == before.p_value
                    assert after.thresholds == before.thresholds
                    assert after.map_threshold == before.map_threshold
                    assert (after.regions, after.similar) == (before.regions, before.similar)
            earlier = workspace.database.inspections.recent(category)[-1]
            assert earlier.image_name == "earlier.png"
            assert (earlier.pass_below, earlier.fail_above) == (2.5, 2.5)
            # What was not kept then is not made up; the extractor is that of its version.
            assert (earlier.remarks, earlier.width, earlier.actor) == ([], None, None)
            assert earlier.extractor is not None
            assert earlier.extractor["fingerprint"] == inspections[0].extractor_fingerprint
        indexes = workspace.database.indexes.of_category(1)
        found = [stored.index for stored in indexes]
        assert [(index.name, index.least_ef_search, index.recall) for index in found] == [
            ("hnsw_images_1_3_vector16_l2", 200, 0.995),
            ("hnsw_patches_1_3_vector16_l2", 100, None),
        ]
        scores = workspace.database.banks.active("calibrated").content.scores
        assert np.count_nonzero(scores.held_out) == 8
        # A calibration takes the place of the one before, of which no image is known.
        report = calibrate(workspace, "calibrated", good, force=True)
        assert (report.bank_version, report.images) == (4, 8)
        scores = workspace.database.banks.active("calibrated").content.scores
        assert np.count_nonzero(scores.counts) == np.count_nonzero(scores.held_out) == 8
        assert len(scores) == 16 + 8


@pytest.fixture
def older(embedded_database_url: str, tmp_path: Path) -> list[StoredBank]:
    """A bank of the category ``tile``."""
    return _stored(embedded_database_url, tmp_path, make_bank())


def _stored(url: str, home: Path, bank: BankContent) -> list[StoredBank]:
    with open_database(url, home) as database:
        database.banks.save("tile", bank)
        return [database.banks.active("tile")]


def test_the_embedded_database_is_upgraded_after_a_copy_of_it_is_kept(
    older: list[StoredBank], tmp_path: Path
) -> None:
    server, before = (
        EmbeddedServer(tmp_path / name, idle_minutes=60) for name in ("home", "before")
    )
    server.connect(lambda conninfo: psycopg.connect(conninfo)).close()
    try:
        make_older(server.conninfo(), older)
        (server.folder / "before-2026-01-01.dump").touch()
        (server.folder / "mine.dump").touch()
        with pytest.warns(
            DatabaseUpgradedWarning, match=r"was upgraded; a copy .*\.dump"
        ) as warned:
            database = open_database(None, server.home)
        with database:
            assert database.banks.active("tile").patch_count == older[0].patch_count
        open_database(None, server.home).close()  # says nothing
        copies = {path.name for path in server.folder.glob("*.dump*")}
        assert copies == {f"before-{ROWS}.dump", "mine.dump"}
        assert str(server.folder / f"before-{ROWS}.dump") in str(warned[0].message)
        # Restored as in docs/storage.md: the older patchbank does not upgrade it.
        open_database(None, before.home).close()
        read_backup(ClientPrograms(None, before.home), server.folder / f"before-{ROWS}.dump")
        with psycopg.connect(before.conninfo()) as connection:
            found = connection.execute("select calibration, version from patchbank.bank").fetchall()
        assert len(found) == 1
        # Whole: it can be upgraded again, and has the same bank.
        with pytest.warns(DatabaseUpgradedWarning), open_database(None, before.home) as database:
            restored = database.banks.active("tile").content
        assert np.array_equal(restored.features, older[0].content.features)
        assert np.array_equal(restored.embeddings, older[0].content.embeddings)
    finally:
        server.stop()
        before.stop()


def test_without_room_for_the_copy_nothing_is_upgraded(
    embedded_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A row fills its page; a copy, as compressed text, is larger then.
    older = _stored(embedded_database_url, tmp_path, make_bank(patches=300, dimensions=2000))
    server = EmbeddedServer(tmp_path / "home", idle_minutes=60)
    server.connect(lambda conninfo: psycopg.connect(conninfo)).close()
    try:
        make_older(server.conninfo(), older)
        kept = server.keep_copy("before-all.dump").stat().st_size
        monkeypatch.setattr(EmbeddedServer, "room", lambda self: Room(kept + 999, reserve=1000))
        with pytest.raises(DiskFullError, match="must be upgraded, and a copy"):
            open_database(None, server.home)
        with psycopg.connect(server.conninfo()) as connection:
            connection.execute("select version from patchbank.patch")
    finally:
        server.stop()


def test_an_upgrade_that_fails_changes_nothing(
    older: list[StoredBank], empty_database_url: str, tmp_path: Path
) -> None:
    make_older(empty_database_url, older)
    with psycopg.connect(empty_database_url) as connection:
        # One of the last things that the upgrade makes.
        connection.execute("create table patchbank.calibration_scores ()")
    with pytest.raises(DatabaseError, match="calibration_scores"):
        upgrade_database(empty_database_url, tmp_path, lambda plan: True)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("select calibration from patchbank.bank")
        connection.execute("select version from patchbank.patch")
        connection.execute("drop table patchbank.calibration_scores")
    assert upgrade_database(empty_database_url, tmp_path, lambda plan: True)[1]


def test_a_database_that_an_older_program_makes_meanwhile_is_not_upgraded(
    older: list[StoredBank], empty_database_url: str, tmp_path: Path
) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        psycopg.connect(empty_database_url, autocommit=True) as connection,
    ):
        connection.execute("create extension if not exists vector")
        with connection.transaction():
            connection.execute(queries.load("database")["lock_migrations"])
            opening = pool.submit(open_database, empty_database_url, tmp_path)
            deadline = time.monotonic() + 10
            while not connection.execute(
                "select from pg_locks where locktype = 'advisory' and not granted"
            ).fetchall():
                assert time.monotonic() < deadline
                time.sleep(0.01)
            make_older(empty_database_url, older)
        with pytest.raises(DatabaseUpgradeNeededError):
            opening.result()


def test_every_command_of_the_database_gives_a_silent_server_up_as_the_settings_say(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor() as pool:
        url = f"postgresql://someone@127.0.0.1:{listening.getsockname()[1]}/silent"
        with Workspace(home=tmp_path, database_url=url) as workspace:
            seconds = {"database_connect_seconds": 2}
            workspace.settings = workspace.settings.model_copy(update=seconds)
            begun = time.monotonic()
            for given_up in (
                pool.submit(upgrade, workspace, lambda plan: True),
                pool.submit(psql, workspace),
                pool.submit(url_for_clients, workspace),
            ):
                with pytest.raises(DatabaseUnreachableError, match="timeout"):
                    given_up.result()
            assert time.monotonic() - begun < 8  # the default is 10


def test_the_command_shows_what_it_will_change_and_asks_for_confirmation(
    older: list[StoredBank],
    empty_database_url: str,
    patchbank: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_older(empty_database_url, older)
    monkeypatch.setenv("PATCHBANK_DATABASE_URL", empty_database_url)
    assert "run `patchbank database upgrade`" in patchbank("categories").complaint
    assert "database upgrade" in patchbank("doctor").out
    refused = patchbank("database", "upgrade")
    assert refused.code == 2
    assert "1 bank version, 60 patches, 1 inspection" in refused.err
    assert f"{ROWS}: Stores a bank version as a set of rows" in refused.err
    assert "confirm with --yes" in refused.err
    assert patchbank("database", "upgrade", "--yes", "--json").document["upgraded"] is True
    assert patchbank("database", "upgrade").out == "nothing to upgrade\n"
    assert patchbank("categories").code == 0


def test_an_upgrade_does_not_wait_for_ever_for_who_uses_the_tables(
    older: list[StoredBank],
    empty_database_url: str,
    patchbank: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_older(empty_database_url, older)
    monkeypatch.setenv("PATCHBANK_DATABASE_URL", empty_database_url)
    monkeypatch.setattr(migrate, "_LOCK_SECONDS", 1)
    with psycopg.connect(empty_database_url) as reader:
        reader.execute("select count(*) from patchbank.patch")
        plan = patchbank("database", "upgrade", "--json").document
        assert (plan["sessions"], plan["upgraded"]) == (1, False)
        refused = patchbank("database", "upgrade", "--yes")
        assert refused.code == 2
        assert "another session has locked the tables for 1 seconds" in refused.err
    assert patchbank("database", "upgrade", "--yes", "--json").document["upgraded"] is True


def test_who_may_read_the_tables_may_read_what_an_upgrade_adds(
    older: list[StoredBank], empty_database_url: str, tmp_path: Path
) -> None:
    make_older(empty_database_url, older)
    role = f"reader_{secrets.token_hex(4)}"
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute(f"create role {role}".encode())
        try:
            connection.execute(
                f"grant usage on schema patchbank to {role};"
                f"grant select on all tables in schema patchbank to {role}".encode()
            )
            upgrade_database(empty_database_url, tmp_path, lambda plan: True)
            connection.execute(f"set role {role}".encode())
            for name in ("inspections", "calibration_scores", "patch_change"):
                connection.execute(f"select count(*) from patchbank.{name}".encode())
        finally:
            connection.execute(f"reset role; drop owned by {role}; drop role {role}".encode())
