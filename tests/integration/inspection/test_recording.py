"""What is judged without being recorded: by wish, or while the database is away."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pytest
from PIL import Image

from benchmarks import kills
from patchbank.api import open_bank
from patchbank.errors import (
    DatabaseError,
    DatabaseReadOnlyError,
    DatabaseUnreachableError,
    ParameterError,
)
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Inspection
from patchbank.inspection.workspace import Workspace
from patchbank.store.database import Database
from patchbank.store.embedded.server import EmbeddedServer
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces, brushed

pytestmark = pytest.mark.usefixtures("learned")


def _recorded(workspace: Workspace) -> list[str]:
    return [one.image_name for one in workspace.database.inspections.recent("brushed")]


def test_what_is_not_to_be_recorded_is_not(workspace: Workspace, surfaces: Surfaces) -> None:
    with_record = Inspector(workspace, "brushed").inspect(brushed(1), name="kept")
    inspector = Inspector(workspace, "brushed", record=False)
    without = inspector.inspect(brushed(1), name="not kept")
    assert (with_record.recorded, without.recorded) == (True, False)
    assert (without.score, without.remarks) == (with_record.score, ())
    many = list(inspector.inspect_many(sorted(surfaces.good.iterdir())))
    assert all(isinstance(one, Inspection) and not one.recorded for one in many)
    assert _recorded(workspace) == ["kept"]


def test_the_light_the_lens_and_the_uncovered_patches_are_recorded(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    inspector = Inspector(workspace, "brushed")
    good = inspector.inspect(surfaces.good / "000.png")
    bad = inspector.inspect(next(iter(sorted(surfaces.scratched.iterdir()))))
    assert good.outside is not None
    assert bad.outside is not None
    assert 0 <= good.outside.mean() < bad.outside.mean() < 1
    records = {r.inspection_id: r for r in workspace.database.inspections.recent("brushed")}
    for inspection in (good, bad):
        record = records[inspection.inspection_id]
        assert inspection.outside is not None
        assert record.brightness == pytest.approx(inspection.brightness, rel=1e-6)
        assert record.sharpness == pytest.approx(inspection.sharpness, rel=1e-6)
        assert (record.grid_rows, record.grid_columns) == inspection.outside.shape
        bits = np.unpackbits(np.frombuffer(record.outside or b"", np.uint8))
        assert np.array_equal(bits[: inspection.outside.size], inspection.outside.ravel())
    brightness = np.asarray(Image.open(surfaces.good / "000.png").convert("RGB")).mean()
    assert good.brightness == pytest.approx(brightness, rel=0.01)
    references = workspace.database.banks.active("brushed").content.images
    assert all(image.brightness and image.sharpness for image in references)


def test_a_command_keeps_no_record(
    workspace: Workspace, patchbank: Run, surfaces: Surfaces
) -> None:
    image = surfaces.good / "000.png"
    outcome = patchbank("inspect", "brushed", image, "--no-record", "--json")
    assert outcome.document["recorded"] is False
    assert patchbank("inspect", "brushed", image, "--json").document["recorded"] is True
    assert len(_recorded(workspace)) == 1
    refused = patchbank("inspect", "brushed", image, "--on-database-loss", "shrug")
    assert refused.code == 2
    assert "is not one of 'raise', 'judge'" in refused.complaint
    refused = patchbank("inspect", "brushed", image, "--in-database", "--on-database-loss", "judge")
    assert "needs the bank in memory" in refused.complaint


@pytest.mark.serial
def test_an_inspector_judges_on_while_the_server_is_away(
    graphs_home: Path, surfaces: Surfaces, tmp_path: Path
) -> None:
    server = EmbeddedServer(tmp_path / "home", idle_minutes=60)
    server.connect(lambda conninfo: psycopg.connect(conninfo)).close()
    url = server.conninfo()
    try:
        with Workspace(home=graphs_home, database_url=url) as workspace:
            fit(
                workspace, "brushed", sorted(surfaces.train.iterdir()),
                make_fit_settings(image_size=96),
            )  # fmt: skip
            patient = Inspector(workspace, "brushed", on_database_loss="judge")
            before = patient.inspect(brushed(1), name="before")
            server.stop()
            begun = time.monotonic()
            during = patient.inspect(brushed(1), name="during")
            many = list(patient.inspect_many(sorted(surfaces.good.iterdir())))
            assert time.monotonic() - begun < 5
            assert (during.recorded, during.score) == (False, before.score)
            assert during.remarks[0].startswith("not recorded: cannot reach the database")
            assert not any(isinstance(one, Inspection) and one.recorded for one in many)
            server.connect(lambda conninfo: psycopg.connect(conninfo)).close()
            begun = time.monotonic()
            while not (after := patient.inspect(brushed(1), name="after")).recorded:
                assert time.monotonic() - begun < 10
                time.sleep(0.02)
            assert (after.remarks, after.score) == ((), before.score)
            assert _recorded(workspace) == ["after", "before"]
            # Who did not ask for it hears of it.
            usual = Inspector(workspace, "brushed")
            with workspace.database.at_once():
                server.stop()
                with pytest.raises(DatabaseUnreachableError):
                    usual.inspect(brushed(1), name="lost")
    finally:
        server.stop()


def test_a_server_that_takes_nothing_is_said(workspace: Workspace, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"alter database {name} set default_transaction_read_only = on".encode())
    workspace.close()
    with pytest.raises(DatabaseReadOnlyError, match="--no-record"):
        Inspector(workspace, "brushed").inspect(brushed(1), name="a")
    assert Inspector(workspace, "brushed", record=False).inspect(brushed(1), name="a").score > 0
    judged = Inspector(workspace, "brushed", on_database_loss="judge").inspect(brushed(1), name="a")
    assert "read-only" in judged.remarks[0]


REFUSALS = (
    (
        "alter table patchbank.inspection rename to gone",
        "alter table patchbank.gone rename to inspection",
        "does not exist",
    ),
    (
        "alter table patchbank.category rename to gone",
        "alter table patchbank.gone rename to category",
        "does not exist",
    ),
    (
        "alter table patchbank.inspection add constraint closed check (false) not valid",
        "alter table patchbank.inspection drop constraint closed",
        "violates check constraint",
    ),
)


def test_judging_goes_on_whatever_the_database_says(
    workspace: Workspace, database_url: str
) -> None:
    inspector = Inspector(workspace, "brushed", on_database_loss="judge")
    with psycopg.connect(database_url, autocommit=True) as connection:
        for statement, undone, reason in REFUSALS:
            connection.execute(statement.encode())
            single = inspector.inspect(brushed(1), name="a")
            many = list(inspector.inspect_many([brushed(1), brushed(2)]))
            for one in (single, *many):
                assert isinstance(one, Inspection)
                assert not one.recorded
                assert reason in one.remarks[0]
            connection.execute(undone.encode())
            begun = time.monotonic()
            while not inspector.inspect(brushed(1), name="a").recorded:
                assert time.monotonic() - begun < 10
                time.sleep(0.02)


def test_what_asks_for_the_database_does_not_open_it_again(
    workspace: Workspace, database_url: str
) -> None:
    inspector = Inspector(workspace, "brushed", on_database_loss="judge")
    # Those of earlier tests may still be there.
    before = set(threading.enumerate())
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("alter table patchbank.inspection rename to gone")
        assert inspector.inspect(brushed(1), name="a").remarks
        workspace.close()
        (waiting,) = (
            thread
            for thread in set(threading.enumerate()) - before
            if thread.name == "patchbank-absence"
        )
        waiting.join(timeout=10)
        assert not waiting.is_alive()
        assert workspace.opened_database is None
        connection.execute("alter table patchbank.gone rename to inspection")
    assert inspector.inspect(brushed(1), name="a").recorded


def test_a_database_closed_while_it_is_asked_stays_closed(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    inspector = Inspector(workspace, "brushed", on_database_loss="judge")
    inspector.inspect(brushed(1), name="a")

    def close_when_read(self: Workspace) -> Database | None:
        database = self._database
        self.close()
        return database

    monkeypatch.setattr(Workspace, "opened_database", property(close_when_read))
    with pytest.raises(DatabaseError, match="closed"):
        inspector._ask()
    assert workspace._database is None


def test_judging_goes_on_while_a_table_is_locked(workspace: Workspace, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        name = connection.info.dbname
        for limit in ("lock_timeout", "statement_timeout"):
            connection.execute(f"alter database {name} reset all".encode())
            connection.execute(f"alter database {name} set {limit} = '50ms'".encode())
            workspace.close()
            inspector = Inspector(workspace, "brushed", on_database_loss="judge")
            with connection.transaction():
                connection.execute("lock table patchbank.inspection in access exclusive mode")
                judged = inspector.inspect(brushed(1), name="a")
            assert "timeout" in judged.remarks[0]


@pytest.mark.parametrize("first", [{}, {"on_database_loss": "judge"}])
def test_a_bank_in_memory_judges_without_recording_while_the_server_is_away(
    first: dict[str, Any], graphs_home: Path, surfaces: Surfaces, tmp_path: Path
) -> None:
    server = EmbeddedServer(tmp_path / "home", idle_minutes=60)
    server.connect(lambda conninfo: psycopg.connect(conninfo)).close()
    try:
        with open_bank("brushed", home=graphs_home, database_url=server.conninfo()) as bank:
            bank.fit(surfaces.train, image_size=96)
            before = bank.inspect(brushed(1), **first)
            unrecorded = bank.inspect_many([brushed(1)] * 40, record=False)
            next(unrecorded)
            server.stop()
            during = bank.inspect(brushed(1), record=False)
            assert (during.recorded, during.score) == (False, before.score)
            assert during.remarks[0].startswith("a newer bank cannot be seen: cannot reach")
            *_, last = unrecorded
            assert isinstance(last, Inspection)
            assert last.remarks[0].startswith("a newer bank cannot be seen: cannot reach")
            assert bank.inspect(brushed(1), on_database_loss="judge").score == before.score
    finally:
        server.stop()


def test_a_bank_in_the_database_cannot_judge_without_it(workspace: Workspace) -> None:
    with pytest.raises(ParameterError, match="needs the bank in memory"):
        Inspector(workspace, "brushed", in_database=True, on_database_loss="judge")


@pytest.mark.serial
def test_an_inspector_is_back_within_a_second_of_a_kill(tmp_path: Path) -> None:
    seconds, _ = kills.measure(tmp_path / "home", 3)
    assert max(seconds) < 3, "a second on a machine of one's own; tests share theirs"
