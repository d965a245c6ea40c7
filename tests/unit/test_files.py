"""Only regular files up to a size limit are read, wherever a user names a file."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from patchbank.contrib.anomalib import import_anomalib_file
from patchbank.datasets.demo import export_demo
from patchbank.datasets.layouts import manifest, visa
from patchbank.datasets.marker import is_synthetic
from patchbank.errors import DatasetError, DiskFullError, PatchbankError, ReportError
from patchbank.files import (
    UnfitFileError,
    new_file,
    new_folder,
    open_regular,
    read_regular,
    remove_drafts,
    writing,
)
from patchbank.inspection.keeping.backbones import add_network, add_weights
from patchbank.inspection.keeping.transfer import import_bank_file
from patchbank.inspection.measuring.kept_results import KeptResults
from patchbank.inspection.workspace import Workspace
from patchbank.settings import get_settings
from patchbank.vision.backbones.weights import read_state_dict
from patchbank.vision.decoded_image import ImageLimits
from patchbank.vision.images import decode

ZERO, ONE = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)


def device(folder: Path) -> Path:
    return Path("/dev/zero")


def link_to_a_device(folder: Path) -> Path:
    (folder / "innocent.png").symlink_to("/dev/zero")
    return folder / "innocent.png"


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "pipe.png")
    return folder / "pipe.png"


def unix_socket(folder: Path) -> Path:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(folder / "socket.png"))
    return folder / "socket.png"


def large(folder: Path) -> Path:
    path = folder / "large.png"
    with path.open("wb") as file:
        file.truncate(10_000_000_000)  # without taking space
    return path


def growing(folder: Path) -> Path:
    # Its reported size is 0, but it has content.
    return Path("/proc/self/maps")


@pytest.mark.parametrize("make", [device, link_to_a_device, pipe, unix_socket, large, growing])
def test_only_a_regular_file_within_the_limit_is_read(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    with pytest.raises(UnfitFileError):
        read_regular(make(tmp_path), 1_000_000)


def test_a_pipe_that_took_the_files_place_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = pipe(tmp_path)
    regular = tmp_path / "regular"
    regular.touch()
    status = regular.stat()
    monkeypatch.setattr(Path, "stat", lambda _: status)
    with pytest.raises(UnfitFileError), open_regular(path, 10):
        pass


def test_a_regular_file_is_read_whole_to_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    assert read_regular(path, 10) == b"0123456789"
    with pytest.raises(UnfitFileError):
        read_regular(path, 9)


def import_bank(path: Path) -> object:
    with Workspace(home=Path("/nowhere")) as workspace:
        return import_bank_file(workspace, path)


def import_anomalib(path: Path) -> object:
    with Workspace(home=Path("/nowhere")) as workspace:
        return import_anomalib_file(workspace, path, "leather")


def with_suffix(suffix: str, read: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a function that reads a path through a link with this suffix."""

    def through_a_link(path: Path) -> object:
        link = path.parent / f"link{suffix}"
        if not os.access(path.parent, os.W_OK) or path.parent == Path("/dev"):
            pytest.skip("no link can be made there")
        link.symlink_to(path)
        return read(link)

    return through_a_link


def visa_split(path: Path) -> object:
    root = path.parent / "visa"
    (root / "split_csv").mkdir(parents=True)
    (root / visa.SPLIT_FILE).symlink_to(path)
    return visa.list_categories(root)


READERS: dict[str, Callable[[Path], object]] = {
    "a bank's file": import_bank,
    "Anomalib's": import_anomalib,
    "weights": lambda path: add_weights("resnet18", path),
    "a network": lambda path: add_network("mine", path, ["x"], ZERO, ONE),
    "a state dictionary": read_state_dict,
    "an image": lambda path: decode(path, limits=ImageLimits(max_bytes=1_000_000)),
    "a list in CSV": with_suffix(".csv", manifest.list_categories),
    "a list in JSON": with_suffix(".jsonl", manifest.list_categories),
    "VisA's list": visa_split,
}


