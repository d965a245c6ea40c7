"""Where a process may reserve little memory: a line, for libraries would wait or end it."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from patchbank.errors import ParameterError
from patchbank.inspection.address_space import take_address_space
from patchbank.inspection.workspace import Workspace
from patchbank.vision.extractor_settings import ExtractorSettings


def _set(monkeypatch: pytest.MonkeyPatch, kind: int, limit: int) -> None:
    """Give this process eight threads and one limit."""
    none = resource.RLIM_INFINITY
    monkeypatch.setattr("patchbank.inspection.address_space.usable_cores", lambda: 8)
    monkeypatch.setattr(
        resource, "getrlimit", lambda asked: (limit if asked == kind else none, none)
    )


@pytest.mark.parametrize(
    ("name", "kind", "limit", "needed"),
    [
        ("ulimit -v", resource.RLIMIT_AS, 1_500_000_000, "1.64"),
        ("ulimit -v", resource.RLIMIT_AS, 300_000_000, "1.64"),
        ("ulimit -d", resource.RLIMIT_DATA, 150_000_000, "0.54"),
    ],
)
def test_a_small_limit_is_refused_before_the_network_is_loaded(
    name: str, kind: int, limit: int, needed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _set(monkeypatch, kind, limit)
    with Workspace(home=tmp_path) as workspace, pytest.raises(ParameterError) as raised:
        workspace.extractor(ExtractorSettings())
    assert f"({name}) is {limit / 1e9:.2f} GB" in str(raised.value)
    assert f"needs {needed} GB with 8 threads" in str(raised.value)


@pytest.mark.parametrize("limit", [resource.RLIM_INFINITY, 4_000_000_000])
def test_other_limits_are_none(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        _set(monkeypatch, kind, limit)
        take_address_space()
