"""Where no browser is installed, the tests of pages say what to install."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.browser import find_browser


def test_a_missing_browser_fails_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(pytest.fail.Exception, match=r"install --yes .*chromium"):
        find_browser()
    (tmp_path / "google-chrome").write_text("#!/bin/sh\n")
    (tmp_path / "google-chrome").chmod(0o755)
    assert find_browser() == str(tmp_path / "google-chrome")
