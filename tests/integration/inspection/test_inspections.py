"""Recorded inspections, as the command and Python list them."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from rich.cells import cell_len

import patchbank as package
from patchbank.errors import ParameterError, UnknownCategoryError
from patchbank.store.database import Database
from patchbank.store.inspections import InspectionRecord
from tests.fixtures.banks import make_bank
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces

HOURS = 60


@pytest.fixture
def recorded(database: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[datetime]:
    """Have an inspection for every hour before the time returned, every tenth failed."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    for name in ("tile", "other"):
        database.banks.save(name, make_bank())
        key = database.banks.active_key(name)
        database.inspections.record_many(
            [
                InspectionRecord(
                    category_id=key.category_id,
                    bank_version=1,
                    image_name=f"{number:02}, «ß».png",
                    sha256=f"{number:064x}",
                    verdict="fail" if number % 10 == 0 else "pass",
                    score=number / 3,
                    pass_below=2.0,
                    fail_above=2.0,
                    p_value=None if number == 1 else 0.25,
                    regions=[{"box_xyxy": [1, 2, 3, 4]}] * (number % 3),
                    similar=[{"image": "good/1.png", "similarity": 0.75, "itself": False}],
                )
                for number in range(1, HOURS + 1)
            ]
        )
    now = datetime.now(UTC).replace(microsecond=0)
    with database.connection() as connection:
        connection.execute(
            "update inspection "
            "set inspected_at = %s - left(image_name, 2)::int * interval '1 hour'",
            [now],
        )
    yield now
    monkeypatch.undo()
    time.tzset()


def test_the_list_ends_with_the_newest(patchbank: Run, recorded: datetime) -> None:
    outcome = patchbank("inspections", "tile")
    assert outcome.code == 0
    heading, *lines = outcome.out.splitlines()
    assert heading.split()[:3] == ["inspected", "verdict", "score"]
    assert len(lines) == 50
    moment = recorded - timedelta(hours=1)
    assert lines[-1].startswith(f"{moment:%Y-%m-%d %H:%M:%S}  pass ")
    assert lines[-1].split()[3:8] == ["0.3333", "2", "-", "1", "1"]
    assert lines[-1].endswith("  01, «ß».png")
    assert outcome.err.strip() == (
        "the last 50 of 60 inspections: 6 failed, 54 passed; times are in UTC; --limit shows more"
    )
    outcome = patchbank("inspections", "tile", "--verdict", "fail", "--since", "35h")
    assert [line.split()[2] for line in outcome.out.splitlines()[1:]] == ["fail"] * 3
    assert outcome.err.strip() == "3 inspections: 3 failed; times are in UTC"
    # Numbers beyond what the database counts to are no error of the database.
    beyond = str(2**64)
    assert len(patchbank("inspections", "tile", "--limit", beyond).out.splitlines()) == 61
    for number in (beyond, f"-{beyond}"):
        outcome = patchbank("inspections", "tile", "--id", number)
        assert (outcome.code, outcome.out) == (0, "")
        assert outcome.err.startswith("no inspections match;")
    outcome = patchbank("inspections", "tile", "--verdict", "review")
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.startswith("no inspections match;")


