"""`patchbank review` at a terminal and in scripts."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces
from tests.fixtures.terminal import Terminal

SCRATCHES = 4


@pytest.fixture
def inspected(learned: Outcome, patchbank: Run, surfaces: Surfaces) -> list[str]:
    """Four images that failed."""
    paths = [str(path) for path in sorted(surfaces.scratched.iterdir())[:SCRATCHES]]
    assert patchbank("inspect", "brushed", *paths).code == 1
    return paths


def test_keys_answer_and_undo(
    inspected: list[str], patchbank: Run, graphs_home: Path, database_url: str, tmp_path: Path
) -> None:
    terminal = Terminal(
        "review", "brushed", "--heatmaps", tmp_path / "maps", home=graphs_home, url=database_url
    )
    shown = terminal.wait_for("q quit: ")
    assert "1 of 4" in shown
    assert inspected[0] in shown
    assert re.search(r"heatmap .*/maps/000-\w+\.png", shown)
    # It fails: the first key is not enough, and another is an answer.
    terminal.press("g")
    foreseen = terminal.wait_for("n no: ")
    assert "fails, " in foreseen
    assert "would add 1 image with " in foreseen
    assert "of the last 4 inspections (judged again)" in foreseen
    terminal.press("n")
    terminal.wait_for("q quit: ")
    terminal.press("d")
    terminal.wait_for("label: ")
    terminal.press("long scratch\n")
    assert "2 of 4" in terminal.wait_for("q quit: ")
    # A known label is completed.
    terminal.press("d")
    terminal.wait_for("label (long scratch): ")
    terminal.press("lo\t\n")
    assert "3 of 4" in terminal.wait_for("q quit: ")
    terminal.press("u")
    assert "2 of 4" in terminal.wait_for("q quit: ")
    terminal.press("s")
    assert "3 of 4" in terminal.wait_for("q quit: ")
    terminal.press("g")
    terminal.wait_for("n no: ")
    terminal.press("y")
    assert "4 of 4" in terminal.wait_for("q quit: ")
    terminal.press("q")
    assert terminal.end() == 0
    assert f"{inspected[2]}: added to the bank" in terminal.seen
    assert "3 answers; 1 inspection left to review" in terminal.seen
    (defect,) = patchbank("defects", "list", "brushed", "--json").documents
    assert (defect["name"], defect["label"]) == (inspected[0], "long scratch")
    left = patchbank("review", "brushed", "--list", "--json").documents
    assert [item["image"] for item in left] == [inspected[3]]
    assert patchbank("inspect", "brushed", inspected[2], "--no-record").code == 0
    assert len(list((tmp_path / "maps").iterdir())) == 4


def test_scripts_list_answer_and_undo(inspected: list[str], patchbank: Run) -> None:
    listed = patchbank("review", "brushed", "--list")
    assert [line.split()[-1] for line in listed.out.splitlines()] == inspected
    assert "4 inspections to review" in listed.err
    first, second, *_ = patchbank("review", "brushed", "--list", "--json").documents
    number = str(first["inspection_id"])
    refused = patchbank("review", "brushed", "--inspection", number, "--answer", "good")
    assert refused.code == 2
    assert "--yes" in refused.complaint
    answered = patchbank(
        "review", "brushed", "--inspection", number, "--answer", "good", "--yes", "--json"
    )
    assert answered.documents[-1]["added"] == inspected[0]
    refused = patchbank("review", "brushed", "--box", "1,2,3,4")
    assert refused.code == 2
    assert "--box: give --inspection ID and --answer defect too" in refused.err
    done = patchbank(
        "review", "brushed", "--inspection", second["inspection_id"], "--answer", "defect",
        "--label", "scratch", "--box", "10%,10%,50%,50%",
    )  # fmt: skip
    assert "in the defect book as scratch" in done.out
    listing = patchbank("inspections", "brushed").out.splitlines()
    assert listing[0].split()[-2:] == ["review", "image"]
    assert [line.split()[-2] for line in listing[1:]] == ["good", "scratch", "-", "-"]
    assert (
        patchbank("inspections", "brushed", "--csv", "-")
        .out.splitlines()[2]
        .endswith(",defect scratch")
    )
    assert "to review again" in patchbank("review", "brushed", "--undo").out
    assert len(patchbank("review", "brushed", "--list", "--json").documents) == 3


def test_an_interrupt_keeps_the_answers(
    inspected: list[str], patchbank: Run, graphs_home: Path, database_url: str
) -> None:
    terminal = Terminal("review", "brushed", home=graphs_home, url=database_url)
    terminal.wait_for("q quit: ")
    terminal.press("g")
    terminal.wait_for("n no: ")
    terminal.press("y")
    assert "2 of 4" in terminal.wait_for("q quit: ")
    terminal.interrupt()
    assert terminal.end() == 130
    assert "interrupted; answers given before (1) stay" in terminal.seen
    assert "every active bank is as it was" not in terminal.seen
    # What it changes was made while the process ended, or is made by the next.
    other = patchbank("review", "brushed", "--list", "--json").documents
    assert [item["image"] for item in other] == inspected[1:]
    number = str(other[0]["inspection_id"])
    assert patchbank("review", "brushed", "--inspection", number, "--answer", "skip").code == 0
    assert patchbank("history", "brushed", "--json").documents[0]["added"] == [inspected[0]]


def test_what_another_answered_is_passed_over(
    inspected: list[str], patchbank: Run, graphs_home: Path, database_url: str
) -> None:
    listed = patchbank("review", "brushed", "--list", "--json").documents
    terminal = Terminal("review", "brushed", "--limit", "2", home=graphs_home, url=database_url)
    assert "1 of 2" in terminal.wait_for("q quit: ")
    for item in listed[:2]:
        number = str(item["inspection_id"])
        patchbank("review", "brushed", "--inspection", number, "--answer", "skip")
    terminal.press("s")
    assert terminal.end() == 0
    assert "2 of 2" in terminal.seen
    assert terminal.seen.count("answered skip meanwhile") == 2
    assert "0 answers; nothing left to review" in terminal.seen


def test_what_makes_no_sense_is_refused(inspected: list[str], patchbank: Run) -> None:
    for arguments, words in (
        (["--answer", "good"], "give --inspection ID too"),
        (["--inspection", "1"], "give --answer or --undo too"),
        (["--inspection", "999", "--answer", "skip"], "has no inspection 999"),
        (["--undo"], "has no answer to undo"),
        ([], "standard input is no terminal; use --list"),
        (["--json"], "--json: give --list"),
    ):
        refused = patchbank("review", "brushed", *arguments)
        assert refused.code == 2
        assert words in refused.complaint
