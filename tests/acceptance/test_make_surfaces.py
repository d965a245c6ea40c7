"""`make-surfaces` from the command line."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from patchbank.datasets.surfaces import making
from tests.fixtures.commands import Run, finish, start


def test_it_makes_a_data_set_that_evaluate_reads(
    patchbank: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(making, "TRAIN_IMAGES", 8)
    monkeypatch.setattr(making, "TEST_GOOD_IMAGES", 2)
    monkeypatch.setattr(making, "TEST_IMAGES_PER_KIND", 1)
    folder = tmp_path / "surfaces"
    made = patchbank("make-surfaces", folder, "--image-size", "96", "--seed", "5", "--json")
    assert made.code == 0, made.err
    assert made.document == {
        "folder": str(folder),
        "images": 75,
        "categories": ["carpet", "grid", "leather", "tile", "wood"],
    }
    judged = patchbank("evaluate", folder, "--category", "wood", "--image-size", "96", "--json")
    assert judged.code == 0, judged.err
    wood = judged.documents[0]
    assert (wood["test_good"], wood["test_anomalous"]) == (2, 5)
    assert wood["pixel_auroc"] > 0.5
    again = patchbank("make-surfaces", folder)
    assert again.code == 2
    assert again.complaint == f"{folder} is not empty; give a new or an empty folder"


def test_bad_options_are_one_line(patchbank: Run, tmp_path: Path) -> None:
    outcome = patchbank("make-surfaces", tmp_path / "s", "--image-size", "10")
    assert outcome.code == 2
    assert outcome.complaint == "the image size of the surface set is 10; give 64 to 2048"


def test_an_interrupt_leaves_nothing(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    process = start("make-surfaces", inside / "surfaces", home=tmp_path / "home")
    deadline = time.monotonic() + 60
    while not any(inside.rglob("*.png")):
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    outcome = finish(process)
    assert outcome.code == 130, outcome.err
    assert "interrupted" in outcome.err
    assert list(inside.iterdir()) == []
