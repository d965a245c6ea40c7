"""What a person at a terminal sees, and what a pipe beside it gets."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path

from tests.fixtures.commands import Outcome, Run, start
from tests.fixtures.surfaces import Surfaces
from tests.fixtures.terminal import Terminal

SMALL = ("--image-size", "96")


def at_a_terminal(
    *arguments: str | Path, home: Path, url: str, out: Path | None = None
) -> tuple[int, str]:
    """Run a command with a terminal on standard error, and on standard output unless `out`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PATCHBANK_")}
    environment |= {
        "PATCHBANK_HOME": str(home),
        "PATCHBANK_DATABASE_URL": url,
        "TERM": "xterm-256color",
        "COLUMNS": "120",
    }
    ours, theirs = pty.openpty()
    target = theirs if out is None else os.open(out, os.O_WRONLY | os.O_CREAT)
    process = subprocess.Popen(
        [sys.executable, "-m", "patchbank", *map(str, arguments)],
        stdin=theirs, stdout=target, stderr=theirs, env=environment,
    )  # fmt: skip
    os.close(theirs)
    if out is not None:
        os.close(target)
    seen = b""
    while True:
        try:
            read = os.read(ours, 65536)
        except OSError:  # the terminal has no writer any more
            break
        if not read:
            break
        seen += read
    os.close(ours)
    return process.wait(timeout=60), seen.decode()


def test_progress_is_shown_and_results_still_reach_the_file(
    learned: Outcome, surfaces: Surfaces, graphs_home: Path, database_url: str, tmp_path: Path
) -> None:
    out = tmp_path / "results.jsonl"
    code, seen = at_a_terminal(
        "inspect", "brushed", surfaces.scratched, "--json",
        home=graphs_home, url=database_url, out=out,
    )  # fmt: skip
    assert code == 1
    assert [json.loads(line)["verdict"] for line in out.read_text().splitlines()] == ["fail"] * 8
    assert "8/8" in seen
    assert '"verdict"' not in seen


def test_results_at_a_terminal_are_not_drawn_over(
    learned: Outcome, surfaces: Surfaces, graphs_home: Path, database_url: str
) -> None:
    code, seen = at_a_terminal(
        "inspect", "brushed", surfaces.scratched, "--json", home=graphs_home, url=database_url
    )
    assert code == 1
    assert seen.count('"verdict": "fail"') == 8
    assert "8/8" not in seen


def test_a_list_at_a_terminal_follows_the_progress(
    learned: Outcome, surfaces: Surfaces, graphs_home: Path, database_url: str
) -> None:
    code, seen = at_a_terminal(
        "inspect", "brushed", surfaces.scratched, home=graphs_home, url=database_url
    )
    assert code == 1
    bars, shown = seen[: seen.index("FAIL")], seen[seen.index("FAIL") :]
    assert "8/8" in bars
    assert "8/8" not in shown
    assert shown.count("FAIL") == 8
    assert shown.index("8 of 8 failed") > shown.rindex("FAIL")


def test_a_fit_at_a_terminal_shows_its_stages(
    surfaces: Surfaces, graphs_home: Path, database_url: str
) -> None:
    code, seen = at_a_terminal(
        "fit", "brushed", surfaces.train, *SMALL, home=graphs_home, url=database_url
    )
    assert code == 0
    for stage in ("features", "coreset", "calibrate"):
        assert stage in seen
    assert "24/24" in seen
    assert "24 used" in seen


def test_names_are_printed_as_they_are(
    learned: Outcome, patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    content = (surfaces.scratched / "000.png").read_bytes()
    names = ["part[red].png", "x[/y].png", "lot:100:a.png", "ünïcode 部品.png", "two\nlines.png"]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    latin = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    Path(latin).write_bytes(content)
    shown = patchbank("inspect", "brushed", tmp_path, "--top", "1")
    assert shown.code == 1
    for name in names[:4]:
        assert name in shown.out
    assert "caf\\xe9.png" in shown.out
    found = patchbank("inspect", "brushed", tmp_path, "--json")
    assert found.code == 1
    inspected = {one["image"].removeprefix(f"{tmp_path}/") for one in found.documents}
    assert inspected == {*names, "caf\\xe9.png"}


def test_an_error_spells_a_name_as_results_do(patchbank: Run) -> None:
    missing = patchbank("inspect", "brushed", "two\nlines.png")
    assert missing.complaint.startswith(r"two\nlines.png does not exist")


def test_a_reader_that_leaves_is_no_error(
    surfaces: Surfaces, graphs_home: Path, database_url: str, learned: Outcome
) -> None:
    paths = [surfaces.good, surfaces.scratched, surfaces.train]
    process = start("inspect", "brushed", *paths, "--json", home=graphs_home, url=database_url)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == ""
    process.stderr.close()
    # Neither "all pass" nor "one failed": it did not get to say.
    assert process.wait(timeout=60) == 141


def test_a_category_is_printed_as_it_is(patchbank: Run, surfaces: Surfaces) -> None:
    assert patchbank("fit", "[red]x:100:", surfaces.train, *SMALL).code == 0
    assert "[red]x:100:" in patchbank("categories").out


def test_help_shows_the_defaults(patchbank: Run) -> None:
    shown = " ".join(patchbank("fit", "--help").out.replace("│", " ").split())
    ratio = "0.1, and in tiles at most 25,000 patches"
    for default in ("efficientnet-lite0", ratio, "0.01", "f32"):
        assert f"[default: {default}]" in shown


def test_an_addition_is_shown_and_asked_for(
    learned: Outcome,
    surfaces: Surfaces,
    graphs_home: Path,
    database_url: str,
    patchbank: Run,
    tmp_path: Path,
) -> None:
    good = sorted(surfaces.good.iterdir())[:2]
    nothing = tmp_path / "nothing.png"
    nothing.write_text("no image")
    for key, expected in (("n\n", 1), ("y\n", 2)):
        terminal = Terminal("add", "brushed", *good, nothing, home=graphs_home, url=database_url)
        shown = terminal.wait_for("Add 2 images to brushed? [y/N]: ")
        assert "refused  " in shown
        assert "would add    2 images" in shown
        assert "as before" in shown or "before: threshold" in shown
        assert "no inspection is recorded" in shown
        terminal.press(key)
        assert terminal.end() == 0
        # What was shown is not said again.
        assert terminal.seen.count("refused  ") == 1
        assert terminal.seen.count("no inspection is recorded") == 1
        assert ("brushed: version 1, unchanged" in terminal.seen) == (expected == 1)
        assert patchbank("show", "brushed", "--json").document["bank_version"] == expected
