"""Downloads from a hub on a loopback port."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbank.errors import DownloadError
from patchbank.vision.backbones import hub as hub_module
from patchbank.vision.backbones.hub import HubFile, download, find_file
from tests.fixtures.hub import COMMIT, Hub

REPOSITORY = "timm/resnet18.a1_in1k"
FILE = "model.safetensors"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "_WAIT_SECONDS", 0.0)


@pytest.fixture
def wanted(hub: Hub) -> HubFile:
    hub.content = bytes(range(256)) * 12_000
    return find_file(REPOSITORY, FILE)


def test_the_hub_says_what_it_has(hub: Hub, wanted: HubFile) -> None:
    assert wanted == HubFile(REPOSITORY, FILE, COMMIT, len(hub.content), hub.sha256)
    find_file(REPOSITORY, FILE, COMMIT)
    assert hub.revisions == ["main", COMMIT]


def test_a_file_comes_whole_with_progress(hub: Hub, wanted: HubFile, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = download(wanted, tmp_path, progress=lambda _, done, total: seen.append((done, total)))
    assert path.read_bytes() == hub.content
    assert seen[-1] == (3, 4)
    assert seen == sorted(seen)


def test_a_broken_download_goes_on_where_it_stopped(
    hub: Hub, wanted: HubFile, tmp_path: Path
) -> None:
    hub.stop_after = [1_000_000, 700_000]
    assert download(wanted, tmp_path).read_bytes() == hub.content
    assert hub.starts == [0, 1_000_000, 1_700_000]


def test_what_came_is_kept_when_nothing_more_comes(
    hub: Hub, wanted: HubFile, tmp_path: Path
) -> None:
    hub.stop_after = [1_000_000, *[0] * 10]
    with pytest.raises(DownloadError, match="cannot be reached"):
        download(wanted, tmp_path)
    (part,) = tmp_path.glob("*.part")
    assert part.stat().st_size == 1_000_000
    hub.stop_after, hub.starts = [], []
    assert download(wanted, tmp_path).read_bytes() == hub.content
    assert hub.starts == [1_000_000]


def test_a_hub_without_ranges_begins_again(hub: Hub, wanted: HubFile, tmp_path: Path) -> None:
    hub.stop_after, hub.ignores_ranges = [1_000_000], True
    assert download(wanted, tmp_path).read_bytes() == hub.content


@pytest.mark.parametrize("stops", [[900_000, 500_000] * 5, []])
def test_a_hub_that_gets_no_further_is_given_up(
    hub: Hub, wanted: HubFile, tmp_path: Path, stops: list[int]
) -> None:
    hub.stop_after, hub.ignores_ranges, hub.sends_nothing = stops, True, not stops
    with pytest.raises(DownloadError):
        download(wanted, tmp_path)
    assert len(hub.starts) in (5, 6)


def test_a_file_that_is_not_there(hub: Hub) -> None:
    with pytest.raises(DownloadError, match=r"does not have other\.bin on the hub"):
        find_file(REPOSITORY, "other.bin")


def test_a_file_longer_than_announced(hub: Hub, wanted: HubFile, tmp_path: Path) -> None:
    hub.content += b"more"
    with pytest.raises(DownloadError, match="larger than the hub reported"):
        download(wanted, tmp_path)


def test_no_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
    with pytest.raises(DownloadError, match=f"^{REPOSITORY}: the hub cannot be reached"):
        find_file(REPOSITORY, FILE)
