from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.settings import Settings

DOCUMENT = Path(__file__).parents[2] / "docs" / "settings.md"


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_with_its_help(name: str) -> None:
    rows = [line for line in DOCUMENT.read_text().splitlines() if line.startswith("| `PATCHBANK_")]
    row = next((row for row in rows if f"`PATCHBANK_{name.upper()}`" in row), None)
    assert row is not None, f"{name} is not in {DOCUMENT.name}"
    assert str(Settings.model_fields[name].description) in row


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBANK_HOME", "/somewhere")
    monkeypatch.setenv("PATCHBANK_THREADS", "3")
    settings = Settings()
    assert settings.home == Path("/somewhere")
    assert settings.threads == 3
