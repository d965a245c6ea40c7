"""Backups: written while the database is in use, restored into an empty one, or refused."""

from __future__ import annotations

import json
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from patchbank.errors import BackupError, DatabaseError, DatabaseTooNewError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.access import create_key
from patchbank.inspection.keeping.backup import backup, restore
from patchbank.inspection.workspace import Workspace
from patchbank.line.sinks.configured import SinkOptions, add_sink
from patchbank.store.migrate import migrations
from tests.fixtures.commands import Run, in_this_process
from tests.fixtures.database import NetworkServer, made
from tests.fixtures.pgbouncer import PgBouncer
from tests.fixtures.surfaces import Surfaces, brushed

pytestmark = pytest.mark.usefixtures("learned")


@pytest.fixture
def other(empty_database_url: str, graphs_home: Path) -> Iterator[Workspace]:
    """A workspace on a new database."""
    with Workspace(home=graphs_home, database_url=empty_database_url) as opened:
        yield opened


def rows(workspace: Workspace, statement: bytes) -> list[tuple[object, ...]]:
    with workspace.database.connection() as connection:
        return connection.execute(statement).fetchall()


def test_a_backup_is_of_one_moment_and_restores_everything(
    workspace: Workspace, other: Workspace, tmp_path: Path
) -> None:
    add_sink(workspace, "file", str(tmp_path / "a.csv"), SinkOptions())
    create_key(workspace, "camera", "admin")
    inspector = Inspector(workspace, "brushed", deliver=True)
    stopping = threading.Event()

    def judge() -> None:
        seed = 0
        while not stopping.is_set():
            inspector.inspect(brushed(seed, scratched=True), name=f"{seed}.png")
            seed += 1

    inspector.inspect(brushed(1), name="first.png")
    judging = threading.Thread(target=judge)
    judging.start()
    try:
        written = backup(workspace, tmp_path / "a.dump")
    finally:
        stopping.set()
        judging.join()
    assert written.contents is not None
    assert written.contents.categories == 1
    assert stat.S_IMODE((tmp_path / "a.dump").stat().st_mode) == 0o600
    read = restore(other, tmp_path / "a.dump")
    assert read.contents == written.contents
    assert (read.contents.keys, read.contents.sinks) == (1, 1)
    with Workspace(home=other.home, database_url=other.database_url) as restored:
        # Inspections and what is to be sent of them were written together.
        counts = b"select (select count(*) from inspection), (select count(*) from outbox)"
        assert rows(restored, counts) == [(written.contents.inspections,) * 2]
        image = brushed(5, scratched=True)
        before = Inspector(workspace, "brushed", record=False).inspect(image)
        after = Inspector(restored, "brushed").inspect(image)
        assert (after.score, after.verdict) == (before.score, before.verdict)
        assert after.similar == before.similar
        newest = b"select inspection_id from inspection order by inspection_id desc limit 2"
        last, previous = rows(restored, newest)
        assert last > previous
        events = b"select encode(hash, 'hex') from event order by 1"
        assert rows(restored, events) == rows(workspace, events)


