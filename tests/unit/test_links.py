from __future__ import annotations

import os
import pwd
from pathlib import Path

import pytest

from patchbank.errors import UnsafePathError
from patchbank.links import open_folder, path_of, resolve_trusted

ROOT = os.geteuid() == 0


def _give(path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(path, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)


def test_our_own_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "relative").symlink_to("folder")
    (tmp_path / "absolute").symlink_to(tmp_path / "relative" / "inner")
    (tmp_path / "dangling").symlink_to("nothing")
    for path in (
        "relative/inner", "absolute", "absolute/../inner/not/yet", "dangling/below", "a/../folder",
    ):  # fmt: skip
        assert resolve_trusted(tmp_path / path) == (tmp_path / path).resolve()


def test_a_circle_of_links_has_an_end(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    with pytest.raises((UnsafePathError, OSError, RuntimeError)):
        open_folder(resolve_trusted(tmp_path / "a"))


@pytest.mark.skipif(not ROOT, reason="only root works in other accounts' folders")
def test_root_follows_an_accounts_link_to_what_is_theirs_only(tmp_path: Path) -> None:
    for name in ("ours", "theirs"):
        (tmp_path / name).mkdir()
        (tmp_path / f"to-{name}").symlink_to(name)
        _give(tmp_path / f"to-{name}")
    _give(tmp_path / "theirs")
    assert resolve_trusted(tmp_path / "to-theirs" / "new") == tmp_path / "theirs" / "new"
    with pytest.raises(UnsafePathError, match="to-ours is a link owned by nobody"):
        resolve_trusted(tmp_path / "to-ours" / "new")
    (tmp_path / "to-nothing").symlink_to("nothing")
    _give(tmp_path / "to-nothing")
    with pytest.raises(UnsafePathError, match="to-nothing is a link"):
        resolve_trusted(tmp_path / "to-nothing")


def test_a_resolved_path_that_became_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "home").symlink_to("elsewhere")
    with pytest.raises(UnsafePathError, match="home is a link, and links are not allowed there"):
        open_folder(tmp_path / "home")


@pytest.mark.skipif(not ROOT, reason="only root works in other accounts' folders")
def test_a_folder_stays_the_one_that_was_opened(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    descriptor = open_folder(folder, make=True)
    folder.rename(tmp_path / "a" / "moved")
    folder.symlink_to(tmp_path)
    (path_of(descriptor, folder) / "file").touch()
    os.close(descriptor)
    assert (tmp_path / "a" / "moved" / "file").exists()
    assert not (tmp_path / "file").exists()
