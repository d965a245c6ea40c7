"""Every bad input gets one line and exit code 2, and nothing is written."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from PIL import Image

from tests.fixtures.commands import Outcome, Run, finish, start
from tests.fixtures.surfaces import Surfaces, brushed

SMALL = ("--image-size", "96")


def bomb(path: Path) -> None:
    """Write the header of a 30,000 x 30,000 PNG with a little data: 900 million pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    data = zlib.compress(bytes(1_000_000), 9)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    )


def truncated(path: Path) -> None:
    Image.fromarray(brushed(0)).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:600])


BAD_IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "text.png": (lambda path: path.write_text("just text"), "not an image"),
    "truncated.jpg": (truncated, "truncated"),
    "empty.png": (lambda path: path.touch(), "empty"),
    "tiny.png": (lambda path: Image.new("RGB", (1, 1)).save(path), "1 x 1"),
    "bomb.png": (bomb, "pixels"),
    "black.png": (lambda path: Image.new("L", (96, 96)).save(path), "shows nothing"),
}


@pytest.fixture(params=BAD_IMAGES)
def bad_image(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    write, word = BAD_IMAGES[request.param]
    path = tmp_path / request.param
    write(path)
    return path, word


def stored(url: str) -> int:
    """Return the number of rows in the tables a fit writes to."""
    tables = ("category", "bank", "image", "reference", "patch", "inspection", "event")
    with psycopg.connect(url) as connection:
        total = 0
        for table in tables:
            row = connection.execute(f"select count(*) from patchbank.{table}".encode()).fetchone()
            assert row is not None
            total += row[0]
    return total


def test_a_bad_image_cannot_be_learned(
    patchbank: Run, bad_image: tuple[Path, str], database_url: str
) -> None:
    path, word = bad_image
    outcome = patchbank("fit", "parts", path, *SMALL, "--json")
    assert outcome.code == 2
    assert path.name in outcome.complaint
    assert word in outcome.complaint
    assert outcome.out == ""
    assert stored(database_url) == 0


def test_a_bad_image_cannot_be_inspected(
    learned: Outcome,
    patchbank: Run,
    surfaces: Surfaces,
    bad_image: tuple[Path, str],
    database_url: str,
) -> None:
    before = stored(database_url)
    path, word = bad_image
    for command in ("inspect", "search"):
        outcome = patchbank(command, "brushed", path)
        assert outcome.code == 2
        assert path.name in outcome.complaint
        assert word in outcome.complaint
    assert stored(database_url) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--backbone", "efficientnet-lite9"), ["efficientnet-lite9", "efficientnet-lite0"]),
        (("--layers", "blocks.99"), ["blocks.99"]),
        (("--layers", "blocks.4,,stem"), ["stem"]),
        (("--layers", " , "), ["layers"]),
        (("--coreset-ratio", "0"), ["coreset ratio 0", "above 0"]),
        (("--coreset-ratio", "2"), ["coreset ratio 2", "at most 1"]),
        (("--coreset-ratio", "nan"), ["coreset ratio nan"]),
        (("--image-size", "3"), ["is 3", "32"]),
        (("--image-size", "128", "--center-crop", "200"), ["200", "128"]),
        (("--score", "mean"), ["mean", "top1percent"]),
        (("--false-alarm-rate", "0"), ["false-alarm rate 0"]),
        (("--false-alarm-rate", "1.5"), ["false-alarm rate 1.5"]),
    ],
)
def test_a_wrong_setting_is_named(
    patchbank: Run,
    surfaces: Surfaces,
    database_url: str,
    options: tuple[str, ...],
    words: list[str],
) -> None:
    outcome = patchbank("fit", "brushed", surfaces.train, *options)
    assert outcome.code == 2
    for word in words:
        assert word in outcome.complaint
    assert stored(database_url) == 0