def test_a_backup_goes_to_another_server(
    patchbank: Run,
    network_server: NetworkServer,
    graphs_home: Path,
    surfaces: Surfaces,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    images = sorted(surfaces.scratched.iterdir())[:2]
    before = patchbank("inspect", "brushed", *images, "--json")
    outcome = patchbank("backup", tmp_path / "a.dump")
    assert outcome.code == 0, outcome.err
    assert "1 category, 1 bank version, 24 references, 2 inspections" in outcome.out
    refused = patchbank("backup", tmp_path / "a.dump")
    assert "already exists" in refused.complaint
    written = patchbank("backup", tmp_path / "a.dump", "--force", "--json")
    with made(network_server.url(), "moved"):
        there = in_this_process(network_server.url("moved"), graphs_home, monkeypatch)
        outcome = there("restore", tmp_path / "a.dump", "--json")
        assert outcome.code == 0, outcome.err
        assert outcome.document == written.document
        after = there("inspect", "brushed", *images, "--json")
        scores = [[each["score"] for each in run.documents] for run in (before, after)]
        assert scores[0] == scores[1]
        assert there("audit", "verify").code == 0
        again = there("restore", tmp_path / "a.dump")
        assert again.code == 2
        assert "the database is not empty: it has 1 category" in again.complaint
        # And back from there, with its password in no command line.
        back = there("backup", tmp_path / "b.dump")
        assert back.code == 0, back.err


def test_what_is_no_backup_is_refused_and_nothing_changes(
    workspace: Workspace, other: Workspace, tmp_path: Path
) -> None:
    file = tmp_path / "a.dump"
    backup(workspace, file)
    content = file.read_bytes()
    (tmp_path / "torn.dump").write_bytes(content[: len(content) // 2])
    (tmp_path / "text.dump").write_text("not a backup")
    with pytest.raises(BackupError, match="is not a backup of patchbank"):
        restore(other, tmp_path / "text.dump")
    with pytest.raises(BackupError, match=r"torn.dump is (damaged|not a backup)"):
        restore(other, tmp_path / "torn.dump")
    damaged = bytearray(content)
    for position in range(len(content) // 2, len(content) // 2 + 2000):
        damaged[position] ^= 0xFF
    (tmp_path / "damaged.dump").write_bytes(damaged)
    with pytest.raises(BackupError, match="damaged"):
        restore(other, tmp_path / "damaged.dump")
    with pytest.raises(BackupError, match="there is no such file"):
        restore(other, tmp_path / "none.dump")
    assert rows(other, b"select name from category") == []
    assert restore(other, file).contents is not None


def test_a_backup_of_a_newer_patchbank_is_refused(
    workspace: Workspace, other: Workspace, tmp_path: Path
) -> None:
    with workspace.database.connection() as connection:
        connection.execute("insert into migration (name) values ('2030-01-01-01-newer')")
    backup(workspace, tmp_path / "a.dump")
    with pytest.raises(DatabaseTooNewError, match="2030-01-01-01-newer"):
        restore(other, tmp_path / "a.dump")


def test_a_backup_of_an_older_patchbank_is_restored_and_then_upgraded(
    workspace: Workspace, patchbank: Run, empty_database_url: str, graphs_home: Path,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    newest = max(migrations())
    with workspace.database.connection() as connection:
        connection.execute("delete from migration where name = %s", [newest])
    backup(workspace, tmp_path / "a.dump")
    there = in_this_process(empty_database_url, graphs_home, monkeypatch)
    outcome = there("restore", tmp_path / "a.dump", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.document["contents"] is None
    assert "patchbank database upgrade" in outcome.document["remark"]
    with psycopg.connect(empty_database_url) as connection:
        assert connection.execute("select name from patchbank.category").fetchall()


def test_where_no_backup_can_be_written(
    workspace: Workspace, tmp_path: Path, pgbouncer: PgBouncer, graphs_home: Path
) -> None:
    with pytest.raises(BackupError, match="is a folder"):
        backup(workspace, tmp_path)
    with pytest.raises(BackupError, match="create it first"):
        backup(workspace, tmp_path / "none" / "a.dump")
    with made(pgbouncer.server.url(), "pooled"):
        Workspace(home=graphs_home, database_url=pgbouncer.server.url("pooled")).database.close()
        url = f"{pgbouncer.url('pooled')}?pgbouncer=true"
        with (
            Workspace(home=graphs_home, database_url=url) as pooled,
            pytest.raises(DatabaseError, match="needs a session of its own"),
        ):
            backup(pooled, tmp_path / "a.dump")
    assert list(tmp_path.iterdir()) == []


def test_the_contents_are_said_as_json(patchbank: Run, tmp_path: Path) -> None:
    outcome = patchbank("backup", tmp_path / "a.dump", "--json")
    document = json.loads(outcome.out)
    assert document["contents"]["categories"] == 1
    assert document["megabytes"] == pytest.approx(
        (tmp_path / "a.dump").stat().st_size / 1e6, abs=1e-3
    )
