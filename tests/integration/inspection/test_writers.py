"""Processes that change a bank at the same time, beside others that judge by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.place import temporary_place
from benchmarks.writers import Site, check, confirmations, run
from patchbank.inspection.learning.fit import fit
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from tests.fixtures.surfaces import Surfaces

SETTINGS = make_fit_settings(image_size=64)


@pytest.fixture(params=["embedded", "by its URL"])
def site(
    request: pytest.FixtureRequest,
    graphs_home: Path,
    database_url: str,
    surfaces: Surfaces,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Site]:
    """A category learned in an embedded database, or in one by its URL."""
    train = sorted(surfaces.train.iterdir())
    if request.param == "embedded":
        monkeypatch.delenv("PATCHBANK_DATABASE_URL", raising=False)
        with temporary_place() as place:
            fit(place.workspace, "brushed", train, SETTINGS)
            yield Site(place.home, None, "brushed")
        return
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        fit(workspace, "brushed", train, SETTINGS)
    yield Site(graphs_home, database_url, "brushed")


@pytest.mark.serial
def test_no_change_is_lost_and_every_inspection_can_be_repeated(
    site: Site, surfaces: Surfaces
) -> None:
    good, scratched = sorted(surfaces.good.iterdir()), sorted(surfaces.scratched.iterdir())
    writers, readers = run(
        site,
        [*good[:4], *scratched[:4]],
        [*good[4:6], *scratched[4:6]],
        seconds=3,
        least=3,
        readers=2,
    )
    figures = check(site, writers, readers)
    assert figures["changes"] >= 6
    assert figures["versions that judged"] >= 2


@pytest.mark.serial
def test_a_confirmed_false_alarm_passes_elsewhere_within_a_second(
    site: Site, surfaces: Surfaces
) -> None:
    _, from_end = confirmations(site, sorted(surfaces.scratched.iterdir())[:3])
    # Others may use the machine.
    assert min(from_end) < 1.0