def test_columns_align_under_wide_characters_and_csv_has_no_formulas(
    patchbank: Run, recorded: datetime, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("update patchbank.inspection set part = 'A1', station = 'line-1'")
        connection.execute(
            "update patchbank.inspection set part = '部品甲', station = '=1+1' where score = ("
            "select max(score) from patchbank.inspection)"
        )
    lines = patchbank("inspections", "tile", "--limit", "60").out.splitlines()
    assert any("部品甲" in line for line in lines)
    assert len({cell_len(line.rsplit("  ", 1)[0]) for line in lines}) == 1
    rows = csv.DictReader(io.StringIO(patchbank("inspections", "tile", "--csv", "-").out))
    assert {row["station"] for row in rows} == {"line-1", "'=1+1"}


def test_csv_json_and_python_agree(
    patchbank: Run, recorded: datetime, tmp_path: Path, database_url: str
) -> None:
    file = tmp_path / "day ä.csv"
    file.write_text("an earlier one")
    link = tmp_path / "link.csv"
    link.symlink_to(file)
    since, until = (recorded - timedelta(hours=hours) for hours in (20, 10))
    period = ("--since", since.isoformat(), "--until", until.isoformat())
    assert patchbank("inspections", "tile", *period, "--csv", link).code == 0
    assert link.is_symlink()
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name, link.name]
    with file.open(encoding="utf-8", newline="") as text:
        rows = list(csv.DictReader(text))
    printed = patchbank("inspections", "tile", *period, "--csv", "-")
    assert list(csv.DictReader(io.StringIO(printed.out))) == rows
    documents = patchbank("inspections", "tile", *period, "--json").documents
    with package.open("tile", home=tmp_path / "home", database_url=database_url) as bank:
        listed = bank.inspections(since=since, until=until, verdict=["pass", "fail"])
        assert [one.image[:2] for one in bank.inspections(verdict="fail", limit=2)] == ["20", "10"]
    assert [one.to_json() for one in listed] == documents
    # From the first moment on, and before the last.
    assert [int(row["image"][:2]) for row in rows] == list(range(20, 10, -1))
    for row, document in zip(rows, documents, strict=True):
        for column in ("image", "category", "verdict", "sha256", "inspected_at"):
            assert row[column] == document[column]
        for column in ("inspection_id", "score", "pass_below", "fail_above", "p_value"):
            assert float(row[column]) == document[column]
        assert int(row["regions"]) == len(document["regions"])
        assert (row["most_similar"], row["similarity"]) == ("good/1.png", "0.75")


def test_what_a_person_reviewed_and_what_waits_for_it(
    patchbank: Run, recorded: datetime, database: Database, database_url: str, tmp_path: Path
) -> None:
    def images(*options: str) -> list[str]:
        documents = patchbank("inspections", "tile", *options, "--json").documents
        return [str(document["image"])[:2] for document in documents]

    numbers = {
        str(document["image"])[:2]: int(str(document["inspection_id"]))
        for document in patchbank("inspections", "tile", "--json").documents
    }
    assert images("--reviewed") == []
    assert images("--unreviewed") == ["60", "50", "40", "30", "20", "10"]
    database.reviews.add("tile", numbers["60"], "good")
    database.reviews.add("tile", numbers["40"], "skip")
    database.reviews.add("tile", numbers["40"], "undone")
    for image in ("20", "07"):
        database.reviews.add("tile", numbers[image], "defect", label="crack")
    database.reviews.add("tile", numbers["60"], "defect", label="dent")
    # Another category's answers do not count, nor do those of an inspection that passed as waiting.
    assert images("--reviewed") == ["60", "20", "07"]
    assert images("--unreviewed") == ["50", "40", "30", "10"]
    assert images("--unreviewed", "--limit", "2") == ["30", "10"]
    assert images("--reviewed", "--verdict", "pass") == ["07"]
    assert images("--reviewed", "--since", "30h") == ["20", "07"]
    listed = patchbank("inspections", "tile", "--reviewed")
    assert [line.split()[8:10] for line in listed.out.splitlines()[1:2]] == [["defect", "dent"]]
    assert listed.err.strip() == "3 inspections: 2 failed, 1 passed; times are in UTC"
    printed = patchbank("inspections", "tile", "--unreviewed", "--csv", "-").out
    assert [row["review"] for row in csv.DictReader(io.StringIO(printed))] == [""] * 4
    assert patchbank("inspections", "other", "--reviewed", "--json").documents == []
    with package.open("tile", home=tmp_path / "home", database_url=database_url) as bank:
        page = bank.inspections(reviewed=False, limit=3)
        assert [item.image[:2] for item in page] == ["40", "30", "10"]
        before = bank.inspections(reviewed=False, limit=3, before=page[0])
        assert [item.image[:2] for item in before] == ["50"]
        assert len(bank.inspections(reviewed=True)) == 3
        assert len(bank.inspections(reviewed=False)) == len(database.reviews.queue("tile"))


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (("--unreviewed", "--verdict", "pass"), "verdict pass: what passed waits for no review"),
        (("--since", "soon"), "since 'soon': not a date or a time; give for example yesterday"),
        (("--since", "1h", "--until", "2h"), "since 1h is not before until 2h"),
        (("--verdict", "bad"), "verdict 'bad': must be one of pass, review, fail"),
        (("--limit", "0"), "--limit 0: give 1 or more"),
        (("--image", "a.png"), "--image: give the number of the inspection too, --id N"),
        (("--id", "9999", "--image", "a.png"), "category 'tile' has no inspection 9999"),
        (("--id", "1", "--image", "a.png"), "the image of inspection 1 (01, «ß».png) is not in"),
        (("--part", " "), "part is empty"),
        (("--csv", "-", "--json"), "--csv and --json: give one of them"),
        (("--csv", "{folder}"), "is a folder; give a file"),
        (("--csv", "{folder}/none/a.csv"), "no such file or directory; give another file"),
        (("--csv", "/dev/null"), "/dev/null is a device or a pipe; give a file, or - for standard"),
    ],
)
def test_bad_input_is_a_line(
    patchbank: Run, recorded: datetime, tmp_path: Path, options: tuple[str, ...], complaint: str
) -> None:
    given = [option.format(folder=tmp_path) for option in options]
    outcome = patchbank("inspections", "tile", *given)
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.complaint
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_whole_or_as_it_was(
    patchbank: Run, recorded: datetime, tmp_path: Path, database_url: str
) -> None:
    file = tmp_path / "day.csv"
    file.write_text("an earlier one")
    with psycopg.connect(database_url) as connection:
        # A row that cannot be read, after others that can.
        connection.execute(
            "update patchbank.inspection set regions = '{}' where image_name like '01%%'"
        )
    outcome = patchbank("inspections", "tile", "--csv", file)
    assert outcome.code == 2
    assert len(outcome.err.splitlines()) == 1
    assert file.read_text() == "an earlier one"
    assert list(tmp_path.iterdir()) == [file]