def test_there_must_be_images(patchbank: Run, tmp_path: Path, database_url: str) -> None:
    (tmp_path / "readme.txt").write_text("no pictures here")
    for path in (tmp_path, tmp_path / "*.png", tmp_path / "missing"):
        outcome = patchbank("fit", "parts", path)
        assert outcome.code == 2
        assert str(path) in outcome.complaint
    assert stored(database_url) == 0


def test_one_image_is_too_few(patchbank: Run, surfaces: Surfaces, database_url: str) -> None:
    outcome = patchbank("fit", "brushed", surfaces.train / "000.png", *SMALL)
    assert outcome.code == 2
    assert "at least 5 good images are needed; add 4 more, or --force" in outcome.complaint
    outcome = patchbank("fit", "brushed", surfaces.train / "000.png", *SMALL, "--force")
    assert outcome.code == 2
    assert "at least 2 good images are needed; add 1 more" in outcome.complaint
    assert stored(database_url) == 0


@pytest.mark.parametrize("name", ["", " ", "a/b", "..", "x" * 101, "a\nb"])
def test_a_category_needs_a_proper_name(
    patchbank: Run, surfaces: Surfaces, database_url: str, name: str
) -> None:
    outcome = patchbank("fit", name, surfaces.train)
    assert outcome.code == 2
    assert "name" in outcome.complaint
    assert stored(database_url) == 0


@pytest.mark.parametrize(
    "arguments",
    [("inspect", "unknown", "IMAGE"), ("search", "unknown", "IMAGE"), ("show", "unknown"),
     ("remove", "unknown", "--yes")],
)  # fmt: skip
def test_an_unknown_category_is_named(
    patchbank: Run, surfaces: Surfaces, arguments: tuple[str, ...]
) -> None:
    image = str(surfaces.good / "000.png")
    outcome = patchbank(*(image if one == "IMAGE" else one for one in arguments))
    assert outcome.code == 2
    assert "'unknown'" in outcome.complaint
    assert "patchbank categories" in outcome.complaint


