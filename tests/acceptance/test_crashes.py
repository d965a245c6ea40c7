"""How commands end when what must not happen does: a line and a code, never a trace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.fixtures.commands import Outcome, Run, finish, start
from tests.fixtures.surfaces import Surfaces

SMALL = ("--image-size", "96")

# Replaces a piece of the program by one that fails, as a defect would.
DEFECT = """
import sys
import patchbank.cli.backbones as module
def fail():
    {body}
module.backbones.list_backbones = fail
from patchbank.cli import main
main()
"""


def run_with_defect(body: str, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PATCHBANK_")}
    return subprocess.run(
        [sys.executable, "-c", DEFECT.format(body=body), "backbone", "list", *arguments],
        env=environment | {"PATCHBANK_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("body", "code", "said"),
    [
        ("raise ValueError('odd\\x1b[2J')", 70, "ValueError: odd\\x1b[2J"),
        ("raise ValueError('on\\ntwo lines')", 70, "ValueError: on two lines"),
        ("fail()", 70, "RecursionError"),
        ("raise ConnectionResetError", 70, "ConnectionResetError"),
        ("assert False", 70, "AssertionError"),
        ("raise MemoryError", 2, "not enough memory"),
        ("raise ImportError('x.so: failed to map segment from shared object')", 2, "ulimit -v"),
        ("raise RuntimeError('plugin.cpp:74: std::bad_alloc')", 2, "not enough memory"),
        ('raise RuntimeError("can\'t start new thread")', 2, "not enough memory"),
        ("raise OSError('no such library') from MemoryError()", 2, "not enough memory"),
        (
            "import os, tempfile; gone = tempfile.mkdtemp(); os.chdir(gone); os.rmdir(gone); "
            "os.getcwd()",
            2,
            "the current folder is gone",
        ),
    ],
)
def test_a_defect_of_ours_is_a_line_and_a_code_of_its_own(
    body: str, code: int, said: str, tmp_path: Path
) -> None:
    done = run_with_defect(body, home=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("patchbank: ")
    assert said in line
    assert ("--debug" in line) == (code == 70)


def test_the_trace_is_shown_where_it_is_asked_for(tmp_path: Path) -> None:
    done = run_with_defect("raise ValueError('odd\\x1b[2J')", "--debug", home=tmp_path)
    assert done.returncode == 70
    assert "Traceback" in done.stderr
    assert "in fail" in done.stderr
    assert "\x1b" not in done.stderr


def test_a_defect_in_a_thread_is_a_line(tmp_path: Path) -> None:
    body = (
        "import threading; thread = threading.Thread(target=lambda: 1 / 0); thread.start(); "
        "thread.join(); return []"
    )
    done = run_with_defect(body, home=tmp_path)
    (line,) = done.stderr.splitlines()
    assert "internal error: ZeroDivisionError" in line


@pytest.mark.parametrize(
    "arguments", [("--help",), ("--version",), ("backbone", "list"), ("backbone", "list", "--json")]
)
def test_a_full_disk_under_the_output_is_a_line(arguments: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "patchbank", *arguments],
            stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60,
            env=os.environ | {"PATCHBANK_HOME": str(tmp_path)},
        )  # fmt: skip
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("patchbank: standard output cannot be written: no space left on device")


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("reader", ["full disk", "gone"])
def test_messages_that_cannot_be_written_change_no_result(
    tmp_path: Path, reader: str, unbuffered: str
) -> None:
    if reader == "gone":
        reading, writing = os.pipe()
        os.close(reading)
    else:
        writing = os.open("/dev/full", os.O_WRONLY)
    with os.fdopen(writing, "wb") as stream:
        done = subprocess.run(
            [sys.executable, "-m", "patchbank", "inspect", "nothing", tmp_path / "none"],
            stdout=subprocess.PIPE, stderr=stream, check=False, timeout=60,
            env=os.environ | {"PATCHBANK_HOME": str(tmp_path), "PYTHONUNBUFFERED": unbuffered},
        )  # fmt: skip
    assert done.returncode == 2


@pytest.fixture
def odd_names(patchbank: Run, surfaces: Surfaces, tmp_path: Path) -> list[str]:
    """A category, and images of it whose names a terminal would obey; returns those."""
    assert patchbank("fit", "bürste", surfaces.train, *SMALL).code == 0
    names = ["\x1b[2Jfail.png", "\u202egnp.liaf.png", "a\u2028b\x9b.png", "部品\u200b.png"]
    for picture, name in zip(sorted(surfaces.scratched.iterdir()), names, strict=False):
        (tmp_path / name).write_bytes(picture.read_bytes())
    return names


# Each line in its encoding, as PYTHONIOENCODING would set it, in a process that starts only once.
ENCODED = """
import io, json, sys
from patchbank.cli import main
for encoding, file, *arguments in json.loads(sys.stdin.read()):
    name, _, errors = encoding.partition(":")
    sys.stdout = io.TextIOWrapper(open(file, "wb"), encoding=name, errors=errors or "strict")
    sys.argv = ["patchbank", *arguments]
    try:
        main()
    except SystemExit as end:
        sys.stdout.close()
        with open(file + ".code", "w") as code:
            code.write(str(end.code or 0))