def test_an_unknown_category_is_named(
    patchbank: Run, recorded: datetime, tmp_path: Path, database_url: str
) -> None:
    assert "did you mean 'tile'?" in patchbank("inspections", "tiles").complaint
    with package.open("tiles", home=tmp_path, database_url=database_url) as bank:
        with pytest.raises(UnknownCategoryError):
            bank.inspections()
        with pytest.raises(ParameterError, match=r"limit 0: must be at least 1"):
            bank.inspections(limit=0)


def test_the_view_shows_all_of_them(database_url: str, recorded: datetime) -> None:
    with psycopg.connect(database_url) as connection:
        rows = connection.execute(
            "select category, verdict, count(*), min(version), count(p_value) "
            "from patchbank.inspections group by 1, 2 order by 1, 2"
        ).fetchall()
    assert rows == [
        ("other", "fail", 6, 1, 6), ("other", "pass", 54, 1, 53),
        ("tile", "fail", 6, 1, 6), ("tile", "pass", 54, 1, 53),
    ]  # fmt: skip


def test_a_record_says_what_the_inspection_said(
    patchbank: Run, learned: Outcome, surfaces: Surfaces
) -> None:
    inspected = patchbank("inspect", "brushed", surfaces.scratched, "--json").documents
    recorded = patchbank("inspections", "brushed", "--json").documents
    assert len(inspected) == len(recorded) > 1
    by_id = {document["inspection_id"]: document for document in recorded}
    for document in inspected:
        record = by_id[document["inspection_id"]]
        moments = [datetime.fromisoformat(one.pop("inspected_at")) for one in (document, record)]
        assert moments[0] == moments[1]
        # Nobody has answered yet.
        assert record.pop("review") is None
        assert record.pop("extractor")["image_size"] == 96
        for name in ("brightness", "sharpness"):
            assert record.pop(name) == pytest.approx(document[name], rel=1e-6)
        timings = document.pop("timings_ms"), record.pop("timings_ms")
        assert timings[0].items() >= timings[1].items()
        assert {name: document[name] for name in record} == record


