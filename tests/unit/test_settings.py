from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.errors import ParameterError
from patchbank.settings import Settings, get_settings

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


@pytest.mark.parametrize(
    ("variable", "value", "allowed"),
    [
        ("PATCHBANK_THREADS", "many", "give a whole number"),
        ("PATCHBANK_THREADS", "-1", "give 0 or more"),
        ("PATCHBANK_DATABASE_IDLE_MINUTES", "0", "give a number above 0"),
        ("PATCHBANK_MAX_IMAGE_MEGAPIXELS", "inf", "give a finite number"),
        ("PATCHBANK_KEEP_DAYS", "few", "give a number"),
        ("PATCHBANK_KEEP_DAYS", "1e9", "give 36500 or less"),
        ("PATCHBANK_KEEP_INSPECTIONS_DAYS", "800000", "give 36500 or less"),
        ("PATCHBANK_COMPILED_KERNELS", "perhaps", "give true or false"),
        ("PATCHBANK_LOG", "xml", "give 'text' or 'json'"),
        ("PATCHBANK_MEMORY_LIMIT", "much", "give a number and a unit, such as 4GB"),
    ],
)
def test_a_wrong_setting_is_named_with_what_is_allowed(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, allowed: str
) -> None:
    monkeypatch.setenv(variable, value)
    get_settings.cache_clear()
    with pytest.raises(ParameterError, match=f"^{variable} is '{value}': {allowed}$"):
        get_settings()


def test_a_variable_set_to_nothing_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBANK_HOME", "")
    monkeypatch.setenv("PATCHBANK_DATABASE_URL", "")
    settings = Settings()
    assert settings.home.is_absolute()
    assert settings.database_url is None
