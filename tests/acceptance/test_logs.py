"""What is logged, for whom, and what never reaches the terminal."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from patchbank.store.database import open_database
from tests.fixtures.banks import make_bank
from tests.fixtures.commands import Outcome, finish, start

# A command in which the driver, another library and Python itself have something to say.
_TALKATIVE = """
import logging, warnings
import patchbank.cli.backbones as module
def listing():
    logging.getLogger("psycopg.pool").warning("error connecting to postgresql://u:secret@host")
    logging.getLogger("PIL.TiffImagePlugin").error("odd tag")
    warnings.warn("Corrupt EXIF data")
    logging.getLogger("patchbank.store.pool").info("a \\x1b[2J line\\nof two\\x7f")
    logging.getLogger("patchbank.store.pool").debug("fine print")
    {body}
module.backbones.list_backbones = listing
from patchbank.cli import main
main()
"""


def _talkative(*options: str, home: Path, body: str = "return []", **variables: str) -> Outcome:
    done = subprocess.run(
        [sys.executable, "-c", _TALKATIVE.format(body=body), "backbone", "list", *options],
        env={"PATCHBANK_HOME": str(home), **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return Outcome(done.returncode, done.stdout, done.stderr)


def test_nothing_is_logged_unless_it_is_asked_for(tmp_path: Path) -> None:
    assert _talkative(home=tmp_path).err == ""


def test_verbose_tells_what_patchbank_does_and_nothing_of_libraries(tmp_path: Path) -> None:
    for options in (["--verbose"], ["--json", "--verbose"]):
        lines = _talkative(*options, home=tmp_path).err.splitlines()
        assert lines == ["info     a \\x1b[2J line", "of two\\x7f"]


def test_debug_adds_the_fine_print_and_libraries(tmp_path: Path) -> None:
    shown = _talkative("--debug", home=tmp_path).err
    for text in ("debug    fine print", "error connecting", "odd tag", "Corrupt EXIF data"):
        assert text in shown


def test_a_service_gets_an_object_a_line(tmp_path: Path) -> None:
    began = datetime.now(UTC)
    body = "raise ValueError('odd\\x9b')"
    failed = _talkative(home=tmp_path, body=body, PATCHBANK_LOG="json")
    assert failed.code == 70
    records = [json.loads(line) for line in failed.err.splitlines()]
    assert failed.err.isascii()
    assert "\x7f" not in failed.err
    assert [(one["level"], one["logger"]) for one in records] == [
        ("info", "patchbank.store.pool"),
        ("error", "patchbank"),
    ]
    assert records[0]["message"] == "a \x1b[2J line\nof two\x7f"
    assert records[1]["message"].startswith("internal error: ValueError: odd")
    assert isinstance(records[0]["process"], int)
    logged = datetime.fromisoformat(records[0]["time"])
    assert (logged - began).total_seconds() == pytest.approx(30, abs=30.1)


def test_a_service_gets_the_trace_in_a_record(tmp_path: Path) -> None:
    body = "raise ValueError('odd')"
    failed = _talkative("--debug", home=tmp_path, body=body, PATCHBANK_LOG="json")
    records = [json.loads(line) for line in failed.err.splitlines()]
    (traced,) = [one for one in records if "trace" in one]
    assert "in listing" in traced["trace"]
    assert "psycopg.pool" in {one["logger"] for one in records}


def test_a_service_gets_lines_with_time_level_and_origin(tmp_path: Path) -> None:
    (line,) = _talkative(home=tmp_path, PATCHBANK_LOG="text").err.splitlines()
    time, level, origin, message = line.split(maxsplit=3)
    assert datetime.fromisoformat(time).tzinfo is not None
    assert (level, origin) == ("INFO", "patchbank.store.pool:")
    assert message == r"a \x1b[2J line\nof two\x7f"


def test_an_error_of_the_user_is_a_record_too(tmp_path: Path) -> None:
    failed = finish(start("inspect", "x", tmp_path / "none", home=tmp_path, PATCHBANK_LOG="json"))
    assert failed.code == 2
    record = json.loads(failed.err)
    assert record["level"] == "error"
    assert record["message"].startswith(str(tmp_path / "none"))


def test_a_wrong_form_is_a_line(tmp_path: Path) -> None:
    failed = finish(start("categories", home=tmp_path, PATCHBANK_LOG="xml"))
    assert failed.code == 2
    assert failed.complaint.startswith("PATCHBANK_LOG is 'xml': ")


def test_a_saved_bank_and_its_migrations_are_logged(
    empty_database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="patchbank")
    bank = make_bank()
    with open_database(empty_database_url, tmp_path) as database:
        database.banks.save("tile", bank)
    applied = [one for one in caplog.messages if "applying the migration" in one]
    assert len(applied) >= 7
    (saved,) = [one for one in caplog.records if one.name == "patchbank.store.banks"]
    assert saved.levelno == logging.INFO
    assert saved.getMessage().startswith("category 'tile': saved bank version 1 by fit: ")


def test_no_record_holds_the_password(
    own_database_url: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from psycopg.conninfo import conninfo_to_dict

    password = str(conninfo_to_dict(own_database_url)["password"])
    caplog.set_level(logging.DEBUG)
    open_database(own_database_url, tmp_path).close()
    assert any("connected to" in one for one in caplog.messages)
    assert all(password not in one for one in caplog.messages)


def test_a_program_that_set_up_no_log_sees_none(tmp_path: Path) -> None:
    program = (
        "import logging, patchbank, patchbank.store.failures\n"
        "logging.getLogger('patchbank.store.pool').warning('ours')\n"
        "logging.getLogger('psycopg.pool').warning('the driver')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr == ""
