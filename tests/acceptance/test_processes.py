"""Several processes on one embedded database, interrupts and deaths."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from patchbank.store.embedded.server import EmbeddedServer
from tests.fixtures.commands import Run, finish, in_this_process, start
from tests.fixtures.surfaces import Surfaces

SMALL = ("--image-size", "96", "--json")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "home"
    EmbeddedServer(tmp_path / "home").stop()


@pytest.fixture
def patchbank(home: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process, on that home."""
    return in_this_process(None, home, monkeypatch)


def test_two_fits_and_an_inspection_at_once(home: Path, surfaces: Surfaces, patchbank: Run) -> None:
    assert patchbank("fit", "known", surfaces.train, *SMALL).code == 0
    images = [surfaces.scratched, surfaces.good]
    processes = [
        start("fit", "first", surfaces.train, *SMALL, home=home),
        start("fit", "second", surfaces.train, "--seed", "7", *SMALL, home=home),
        start("inspect", "known", *images, "--json", home=home),
    ]
    first, second, inspected = map(finish, processes)
    assert (first.code, second.code, inspected.code) == (0, 0, 1)
    assert first.document["fail_above"] != second.document["fail_above"]
    assert len(inspected.documents) == 16
    # Alone, each answers what it answered in company.
    for category, fitted in (("first", first), ("second", second)):
        alone = patchbank("show", category, "--json").document
        assert alone["fail_above"] == fitted.document["fail_above"]
        assert alone["images"] == 24
    again = patchbank("inspect", "known", *images, "--json")
    assert [(one["image"], one["score"]) for one in again.documents] == [
        (one["image"], one["score"]) for one in inspected.documents
    ]


def test_a_fresh_home_is_made_once_by_two_processes(
    home: Path, surfaces: Surfaces, patchbank: Run
) -> None:
    processes = [
        start("fit", name, surfaces.train, *SMALL, home=home) for name in ("first", "second")
    ]
    outcomes = [finish(process) for process in processes]
    assert [outcome.code for outcome in outcomes] == [0, 0], [outcome.err for outcome in outcomes]
    listed = patchbank("categories", "--json").documents
    assert [one["category"] for one in listed] == ["first", "second"]


def test_the_old_bank_answers_after_fits_were_ended(
    home: Path, surfaces: Surfaces, patchbank: Run
) -> None:
    fitted = patchbank("fit", "brushed", surfaces.train, *SMALL)
    image = surfaces.scratched / "000.png"
    for number, code in ((signal.SIGKILL, -9), (signal.SIGINT, 130), (signal.SIGTERM, 130)):
        # A lock on the table of patches holds the fit in the middle of its transaction.
        with psycopg.connect(EmbeddedServer(home).conninfo()) as holder:
            holder.execute("lock table patchbank.patch in share mode")
            doomed = start("fit", "brushed", surfaces.train, "--seed", "9", *SMALL, home=home)
            _wait_for_blocked_copy(home)
            os.kill(doomed.pid, number)
            outcome = finish(doomed)
            assert outcome.code == code
            assert outcome.out == ""
            if code > 0:
                assert "every active bank is as it was" in outcome.complaint
            holder.rollback()
        inspected = patchbank("inspect", "brushed", image, "--json").document
        assert inspected["bank_version"] == 1
        assert inspected["fail_above"] == fitted.document["fail_above"]
    shown = patchbank("show", "brushed", "--json").document
    assert [one["state"] for one in shown["history"]] == ["active"]
    again = patchbank("fit", "brushed", surfaces.train, *SMALL)
    assert again.code == 0
    assert again.document["bank_version"] == 2


def _wait_for_blocked_copy(home: Path) -> None:
    deadline = time.monotonic() + 60
    with psycopg.connect(EmbeddedServer(home).conninfo(), autocommit=True) as watcher:
        while time.monotonic() < deadline:
            row = watcher.execute(
                "select count(*) from pg_stat_activity"
                " where wait_event_type = 'Lock' and query ilike '%copy patch %'"
            ).fetchone()
            assert row is not None
            if row[0]:
                return
            time.sleep(0.02)
    raise AssertionError("the fit did not get to storing its patches")