def test_a_bank_of_another_extractor_is_refused(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        # As if the bank came from a patchbank whose features differ.
        connection.execute("update patchbank.bank set extractor_fingerprint = 'another'")
    outcome = patchbank("inspect", "brushed", surfaces.good / "000.png")
    assert outcome.code == 2
    assert "another version of the feature code" in outcome.complaint
    assert "fit the category again" in outcome.complaint


def test_a_layout_mistake_is_explained(patchbank: Run, tmp_path: Path) -> None:
    (tmp_path / "leather" / "good").mkdir(parents=True)
    Image.fromarray(brushed(0)).save(tmp_path / "leather" / "good" / "0.png")
    for arguments in ((), ("--category", "leather"), ("--category", "lether")):
        outcome = patchbank("evaluate", tmp_path, *arguments)
        assert outcome.code == 2
        assert str(tmp_path) in outcome.complaint


def test_an_unreachable_database_is_named_before_any_work(
    patchbank: Run, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "postgresql://inspector:secret@127.0.0.1:1/patchbank"
    monkeypatch.setenv("PATCHBANK_DATABASE_URL", url)
    outcome = patchbank("fit", "brushed", surfaces.train)
    assert outcome.code == 2
    for word in ("127.0.0.1", "port 1", "inspector", "patchbank"):
        assert word in outcome.complaint
    assert "secret" not in outcome.err
    doctor = patchbank("doctor", "--json")
    assert doctor.code == 2
    (database,) = (one for one in doctor.document["findings"] if one["name"] == "database")
    assert not database["healthy"]


def test_a_full_disk_is_said_and_the_old_bank_stays(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, database_url: str
) -> None:
    before = stored(database_url)
    with psycopg.connect(database_url) as connection:
        # The server's own complaint of a full disk, in the middle of storing the bank.
        connection.execute(
            "create function full_disk() returns trigger language plpgsql as $$ begin"
            " raise exception 'could not extend file: No space left on device'"
            " using errcode = 'disk_full'; end $$;"
            " create trigger full_disk before insert on patchbank.patch"
            " execute function full_disk();"
        )
    outcome = patchbank("fit", "brushed", surfaces.train, *SMALL)
    assert outcome.code == 2
    assert "no space left" in outcome.complaint.lower()
    assert stored(database_url) == before
    assert patchbank("show", "brushed", "--json").document["bank_version"] == 1


def test_a_database_without_pgvector_is_named(
    patchbank: Run,
    surfaces: Surfaces,
    empty_database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        connection.execute("create role visitor login")
    try:
        # A user who may not install what the database lacks.
        url = empty_database_url.replace("//patchbank@", "//visitor@")
        assert url != empty_database_url
        monkeypatch.setenv("PATCHBANK_DATABASE_URL", url)
        outcome = patchbank("fit", "brushed", surfaces.train)
        assert outcome.code == 2
        assert "pgvector" in outcome.complaint or "extension" in outcome.complaint
    finally:
        with psycopg.connect(empty_database_url, autocommit=True) as connection:
            connection.execute("drop role visitor")


def test_a_home_that_cannot_be_written_is_named(surfaces: Surfaces, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    home = tmp_path / "file" / "home"
    outcome = finish(start("fit", "brushed", surfaces.train, home=home))
    assert outcome.code == 2
    assert str(home) in outcome.complaint


def test_a_heatmap_folder_that_cannot_be_written_is_named(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / "file"
    outcome = patchbank("inspect", "brushed", surfaces.good / "000.png", "--heatmaps", folder)
    assert outcome.code == 2
    assert str(folder) in outcome.complaint


def test_a_name_of_any_length_has_a_heatmap(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    image = tmp_path / f"{'ü' * 125}.png"
    image.write_bytes((surfaces.good / "000.png").read_bytes())
    outcome = patchbank("inspect", "brushed", image, "--heatmaps", tmp_path / "maps", "--json")
    assert Path(outcome.document["heatmap"]).is_file()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("fit",), "missing argument 'category'"),
        (("inspect", "x"), "missing argument 'PATH...'"),
        (("nonsense",), "no such command 'nonsense'"),
        (("inspect", "x", "y", "--nonsense"), "no such option: --nonsense"),
        (("search", "x", "y", "--top", "0"), "--top 0: give 1 or more; see"),
        (("inspect", "x", "y", "--top", "-1"), "--top -1: give 0 or more; see"),
        (("inspect", "x", "y", "--top", "2000"), "--top 2000: give 1000 or less; see"),
        (("inspect", "x", "y", "--top", "few"), "--top few: give a whole number; see"),
        (("inspect", "x", "y", "--top"), "'--top' requires an argument; see patchbank inspect"),
        (("index", "x", "--ef-search", "5000"), "--ef-search 5000: give 1000 or less; see"),
        (("defects", "add", "x", "--synthetic", "0"), "--synthetic 0: give 1 or more; see"),
        (("fit", "x", "y", "--coreset-ratio", "some"), "--coreset-ratio some: give a number; see"),
        (("fit", "x", "y", "--score", "best"), "'best' is not one of 'max', 'top8', 'top1percent'"),
    ],
)
def test_a_mistake_in_the_options_is_one_line(
    patchbank: Run, arguments: tuple[str, ...], words: str
) -> None:
    outcome = patchbank(*arguments)
    assert outcome.code == 2
    assert words in outcome.complaint
    assert outcome.complaint.endswith(" --help")


@pytest.mark.parametrize(
    ("option", "value"), [("--ef-search", "50"), ("--type", "vector"), ("--metric", "l2")]
)
def test_options_of_a_new_index_are_refused_when_indexes_are_removed(
    patchbank: Run, option: str, value: str
) -> None:
    outcome = patchbank("index", "x", option, value, "--remove")
    assert outcome.code == 2
    assert outcome.complaint == f"{option} cannot be used with --remove; leave one of them out"
