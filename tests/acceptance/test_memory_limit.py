"""`patchbank fit --memory-limit`: what it takes, and what it says."""

from __future__ import annotations

import re

import pytest

from patchbank.errors import ParameterError
from patchbank.inspection.learning.memory_limit import (
    checked_limit,
    default_limit,
    format_bytes,
    free_bytes,
    resident_bytes,
)
from patchbank.memory.budget import Parts
from patchbank.settings import parse_bytes
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("4GB", 4_000_000_000),
        ("500 mb", 500_000_000),
        ("1.5GiB", 1_610_612_736),
        ("2g", 2_000_000_000),
        ("4000000000", 4_000_000_000),
    ],
)
def test_sizes_are_read(text: str, count: int) -> None:
    assert parse_bytes(text) == count == checked_limit(text) == checked_limit(count)


@pytest.mark.parametrize(
    "text", ["", "much", "4QB", "-4GB", "0", "0.1", "4iB", "1e9", "9" * 30, "٤GB"]
)
def test_other_texts_are_refused_in_one_line(patchbank: Run, surfaces: Surfaces, text: str) -> None:
    outcome = patchbank("fit", "brushed", surfaces.train, f"--memory-limit={text}")
    assert outcome.code == 2
    assert f"memory limit '{text}'" in outcome.complaint
    assert "4GB" in outcome.complaint
    assert outcome.out == ""


def test_a_limit_that_is_no_amount_is_refused() -> None:
    for limit in (0, -1):
        with pytest.raises(ParameterError, match="above 0"):
            checked_limit(limit)
    for wrong in (float("nan"), 4e9, True, b"4GB"):
        with pytest.raises(ParameterError, match="whole number"):
            checked_limit(wrong)  # type: ignore[arg-type]


def test_too_little_memory_is_said_before_the_network_is_quantised(
    patchbank: Run, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    def quantised(*_: object) -> None:
        raise AssertionError("the work was begun")

    monkeypatch.setattr("patchbank.inspection.learning.learn.quantised_graph", quantised)
    outcome = patchbank("fit", "brushed", surfaces.train, "--precision=int8", "--memory-limit=1MB")
    assert outcome.code == 2
    assert outcome.complaint.startswith("memory limit 1MB: patchbank and its network need")


def test_the_environment_sets_the_limit(
    patchbank: Run, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBANK_MEMORY_LIMIT", "1MB")
    outcome = patchbank("fit", "brushed", surfaces.train, "--image-size=96")
    assert outcome.code == 2
    assert re.fullmatch(
        r"memory limit 1MB: patchbank and its network need \S+ before the first image; use "
        r"--memory-limit \S+ or more",
        outcome.complaint,
    )
    # What is given on the command line counts.
    outcome = patchbank(
        "fit", "brushed", surfaces.train, "--image-size=96", "--memory-limit=20GB", "--json"
    )
    assert outcome.document["streamed"] is False
    assert outcome.document["streaming"] is None
    monkeypatch.setenv("PATCHBANK_MEMORY_LIMIT", "1QB")
    outcome = patchbank("fit", "brushed", surfaces.train)
    assert outcome.code == 2
    assert outcome.complaint.startswith("PATCHBANK_MEMORY_LIMIT is '1QB': give a number")


def test_the_output_says_whether_all_was_in_memory(patchbank: Run, surfaces: Surfaces) -> None:
    outcome = patchbank("fit", "brushed", surfaces.train, "--image-size=96")
    assert outcome.code == 0
    (line,) = [line for line in outcome.out.splitlines() if line.startswith("memory ")]
    assert line.split(maxsplit=1)[1] == "all patches at once, exact coreset"


def test_the_output_says_how_it_was_streamed(
    patchbank: Run, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The plan of a machine on which 24 small images are too many; the rest is as ever.
    monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: Parts(3, 8, 0.2))
    outcome = patchbank("fit", "brushed", surfaces.train, "--image-size=96")
    assert outcome.code == 0
    lines = dict(line.split(maxsplit=1) for line in outcome.out.splitlines())
    assert re.fullmatch(r"[\d,]+ patches, radius at most [\d.]+, [\d.]+ seen", lines["bank"])
    assert re.fullmatch(
        r"streamed in 3 parts of 8 images, merged from [\d,]+ patches", lines["memory"]
    )
    document = patchbank("fit", "brushed", surfaces.train, "--image-size=96", "--json").document
    assert document["streamed"] is True
    streaming = document["streaming"]
    assert streaming["radius_bound"] == streaming["part_radius"] + streaming["merge_radius"]
    assert document["covering_radius"] == streaming["radius_seen"] <= streaming["radius_bound"]


def test_memory_is_what_the_machine_has() -> None:
    assert 10_000_000 < resident_bytes() < 2**40
    assert 0 < free_bytes() < 2**50
    assert default_limit() > resident_bytes()


def test_bytes_are_written_as_they_are_read() -> None:
    assert format_bytes(1_240_000_000) == "1.2GB"
    assert format_bytes(1_240_000_000, up=True) == "1.3GB"
    assert format_bytes(4_000_000_000) == "4GB"
    assert format_bytes(5_000) == "5KB"
    assert format_bytes(999) == "999B"
    assert format_bytes(427_100_000, up=True) == "428MB"
