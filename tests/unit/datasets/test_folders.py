"""Folders, files and globs to images, on real files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from PIL import Image

from patchbank.errors import ImageError, NoImagesError
from patchbank.vision.image_folders import find_each, natural_key
from patchbank.vision.images import decode


def touch(*paths: Path) -> None:
    """Make small real images, or empty files where the suffix is no image's."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in {".png", ".jpg", ".tiff"}:
            Image.new("L", (2, 2)).save(path)
        else:
            path.write_bytes(b"")


def find_images(paths: Sequence[str | Path]) -> list[Path]:
    return [image for found in find_each(paths) for image in found.images]


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_a_folder_stands_for_its_images_in_natural_order(tmp_path: Path) -> None:
    touch(
        *(tmp_path / name for name in ("10.png", "2.png", "b/1.JPG", "a12/1.tiff", "a3/1.png")),
        *(tmp_path / name for name in (".hidden.png", ".git/1.png", "notes.txt", "b/noise.csv")),
    )
    found = names(find_images([tmp_path]), tmp_path)
    assert found == ["2.png", "10.png", "a3/1.png", "a12/1.tiff", "b/1.JPG"]


def test_an_image_named_twice_is_there_once(tmp_path: Path) -> None:
    touch(tmp_path / "a.png", tmp_path / "b.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "b.png")
    found = find_images([tmp_path / "b.png", tmp_path, str(tmp_path / "*.png")])
    assert names(found, tmp_path) == ["b.png", "a.png"]


def test_a_named_file_is_kept_whatever_its_suffix(tmp_path: Path) -> None:
    touch(tmp_path / "frame.raw")
    assert find_images([tmp_path / "frame.raw"]) == [tmp_path / "frame.raw"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.png", ["1.png"]),
        ("**/*.png", ["1.png", "good/2.png", "good/deep/3.png"]),
        ("**/deep/*", ["good/deep/3.png"]),
        ("g*d", ["good/2.png", "good/deep/3.png"]),
        ("good/**", ["good/2.png", "good/deep/3.png"]),
        ("**", ["1.png", "good/2.png", "good/deep/3.png"]),
        ("*/[0-9].png", ["good/2.png"]),
        ("*/../1.p?g", ["1.png"]),
    ],
)
def test_globs(tmp_path: Path, pattern: str, expected: list[str]) -> None:
    touch(*(tmp_path / name for name in ("1.png", "good/2.png", "good/deep/3.png", "good/a.txt")))
    touch(tmp_path / ".cache" / "deep" / "4.png")
    found = [path.resolve() for path in find_images([tmp_path / pattern])]
    assert names(found, tmp_path.resolve()) == expected


def test_a_relative_glob_stays_relative(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch(tmp_path / "in" / "1.png")
    monkeypatch.chdir(tmp_path)
    assert find_images(["in/*.png"]) == [Path("in/1.png")]
    assert find_images(["**/*.png"]) == [Path("in/1.png")]


def test_brackets_in_a_real_name_are_no_glob(tmp_path: Path) -> None:
    touch(tmp_path / "part[1].png")
    assert find_images([tmp_path / "part[1].png"]) == [tmp_path / "part[1].png"]


def test_symlink_loops_end_and_linked_folders_count(tmp_path: Path) -> None:
    touch(tmp_path / "a" / "1.png", tmp_path / "outside" / "2.png")
    (tmp_path / "a" / "self").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "again").symlink_to(tmp_path / "a")
    (tmp_path / "a" / "linked").symlink_to(tmp_path / "outside")
    for given in (tmp_path / "a", tmp_path / "a" / "**" / "*.png"):
        assert names(find_images([given]), tmp_path / "a") == ["1.png", "linked/2.png"]


@pytest.mark.parametrize("pattern", ["", "**", "**/*.png", "*"])
def test_a_link_to_itself_is_left_to_decoding(tmp_path: Path, pattern: str) -> None:
    touch(tmp_path / "1.png", tmp_path / "bad" / "2.png")
    for name in ("bad/loop.png", "loop.png", "loop.txt", "loop"):
        (tmp_path / name).symlink_to(tmp_path / name)
    found = find_images([tmp_path / pattern])
    expected = ["1.png", "bad/2.png", "bad/loop.png", "loop.png"]
    if pattern == "**/*.png":  # the folder's own files, then those of the folders below
        assert sorted(names(found, tmp_path)) == expected
    else:
        assert names(found, tmp_path) == expected
    with pytest.raises(ImageError, match=r"loop\.png: cannot be read \(.*links.*\)") as error:
        decode(tmp_path / "loop.png")
    assert "\n" not in str(error.value)


