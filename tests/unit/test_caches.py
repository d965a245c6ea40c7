"""Which folders compiled code is cached in."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from patchbank import caches
from patchbank.caches import cache_folder, refusal_of
from patchbank.compiled import _KernelCache, compiled, kernel_folder


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder in use, for an account with a separate cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("numba.config.CACHE_DIR", "")
    monkeypatch.setattr(caches, "_home", tmp_path / "home")
    return tmp_path / "home"


def test_it_is_kept_in_the_home(home: Path, tmp_path: Path) -> None:
    assert cache_folder("numba") == home / "numba"
    assert (home / "numba").stat().st_mode & 0o777 == 0o700
    caches.use_home(tmp_path / "another")
    assert cache_folder("numba") == tmp_path / "another" / "numba"


def test_numbas_own_setting_comes_first(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("numba.config.CACHE_DIR", str(tmp_path / "chosen"))
    folder = kernel_folder()
    assert folder is not None
    assert folder.parent == tmp_path / "chosen"


@pytest.mark.parametrize("mode", [0o777, 0o757])
@pytest.mark.parametrize("where", ["", "numba"])
def test_a_folder_that_others_can_write_holds_no_code(
    home: Path, tmp_path: Path, mode: int, where: str
) -> None:
    (home / "numba").mkdir(parents=True)
    (home / where).chmod(mode)
    assert "other accounts can write" in refusal_of(home / "numba")
    assert cache_folder("numba") == tmp_path / "cache" / "patchbank" / "numba"


def test_a_link_into_such_a_folder_holds_no_code(home: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    home.mkdir()
    (home / "numba").symlink_to(tmp_path / "open" / "code")
    assert "other accounts can write" in refusal_of(home / "numba")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_another_accounts_folder_holds_no_code(home: Path) -> None:
    home.mkdir()
    os.chown(home, 54_321, -1)
    assert "belongs to another account" in refusal_of(home / "numba")


def test_a_home_that_is_a_file_holds_no_code(home: Path, tmp_path: Path) -> None:
    home.write_text("")
    assert "file exists" in refusal_of(home / "numba")
    assert cache_folder("numba") == tmp_path / "cache" / "patchbank" / "numba"


def _triple(value: float) -> float:
    return 3 * value


@pytest.mark.parametrize("pattern", ["*.nbi", "*.nbc"])
@pytest.mark.parametrize("share", [0.0, 0.5])
def test_a_damaged_cache_is_made_anew(home: Path, pattern: str, share: float) -> None:
    assert compiled(_triple)(np.float64(2)) == 6
    (file,) = home.rglob(pattern)
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    assert compiled(_triple)(np.float64(2)) == 6
    again = compiled(_triple)
    assert again(np.float64(2)) == 6
    assert again.stats.cache_hits  # type: ignore[attr-defined]
    assert isinstance(again._cache, _KernelCache)  # type: ignore[attr-defined]
