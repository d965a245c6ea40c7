"""Every part of the program uses the cores that this process may use, and no more."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from patchbank.memory._parallel import TileWorker, for_tiles
from patchbank.settings import get_settings, usable_cores

needs_affinity = pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="this system has no processor affinity"
)


def test_the_setting_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBANK_THREADS", "7")
    get_settings.cache_clear()
    try:
        assert usable_cores() == 7
    finally:
        get_settings.cache_clear()


@needs_affinity
def test_a_process_of_one_core_uses_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PATCHBANK_THREADS", raising=False)
    # os.cpu_count ignores affinity and would return 64.
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    threads: list[int] = []

    def make_worker() -> TileWorker:
        threads.append(threading.get_ident())
        return lambda start, stop: None

    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    get_settings.cache_clear()
    try:
        assert usable_cores() == 1
        for_tiles(8, 1, make_worker)
    finally:
        os.sched_setaffinity(0, before)
        get_settings.cache_clear()
    assert threads == [threading.get_ident()]


@pytest.mark.slow
def test_the_doctor_leaves_no_usage_reports_in_the_home(tmp_path: Path) -> None:
    """Unless prevented, importing OpenVINO writes ``~/intel/openvino_ga_cid``."""
    home = tmp_path / "home"
    home.mkdir()
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith(("PATCHBANK_", "XDG_"))},
        "HOME": str(home),
        "PATCHBANK_HOME": str(tmp_path / "data"),
        # Nothing listens there; this test needs no database.
        "PATCHBANK_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "PATCHBANK_THREADS": "1",
    }
    code = (
        "from patchbank.inspection.keeping.doctor import diagnose\n"
        "from patchbank.inspection.workspace import Workspace\n"
        "with Workspace() as workspace:\n"
        "    for finding in diagnose(workspace):\n"
        "        print(finding.name, finding.healthy, finding.text)\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert "processor True" in ran.stdout
    assert " 1 core in use" in ran.stdout
    assert "network True" in ran.stdout
    assert not (home / "intel").exists(), list((home / "intel").iterdir())