@pytest.fixture
def ordinary_folder() -> Iterator[Path]:
    """Return a folder as an ordinary user sees it, whom permissions hold back."""
    with tempfile.TemporaryDirectory() as name:
        user, ordinary = os.geteuid(), 65534
        if user == 0:
            os.chown(name, ordinary, -1)
            os.seteuid(ordinary)
        try:
            yield Path(name)
        finally:
            for folder in Path(name).glob("locked*"):
                folder.chmod(0o700)
            os.seteuid(user)


@pytest.mark.parametrize("mode", [0o000, 0o400, 0o100])
@pytest.mark.parametrize("pattern", ["", "**", "**/*.png", "*", "*/*.png"])
def test_a_locked_folder_costs_no_other_image(
    ordinary_folder: Path, pattern: str, mode: int
) -> None:
    root, locked = ordinary_folder, ordinary_folder / "locked"
    touch(root / "a" / "1.png", locked / "2.png", locked / "inner" / "3.png", root / "z" / "4.png")
    locked.chmod(mode)
    found = find_images([root / pattern])
    assert names(found[:1], root) == ["a/1.png"]
    assert names(found[-1:], root) == ["z/4.png"]
    assert len(found) > 2
    for image in found[1:-1]:
        assert image == locked or image.is_relative_to(locked)
        with pytest.raises(ImageError, match=r"locked.*cannot be read") as error:
            decode(image)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("given", ["", "*.png", "**", "*/../*.png"])
def test_what_only_passes_for_an_image_is_refused_by_name(tmp_path: Path, given: str) -> None:
    touch(tmp_path / "0.png", tmp_path / "inner" / "folder.png" / "9.txt")
    reasons = {
        "device.png": "is a device or a pipe",
        "lost.png": "is a broken link",
        "pipe.png": "is a device or a pipe",
    }
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "lost.png").symlink_to("/nonexistent/1.png")
    os.mkfifo(tmp_path / "pipe.png")
    good, *others = find_images([tmp_path / given])
    assert good.name == "0.png"
    assert [image.name for image in others] == list(reasons)
    for image in others:
        with pytest.raises(ImageError, match=reasons[image.name]):
            decode(image)


def test_a_link_to_a_folder_that_is_away_is_counted(tmp_path: Path) -> None:
    touch(tmp_path / "0.png")
    (tmp_path / "mount").symlink_to("/nonexistent/pictures")
    (found,) = find_each([tmp_path])
    assert found.unread == [tmp_path / "mount"]


def test_a_locked_folder_that_was_given_is_an_error(ordinary_folder: Path) -> None:
    locked = ordinary_folder / "locked"
    touch(locked / "1.png")
    locked.chmod(0)
    for given in (locked, locked / "*.png", locked / "**" / "*.png"):
        with pytest.raises(NoImagesError, match=r"folder .*locked cannot be read: Permission"):
            find_images([given])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("nowhere", "does not exist"),
        ("texts", r"has no images \(.*\.png.*\); it contains 2 \.txt files and 1 \.csv file"),
        ("empty", "it contains nothing"),
        ("empty/*.png", "nothing matches"),
        ("texts/*.txt", "matches 2 paths but no images"),
        ("x" * 5000, "does not exist"),
        ("pipe", "is a device or a pipe; give a file"),
        ("link.png", "link.png is a broken link"),
    ],
)
def test_a_path_without_images_is_explained(tmp_path: Path, given: str, message: str) -> None:
    touch(*(tmp_path / "texts" / name for name in ("1.txt", "2.txt", "3.csv")))
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.png").symlink_to("nothing")
    with pytest.raises(NoImagesError, match=message) as error:
        find_images([tmp_path / given])
    assert "\n" not in str(error.value)


def test_no_path_at_all_is_refused() -> None:
    with pytest.raises(NoImagesError):
        find_images([])


def test_natural_order_is_total_over_mixed_names() -> None:
    mixed = ["a", "1", "a1b", "1a", "a01", "", "b/2", "b/10", "٣", "²"]
    backwards = mixed[::-1]
    assert sorted(mixed, key=natural_key) == sorted(backwards, key=natural_key)
