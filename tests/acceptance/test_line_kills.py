"""The line while its programs are killed; `python -m benchmarks.line_kills` does it for longer."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.line_kills import play


@pytest.mark.serial
def test_nothing_is_lost_or_repeated_when_programs_are_killed(tmp_path: Path) -> None:
    targets = ("watcher", "database", "service")
    # What is refused is sent again only after seconds.
    figures = play(tmp_path, targets=targets, external=True, refused_share=0.0)
    assert figures.lost == []
    assert figures.answered
    assert figures.files
    assert figures.delivered >= figures.answered + figures.files
