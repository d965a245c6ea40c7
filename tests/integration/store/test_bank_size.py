"""What a bank takes of the disk, and what is refused where that is not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

import patchbank
from patchbank.errors import DiskFullError
from patchbank.store.bank_size import bytes_of
from patchbank.store.database import Database, open_database
from patchbank.store.embedded.room import Room
from patchbank.store.embedded.server import EmbeddedServer
from tests.fixtures.banks import make_bank, make_image


def stored(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("select pg_database_size(current_database())").fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("patches", "dimensions", "images", "embedding", "thumbnail"),
    [
        (8000, 64, 20, 640, 5000),
        (4000, 152, 50, 608, 12_000),
        (1500, 448, 50, 1000, 100),
        (800, 1024, 20, 1900, 20_000),
        (800, 1536, 100, 1536, 9000),
        (500, 2500, 10, 1900, 3000),
        (4, 16, 300, 64, 12_000),
    ],
)
def test_the_estimate_is_near_what_is_stored(
    database: Database,
    patches: int,
    dimensions: int,
    images: int,
    embedding: int,
    thumbnail: int,
) -> None:
    bank = make_bank(
        patches=patches,
        dimensions=dimensions,
        image_count=images,
        embedding_dimensions=embedding,
        images=[
            make_image(f"good/{number:04}.png", thumbnail=os.urandom(thumbnail))
            for number in range(images)
        ],
    )
    before = stored(database)
    database.banks.save("part", bank)
    taken = stored(database) - before
    assert 1.0 <= bytes_of(bank) / taken < 1.3


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the embedded server's disk have 200 MB, of which its log needs 180."""
    monkeypatch.setattr(EmbeddedServer, "room", lambda _: Room(200_000_000, 180_000_000))


@pytest.mark.usefixtures("small_disk")
def test_a_fit_that_does_not_fit_is_refused_before_the_work(
    embedded_server: EmbeddedServer, tmp_path: Path
) -> None:
    # Images that are not there: nobody has looked for them when the fit is refused.
    images = [tmp_path / f"{number}.png" for number in range(1000)]
    with (
        patchbank.open("part", home=embedded_server.home) as bank,
        pytest.raises(DiskFullError) as caught,
    ):
        bank.fit(images)
    message = str(caught.value)
    assert "the bank needs about" in message
    assert f"on the disk of {embedded_server.home}" in message
    assert "where 20.0 MB of 200.0 MB free can be used" in message
    assert "set PATCHBANK_HOME" in message


@pytest.mark.usefixtures("small_disk")
def test_no_bank_is_saved_that_has_no_room(embedded_server: EmbeddedServer) -> None:
    with open_database(None, embedded_server.home) as database:
        with pytest.raises(DiskFullError, match="the bank needs about"):
            database.banks.save("large", make_bank(patches=4000, dimensions=1536))
        # What has room is saved as ever.
        assert database.banks.save("small", make_bank()) == 1


@pytest.mark.usefixtures("small_disk")
def test_the_disk_of_another_server_is_not_looked_at(database: Database) -> None:
    assert database.banks.save("large", make_bank(patches=4000, dimensions=1536)) == 1