"""


def test_output_that_is_not_utf_8_is_escaped(
    odd_names: list[str],
    graphs_home: Path,
    database_url: str,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    encodings = ("ascii", "cp1252:strict", "utf-8")
    inspect = ("inspect", "bürste", str(tmp_path))
    lines: list[tuple[str, ...]] = [
        *((encoding, *inspect, "--top", "1") for encoding in encodings),
        *((encoding, *inspect, "--json") for encoding in encodings),
        ("ascii", "categories"),
    ]
    folder = tmp_path_factory.mktemp("outputs")
    files = [folder / str(number) for number in range(len(lines))]
    asked = [(line[0], str(file), *line[1:]) for file, line in zip(files, lines, strict=True)]
    process = subprocess.run(
        [sys.executable, "-c", ENCODED],
        input=json.dumps(asked).encode(),
        capture_output=True,
        check=True,
        timeout=120,
        env=os.environ
        | {"PATCHBANK_HOME": str(graphs_home), "PATCHBANK_DATABASE_URL": database_url},
    )
    assert process.stderr == b""
    said = [
        file.read_bytes().decode(line[0].partition(":")[0])
        for file, line in zip(files, lines, strict=True)
    ]
    codes = [int(Path(f"{file}.code").read_text()) for file in files]
    assert codes == [1] * 6 + [0]
    for shown in said[:3]:
        assert r"\u202egnp.liaf" in shown
        assert "FAIL   " in shown
        assert all(character.isprintable() or character == "\n" for character in shown)
    for encoding, found in zip(encodings, said[3:6], strict=True):
        assert found.isascii() == (encoding != "utf-8")
        assert all(character.isprintable() or character == "\n" for character in found)
        documents = [json.loads(line) for line in found.splitlines()]
        assert {one["image"].rpartition("/")[2] for one in documents} == set(odd_names)
    assert r"b\xfcrste" in said[6]


def test_names_in_lists_are_escaped(odd_names: list[str], patchbank: Run, tmp_path: Path) -> None:
    # As `printable` would write them.
    shown = [r"\x1b[2Jfail.png", r"\u202egnp.liaf.png", r"a\u2028b\x9b.png", r"部品\u200b.png"]
    refused = patchbank("defects", "add", "bürste", tmp_path, "--label", "cr\u202eack\x1b[0m")
    assert refused.code == 2
    assert r"cr\u202eack\x1b[0m" in refused.err
    added = patchbank("defects", "add", "bürste", tmp_path, "--label", "crack")
    listed = patchbank("defects", "list", "bürste")
    found = patchbank(
        "search", "bürste", tmp_path / odd_names[0], "--among", "defects", "--metric", "l2"
    )
    for outcome in (added, listed, found):
        assert outcome.code == 0
        assert all(character.isprintable() or character == "\n" for character in outcome.out)
        for name in shown:
            assert name in outcome.out


def test_an_option_called_like_an_escape_is_shown_escaped(graphs_home: Path) -> None:
    said = finish(start("inspect", "x", "--\x1b]0;owned\x07", home=graphs_home))
    assert said.code == 2
    assert r"--\x1b]0;owned\x07" in said.complaint


@pytest.mark.parametrize(
    "change",
    [
        "update patchbank.bank set settings = jsonb_set(settings, '{smoothing_sigma}', '1e308')",
        """update patchbank.bank set settings = settings || '{"unheard_of": 1}'""",
        "update patchbank.calibration_score set score = 'infinity'",
        "update patchbank.calibration_score set map_maximum = 'nan'",
        "update patchbank.calibration_score set counts = false",
    ],
)
def test_a_bank_with_values_that_cannot_be_is_a_line(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, database_url: str, change: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(change.encode())
    refused = patchbank("inspect", "brushed", surfaces.scratched)
    assert refused.code == 2
    assert len(refused.complaint) < 200


def test_an_infinite_radius_is_null_in_json(
    learned: Outcome, patchbank: Run, database_url: str
) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute(b"update patchbank.bank set covering_radius = 'infinity'")
    assert patchbank("show", "brushed", "--json").document["covering_radius"] is None