def test_one_is_shown_with_its_remarks_and_its_extractor(
    patchbank: Run, learned: Outcome, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBANK_MAX_KEPT_IMAGE_MEGABYTES", "0.0001")
    image = min(surfaces.scratched.iterdir())
    (document,) = patchbank("inspect", "brushed", image, "--json").documents
    number = str(document["inspection_id"])
    outcome = patchbank("inspections", "brushed", "--id", number)
    lines = outcome.out.splitlines()
    assert image.name in lines[1]
    assert lines[2:] == [
        "image size   96 x 96 pixels",
        "good parts   24",
        "extractor    efficientnet-lite0, layers blocks.4, blocks.10; 96 pixels; f32",
        f"fingerprint  {document['extractor_fingerprint']}",
        f"actor        {document['actor']}",
    ]
    assert "remark   images of more than 0.0001 MB are not kept" in outcome.err
    # In a list, each has one line.
    assert len(patchbank("inspections", "brushed").out.splitlines()) == 2


def test_pages_follow_one_another_without_gap_or_repeat(
    recorded: datetime, tmp_path: Path, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        # Many at the same moment, as in one transaction: the number decides.
        connection.execute("update patchbank.inspection set inspected_at = %s", [recorded])
    with package.open("tile", home=tmp_path, database_url=database_url) as bank:
        everything = bank.inspections()
        for verdict, total in ((("pass", "fail"), HOURS), (("fail",), 6), (("review",), 0)):
            pages: list[package.RecordedInspection] = []
            before = None
            while page := bank.inspections(verdict=verdict, limit=7, before=before):
                assert len(page) <= 7
                pages[:0] = page
                before = page[0]
            assert pages == [one for one in everything if one.verdict in verdict]
            assert len(pages) == total


def test_parts_and_stations_select(
    patchbank: Run, recorded: datetime, tmp_path: Path, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "update patchbank.inspection set part = 'SN ' || inspection_id % 20,"
            " station = case when inspection_id <= 40 then 'line-1' else 'line-2' end"
        )
    found = patchbank("inspections", "tile", "--part", "SN 3", "--station", "line-1", "--json")
    assert [document["inspection_id"] for document in found.documents] == [23, 3]
    assert {document["part"] for document in found.documents} == {"SN 3"}
    listed = patchbank("inspections", "tile", "--part", "SN 3")
    heading, *lines = listed.out.splitlines()
    assert heading.split()[-4:] == ["id", "part", "station", "image"]
    assert [line.split()[-3] for line in lines] == ["line-2", "line-1", "line-1"]
    assert listed.err.startswith("3 inspections: 3 passed")
    rows = patchbank("inspections", "tile", "--station", "line-2", "--csv", "-").out
    assert [row["station"] for row in csv.DictReader(io.StringIO(rows))] == ["line-2"] * 20
    assert patchbank("inspections", "tile", "--id", "7", "--json").document["inspection_id"] == 7
    assert patchbank("inspections", "other", "--id", "7").err.startswith("no inspections match;")
    with package.open("tile", home=tmp_path, database_url=database_url) as bank:
        last = bank.inspections(station="line-1", limit=1)
        assert [one.station for one in last] == ["line-1"]


def test_a_kept_image_comes_out_as_it_was(
    patchbank: Run, learned: Outcome, surfaces: Surfaces, tmp_path: Path, database_url: str
) -> None:
    image = sorted(surfaces.scratched.iterdir())[0]
    inspection = patchbank("inspect", "brushed", image, "--json").document
    assert inspection["image_kept"]
    number, file = str(inspection["inspection_id"]), tmp_path / "out.png"
    outcome = patchbank("inspections", "brushed", "--id", number, "--image", file)
    assert outcome.code == 0
    assert file.read_bytes() == image.read_bytes()
    again = patchbank("inspect", "brushed", file, "--no-record", "--json").document
    assert again["score"] == inspection["score"]
    refused = patchbank("inspections", "brushed", "--id", number, "--image", file)
    assert (refused.code, refused.complaint.endswith("exists; give another file")) == (2, True)
    with package.open("brushed", home=tmp_path, database_url=database_url) as bank:
        assert bank.inspected_image(int(number)) == image.read_bytes()


def test_a_list_of_the_last_ones_does_not_count_all(
    patchbank: Run, recorded: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchbank.store.inspections.MOST_COUNTED", 20)
    monkeypatch.setattr("patchbank.inspection.keeping.inspections.MOST_COUNTED", 20)
    outcome = patchbank("inspections", "tile", "--limit", "30")
    assert len(outcome.out.splitlines()) == 31
    said = "the last 30 of more than 26 inspections: 6 failed, more than 20 passed; times are in"
    assert outcome.err.startswith(said)
    outcome = patchbank("inspections", "tile", "--csv", "-")
    assert outcome.err.startswith("60 inspections: 6 failed, 54 passed;")
