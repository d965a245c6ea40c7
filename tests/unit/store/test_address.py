"""What the driver is given for a database URL."""

from __future__ import annotations

import os

import pytest

from patchbank.errors import ParameterError
from patchbank.store.address import for_driver

NOT_UTF8 = os.fsdecode(b"\xff\xfe")


@pytest.mark.parametrize(
    "url",
    [f"postgresql://{NOT_UTF8}@host/name", "postgresql://host/%ff%fe", f"dbname={NOT_UTF8}"],
)
def test_bytes_that_are_not_utf8_are_refused(url: str) -> None:
    with pytest.raises(ParameterError, match="PATCHBANK_DATABASE_URL has bytes that are not UTF-8"):
        for_driver(url)


@pytest.mark.parametrize("name", ["PGUSER", "PGHOST", "PGOPTIONS", "PGPASSWORD"])
def test_such_bytes_in_the_drivers_environment_are_too(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, NOT_UTF8)
    with pytest.raises(ParameterError, match=f"{name} has bytes that are not UTF-8"):
        for_driver("postgresql://host/name")


def test_other_characters_than_ascii_are_taken() -> None:
    assert for_driver("postgresql://jürgen:%C3%A4@host/日本") == (
        "postgresql://jürgen:%C3%A4@host/日本",
        False,
    )
