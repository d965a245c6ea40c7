"""What `patchbank inspect` prints for people."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchbank.cli.verdicts import VerdictList
from patchbank.inspection.matches import Similar
from patchbank.inspection.verdicts import Inspection
from patchbank.memory.calibration import Thresholds
from patchbank.memory.maps import Region
from tests.fixtures.commands import Outcome, Run
from tests.fixtures.surfaces import Surfaces


def inspection(
    image: str, score: float, *, regions: int = 0, thresholds: Thresholds | None = None
) -> Inspection:
    return Inspection(
        score=score,
        thresholds=thresholds or Thresholds(2.0, 2.0),
        p_value=0.25,
        calibration_images=3,
        anomaly_map=np.zeros((4, 4), np.float32),
        map_threshold=1.0,
        inspected_box=(0, 0, 40, 40),
        width=40,
        height=40,
        regions=tuple(
            Region((10, 12, 20, 22), 25, 1.5, 3.25 - number, (12, 13)) for number in range(regions)
        ),
        image=image,
        sha256="0" * 64,
        category="tile",
        category_id=1,
        bank_version=1,
        extractor_fingerprint="f" * 64,
        similar=(Similar("ref.png", 0.5),),
    ).explained()


def test_an_image_that_fails_without_a_region_says_where_it_is_most_unusual(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = inspection("raised.png", 4.0)
    found.anomaly_map[1, 2] = 0.5
    shown = replace(found, inspected_box=(100, 0, 140, 80), width=140, height=80)
    assert shown.position == "x 125, y 30, not outlined"
    assert "; at x 125, y 30, not outlined" in shown._repr_html_()
    lines, _ = printed(capsys, VerdictList(), shown, shown)
    assert " ".join(lines[0].split()) == (
        "FAIL 4.000 2.00 times the limit x 125, y 30, not outlined raised.png"
    )
    lines, _ = printed(capsys, VerdictList(), shown)
    assert (
        "  no region is outlined, because the map is nowhere above its threshold; it is highest at "
        "x 125, y 30" in lines
    )
    assert inspection("good.png", 1.0).position == ""


def printed(
    capsys: pytest.CaptureFixture[str], verdicts: VerdictList, *found: Inspection
) -> tuple[list[str], str]:
    for item in found:
        verdicts.add(item)
    verdicts.print()
    shown = capsys.readouterr()
    return shown.out.splitlines(), shown.err


def test_each_image_is_a_line_and_the_worst_is_last(capsys: pytest.CaptureFixture[str]) -> None:
    lines, remarks = printed(
        capsys,
        VerdictList(),
        inspection("worst.png", 4.0, regions=3),
        inspection("b.png", 1.5),
        inspection("fail.png", 2.0001, regions=1),
        inspection("a.png", 1.0),
    )
    assert [" ".join(line.split()) for line in lines] == [
        "PASS 1.500 0.75 times the limit b.png",
        "PASS 1.000 0.50 times the limit a.png",
        "FAIL 2.000 1.0001 times the limit x 10-20, y 12-22 fail.png",
        "FAIL 4.000 2.00 times the limit x 10-20, y 12-22, and 2 more worst.png",
        "2 of 4 failed (threshold 2)",
    ]
    names = ("b.png", "a.png", "fail.png", "worst.png")
    assert len({line.index(name) for line, name in zip(lines, names, strict=False)}) == 1
    assert remarks == ""


def test_the_summary_counts_reviews_refusals_and_passes_with_a_region(
    capsys: pytest.CaptureFixture[str],
) -> None:
    verdicts, between = VerdictList(), Thresholds(1.0, 3.0)
    verdicts.add_refused()
    lines, remarks = printed(
        capsys,
        verdicts,
        inspection("review.png", 2.0, thresholds=between),
        inspection("fail.png", 3.5, thresholds=between),
        inspection("pass.png", 0.5, thresholds=between, regions=1),
    )
    assert [line.split()[0] for line in lines[:-1]] == ["PASS", "REVIEW", "FAIL"]
    assert lines[-1] == (
        "1 of 3 failed, 1 to review (passes up to 1, fails above 3); 1 more image could not be "
        "judged"
    )
    assert remarks.startswith("remark   1 image passes although a region is outlined; --details")


@pytest.mark.parametrize(
    ("scores", "summary"),
    [((1.0, 1.0), "all 2 passed (threshold 2)"), ((3.0, 3.0), "2 of 2 failed (threshold 2)")],
)
def test_the_summary_of_equal_verdicts(
    capsys: pytest.CaptureFixture[str], scores: tuple[float, ...], summary: str
) -> None:
    lines, _ = printed(capsys, VerdictList(), *(inspection("a.png", score) for score in scores))
    assert lines[-1] == summary


def test_a_limit_of_zero_is_no_divisor(capsys: pytest.CaptureFixture[str]) -> None:
    none = Thresholds(0.0, 0.0)
    lines, _ = printed(
        capsys, VerdictList(), *(inspection(name, 1.0, thresholds=none) for name in "ab")
    )
    assert "times the limit" not in lines[0]


def test_similar_images_are_shown_if_asked_for(
    patchbank: Run, learned: Outcome, surfaces: Surfaces, tmp_path: Path
) -> None:
    listed = patchbank(
        "inspect", "brushed", surfaces.scratched, "--heatmaps", tmp_path
    ).out.splitlines()
    assert len(listed) == 10
    assert listed[-2].startswith("8 of 8 failed (threshold ")
    assert listed[-1] == f"heatmaps: {tmp_path}"
    similar = patchbank("inspect", "brushed", surfaces.scratched, "--top", "2").out.splitlines()
    assert len(similar) == 8 * 3 + 1
    detailed = patchbank("inspect", "brushed", surfaces.scratched, "--details", "--top", "0").out
    assert detailed.count("p-value") == 8
    assert "region x" in detailed
    (single,) = sorted(surfaces.scratched.iterdir())[:1]
    shown = patchbank("inspect", "brushed", single)
    assert shown.code == 1
    assert len([line for line in shown.out.splitlines() if line.endswith(".png")]) == 1 + 10
    assert "p-value" in shown.out


def test_nothing_to_list_is_not_summed_up(patchbank: Run, learned: Outcome, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    outcome = patchbank("inspect", "brushed", tmp_path)
    assert (outcome.code, outcome.out) == (2, "")
    assert "broken.png" in outcome.complaint
