"""How many images a fit needs, and how many of them may be refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import patchbank as api
from patchbank.errors import ParameterError, TooManyRefusedError
from patchbank.inspection.learning.demands import Demands
from patchbank.inspection.verdicts import Refused
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

SMALL = ("--image-size", "64")


@pytest.mark.parametrize(
    ("allowed", "most"),
    [("50%", 5), ("10%", 1), ("9.9 %", 0), ("100%", 10), ("0%", 0), ("3", 3), (0, 0), (" 7 ", 7)],
)
def test_a_number_or_a_share_of_the_images_may_be_refused(allowed: int | str, most: int) -> None:
    refused = [Refused(f"{number}.png", f"{number}.png: no picture.") for number in range(10)]
    demands = Demands(fewest=0, max_refused=allowed)
    demands.check(10 - most, refused[:most], 10)
    if most < 10:
        with pytest.raises(TooManyRefusedError, match=f"use --max-refused {most + 1}: 0.png: no"):
            demands.check(9 - most, refused[: most + 1], 10)


@pytest.mark.parametrize("allowed", ["many", "-1", -1, "101%", "%", "", "1.5", 0.5])
def test_nothing_else_says_how_many(allowed: int | str) -> None:
    with pytest.raises(
        ParameterError, match="give a number of images, such as 20, or a percentage"
    ):
        Demands(max_refused=allowed)


def unusable(folder: Path, surfaces: Surfaces, *, good: int, bad: int) -> Path:
    """Make a folder of which some images are none."""
    for number, path in enumerate(sorted(surfaces.train.iterdir())[:good]):
        (folder / f"{number}.png").write_bytes(path.read_bytes())
    for number in range(bad):
        (folder / f"bad-{number}.png").write_text("no picture")
    return folder


def test_a_fit_of_which_most_images_are_refused_stores_nothing(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    folder = unusable(tmp_path, surfaces, good=6, bad=7)
    outcome = patchbank("fit", "brushed", folder, *SMALL)
    assert outcome.code == 2
    assert "7 of 13 images refused, but only 50% may be" in outcome.complaint
    assert "--max-refused 7" in outcome.complaint
    assert patchbank("categories", "--json").documents == []
    assert patchbank("fit", "brushed", folder, *SMALL, "--max-refused", "6").code == 2
    outcome = patchbank("fit", "brushed", folder, *SMALL, "--max-refused", "7", "--json")
    assert outcome.code == 0
    assert "7 of 13 images refused" in outcome.document["remarks"]


def test_what_is_no_limit_of_refusals_is_said_before_the_work(
    patchbank: Run, surfaces: Surfaces
) -> None:
    outcome = patchbank("fit", "brushed", surfaces.train, *SMALL, "--max-refused", "few")
    assert outcome.code == 2
    assert "--max-refused 'few': give" in outcome.complaint


def test_fewer_than_five_images_are_learned_by_force_only(
    database_url: str, graphs_home: Path, surfaces: Surfaces
) -> None:
    four = sorted(surfaces.train.iterdir())[:4]
    with api.open("brushed", home=graphs_home, database_url=database_url) as bank:
        with pytest.raises(api.PatchbankError, match="at least 5 good images are needed; add 1 mo"):
            bank.fit(four, image_size=64)
        assert not bank.fitted
        report = bank.fit(four, image_size=64, force=True).last_fit
        assert report is not None
        assert "add 95 more good images" in report.bank.remarks[0]


def test_an_evaluation_learns_from_few_images_and_says_so(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path
) -> None:
    train, test = tmp_path / "few" / "train" / "good", tmp_path / "few" / "test"
    train.mkdir(parents=True)
    unusable(train, surfaces, good=3, bad=4)
    for folder in (surfaces.good, surfaces.scratched):
        (test / folder.name).mkdir(parents=True)
        for path in sorted(folder.iterdir())[:2]:
            (test / folder.name / path.name).write_bytes(path.read_bytes())
    outcome = patchbank("evaluate", tmp_path, *SMALL, "--json")
    assert outcome.code == 0, outcome.err
    remarks = outcome.documents[0]["remarks"]
    assert any("3 reference images are too few" in one for one in remarks)
    assert "4 of 7 images refused" in remarks
