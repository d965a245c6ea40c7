"""Through PgBouncer in transaction mode, where no session is anybody's own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from patchbank.errors import DatabaseError, DatabaseUnreachableError, ParameterError
from patchbank.inspection.keeping.doctor import diagnose
from patchbank.inspection.workspace import Workspace
from patchbank.store.database import open_database
from patchbank.store.hnsw_index import HnswIndex
from tests.fixtures.banks import make_bank
from tests.fixtures.commands import start
from tests.fixtures.pgbouncer import BY_STATEMENT, PgBouncer

# What a program does with one category: twenty times as fast as by commands.
WORK = """
import sys
from pathlib import Path
from patchbank.inspection.keeping.inspections import make_selection, recorded_inspections
from patchbank.inspection.keeping.manage import activate_version
from patchbank.inspection.learning.calibrate import calibrate
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.judging.index import build_index
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.search import search
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from tests.fixtures.surfaces import brushed

home, url, category = sys.argv[1:]
def images(start, count):
    return {f"{number}.png": brushed(number) for number in range(start, start + count)}
def names_and(images):
    return list(images.values()), dict(names=list(images))
with Workspace(home=Path(home), database_url=url) as workspace:
    sources, names = names_and(images(0, 24))
    fit(workspace, category, sources, make_fit_settings(image_size=96), **names)
    inspector = Inspector(workspace, category)
    sources, names = names_and(images(1000, 40))
    results = list(inspector.inspect_many(sources, **names))
    for on in ("images", "patches"):
        build_index(workspace, category, on=on, metric="cosine")
    assert search(workspace, category, name="3.png", top=5).matches
    sources, names = names_and(images(2000, 30))
    calibrate(workspace, category, sources, **names)
    assert inspector.inspect(brushed(0), name="last").bank_version == 2
    Inspector(workspace, category, in_database=True).inspect(brushed(1), name="in the database")
    assert len(recorded_inspections(workspace, category, make_selection(until="now"))) == 42
    assert activate_version(workspace, category, 1).bank_version == 3
    assert inspector.inspect(brushed(0), name="as before").bank_version == 3
    print(len(results), {type(result).__name__ for result in results})
"""


@pytest.fixture
def database_name(pgbouncer: PgBouncer) -> Iterator[str]:
    """A fresh database, of which PgBouncer gives two sessions."""
    admin = pgbouncer.server.url()
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("create database pooled")
    yield "pooled"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("drop database pooled with (force)")


def test_four_processes_share_two_sessions_and_leave_nothing_behind(
    pgbouncer: PgBouncer, database_name: str, graphs_home: Path
) -> None:
    url = pgbouncer.url(database_name) + "?pgbouncer=true"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", WORK, str(graphs_home), url, f"category {number}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        for number in range(4)
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (0, "40 {'Inspection'}\n"), err
    with psycopg.connect(pgbouncer.server.url(database_name)) as connection:
        counts = connection.execute(
            "select category_id, count(*) from patchbank.inspection group by 1"
        ).fetchall()
    assert [count for _, count in counts] == [43] * 4
    _assert_clean(pgbouncer, database_name)


def _assert_clean(pgbouncer: PgBouncer, database: str) -> None:
    """Check that the pooled sessions are as PostgreSQL makes them."""
    for connection in pgbouncer.sessions(database):
        for query in (
            "select name from pg_prepared_statements",
            "select locktype from pg_locks where locktype = 'advisory'",
            "select relname from pg_class where relpersistence = 't'",
            "select * from pg_listening_channels()",
            # Who asked, PgBouncer gives each session anew.
            "select name, setting from pg_settings where source = 'session' and name not in "
            "('application_name', 'client_encoding', 'DateStyle', 'TimeZone', "
            "'standard_conforming_strings')",
        ):
            assert connection.execute(query.encode(), prepare=False).fetchall() == [], query
        connection.close()


def test_an_index_is_made_replaced_and_dropped_in_transactions(
    pgbouncer: PgBouncer, database_name: str, tmp_path: Path
) -> None:
    with open_database(pgbouncer.url(database_name), tmp_path) as database:
        assert database.pooled
        database.banks.save("tile", make_bank(patches=600, dimensions=16))
        key = database.banks.active_key("tile")
        index = HnswIndex("patches", *key[:2], type="vector", dimensions=16, metric="l2")
        database.indexes.build(index, 600)
        assert database.indexes.find(key, "patches", "l2") == index
        found = database.patches.similar(key, np.ones(16, np.float32), metric="l2", index=index)
        assert len(found) == 10
        with database.connection() as other:
            other.execute("select pg_advisory_xact_lock(1885434483, %s)", [key[0]])
            with pytest.raises(DatabaseError, match="another process is changing"):
                database.indexes.build(index, 600)
        bank = make_bank(patches=600, dimensions=16)
        bank.features[7, 3] = 1e5
        database.banks.save("tile", bank)
        assert database.indexes.of_category(key[0]) == []
        half = HnswIndex("patches", key[0], 2, type="halfvec", dimensions=16, metric="l2")
        with pytest.raises(ParameterError, match=r"above 65,504"):
            database.indexes.build(half, 600)
        assert database.indexes.of_category(key[0]) == []
    _assert_clean(pgbouncer, database_name)


def test_what_needs_a_session_says_so(
    pgbouncer: PgBouncer, database_name: str, tmp_path: Path
) -> None:
    url = pgbouncer.url(database_name)
    with (
        open_database(url, tmp_path) as database,
        pytest.raises(DatabaseError, match="pooler, which does not forward notifications"),
    ):
        next(database.changes(timeout=1))
    with pytest.raises(DatabaseUnreachableError, match=r"startup parameter.*PGOPTIONS") as raised:
        open_database(f"{url}?options=-c%20jit%3Doff", tmp_path)
    assert "\n" not in str(raised.value)


def test_statement_mode_is_refused_with_the_remedy(pgbouncer: PgBouncer, tmp_path: Path) -> None:
    with pytest.raises(DatabaseError, match="pool_mode = transaction") as raised:
        open_database(pgbouncer.url(BY_STATEMENT), tmp_path)
    assert "\n" not in str(raised.value)
    assert "connect to the server directly" in str(raised.value)


def test_the_prompt_and_the_doctor_work_there(
    pgbouncer: PgBouncer, database_name: str, graphs_home: Path
) -> None:
    url = pgbouncer.url(database_name) + "?pgbouncer=true"
    arguments = ("database", "psql", "--no-psqlrc", "--tuples-only", "--command", "select 6 * 7")
    out, err = start(*arguments, home=graphs_home, url=url).communicate(timeout=60)
    assert out.strip() == "42", err
    with Workspace(home=graphs_home, database_url=url) as workspace:
        (finding,) = (check for check in diagnose(workspace) if check.name == "database")
    assert finding.healthy, finding
    assert "through a pooler" in finding.text