@pytest.mark.parametrize("make", [link_to_a_device, pipe, large])
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_refuses_in_one_line(
    tmp_path: Path, backbones_folder: Path, make: Callable[[Path], Path], reader: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(PatchbankError) as raised:
        READERS[reader](path)
    message = str(raised.value)
    assert "\n" not in message
    assert "does not exist" not in message
    assert "no such file" not in message
    assert message.startswith(str(tmp_path))


@pytest.mark.parametrize("make", [link_to_a_device, pipe, large])
def test_files_in_result_folders_are_not_read_either(
    tmp_path: Path, make: Callable[[Path], Path]
) -> None:
    path = make(tmp_path)
    results = KeptResults(tmp_path / "benchmark")
    result = results.folder / results.place("leather", 0) / "result.json"
    result.parent.mkdir(parents=True)
    result.symlink_to(path)
    assert results.find(results.place("leather", 0), {}) == (
        None,
        "its earlier result cannot be read",
    )
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "patchbank-demo.json").symlink_to(path)
    with pytest.raises(DatasetError, match="is not empty"):
        export_demo(tmp_path / "demo")


def test_the_limit_of_banks_is_a_setting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x.bank"
    path.write_bytes(bytes(2000))
    monkeypatch.setenv("PATCHBANK_MAX_BANK_FILE_GIGABYTES", "1e-6")
    get_settings.cache_clear()
    for read in (import_bank, import_anomalib):
        with pytest.raises(PatchbankError, match=r"more than the limit of 0\.001 million"):
            read(path)
    get_settings.cache_clear()


def test_a_pipe_among_images_is_not_waited_for(tmp_path: Path) -> None:
    assert not is_synthetic(tmp_path, [pipe(tmp_path)])


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "result.json"
    for durable in (True, False):
        with new_file(target, durable=durable) as draft:
            draft.write_text(f"{durable}")
        assert target.read_text() == f"{durable}"
    with pytest.raises(FileNotFoundError), new_file(target) as draft:
        draft.unlink()
    assert target.read_text() == "False"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_the_place_of_another_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "set"
    target.mkdir()
    for content, replace in (("first", False), ("second", True)):
        with new_folder(target, replace=replace) as draft:
            (draft / content).touch()
        assert [path.name for path in target.iterdir()] == [content]
    with pytest.raises(OSError, match="not empty"), new_folder(target) as draft:
        (draft / "third").touch()
    with pytest.raises(KeyboardInterrupt), new_folder(target, replace=True):
        raise KeyboardInterrupt
    # The old folder was moved aside before this fails, and is moved back.
    with pytest.raises(FileNotFoundError), new_folder(target, replace=True) as draft:
        draft.rmdir()
    assert [path.name for path in target.iterdir()] == ["second"]
    assert list(tmp_path.iterdir()) == [target]


def test_only_drafts_are_removed(tmp_path: Path) -> None:
    for name in (
        ".set.0123abcd.draft",
        ".set.0123abcd.partial",
        ".set.0123abcd.old",
        ".mine.draft",
        "set",
    ):
        (tmp_path / name).mkdir()
    remove_drafts(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {".mine.draft", "set"}


@pytest.mark.parametrize(
    ("number", "expected", "line"),
    [
        (
            errno.ENOSPC,
            DiskFullError,
            "no space left on the disk for the page in out; free some space",
        ),
        (
            errno.EDQUOT,
            DiskFullError,
            "no space left on the disk for the page in out; free some space",
        ),
        (errno.EACCES, ReportError, "the page cannot be written to out: permission denied; give"),
        (errno.EPIPE, BrokenPipeError, "Broken pipe"),
    ],
)
def test_a_failed_writing_is_one_line(number: int, expected: type[Exception], line: str) -> None:
    with pytest.raises(expected, match=line), writing("the page", "out", ReportError, "give x"):
        raise OSError(number, os.strerror(number))


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(UnfitFileError, match="is a device or a pipe"), new_file(pipe):
        pytest.fail("there is no draft")
    assert pipe.is_fifo()
    assert list(tmp_path.iterdir()) == [pipe]
