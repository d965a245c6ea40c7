"""The settings in an Anomalib file: which are read, refused or required as options."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchbank.contrib._anomalib_files import AnomalibFile, read_anomalib_file
from patchbank.contrib._anomalib_settings import resolve_settings
from patchbank.contrib.anomalib import import_anomalib_file
from patchbank.errors import BankFileError, ParameterError, PatchbankError
from patchbank.inspection.workspace import Workspace
from tests.fixtures.anomalib import (
    MEAN,
    STD,
    checkpoint_file,
    compose,
    crop,
    module,
    newest,
    normalise,
    plain,
    plain_normalise,
    plain_resize,
    resize,
    tensor_file,
)
from tests.fixtures.torch_files import Call, Global, Object, zipped

BANK = np.random.default_rng(0).random((4, 152), np.float32)
MADE_WITH: dict[str, Any] = {"backbone": "efficientnet-lite0", "layers": ("blocks.4", "blocks.10")}
CROP = plain("CenterCrop", size=[64, 64])


def read(folder: Path, content: bytes) -> AnomalibFile:
    path = folder / "leather.ckpt"
    path.write_bytes(content)
    return read_anomalib_file(path, 1_000_000)


@pytest.mark.parametrize(
    ("says", "expected"),
    [
        (newest(plain_resize(80), CROP, plain_normalise()), (80, 64)),
        (newest(plain_resize(80), plain_normalise(), CROP), (80, 64)),
        (newest(plain_resize(80), plain_normalise()), (80, None)),
        (newest(plain_resize(64), CROP, plain_normalise()), (64, None)),
        (newest(plain_resize(80, interpolation=2), plain_normalise()), (80, None)),
        (newest(plain_resize(80), plain("ExportableCenterCrop", size=[64, 64]),
                plain_normalise()), (80, 64)),
        ({"transform": compose(resize(80), crop(64), normalise())}, (80, 64)),
        ({"transform": compose(resize(80), normalise())}, (80, None)),
    ],
)  # fmt: skip
def test_a_checkpoint_says_what_made_it(
    tmp_path: Path, says: dict[str, Any], expected: tuple[int, int | None]
) -> None:
    found = read(tmp_path, checkpoint_file(BANK, says=says))
    assert (found.settings["image_size"], found.settings["center_crop"]) == expected


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        # Anomalib 2.3 to 2.6: its own pre-processor, which does not crop.
        ({"pre_processor": True, "precision": "float32"}, {"image_size": 256, "center_crop": None}),
        # 2.0 cropped, 2.1 and 2.2 did not, and their files say the same.
        ({"pre_processor": True}, {"image_size": 256}),
        ({"pre_processor": False}, {}),
        (
            {"pre_processor": module("PreProcessor", {"transform": compose(resize(80), crop(64),
                                                                           normalise())})},
            {"image_size": 80, "center_crop": 64},
        ),
        ({"pre_processor": module("PreProcessor", {})}, {}),
    ],
)  # fmt: skip
def test_older_checkpoints_say_as_much_as_their_version_did(
    tmp_path: Path, parameters: dict[str, Any], expected: dict[str, Any]
) -> None:
    assert read(tmp_path, checkpoint_file(BANK, **parameters)).settings == expected


UNSAID = {
    "a tensor": tensor_file(BANK),
    "no pre-processor": checkpoint_file(
        BANK, says={"anomalib_components_enabled": {"pre_processor": False}}
    ),
    "transforms that cannot be kept": checkpoint_file(
        BANK, says={"anomalib_pre_processor_config": {"transform": None}}
    ),
    "a pre-processor of one's own": checkpoint_file(
        BANK, says={"anomalib_pre_processor_config": {"train": 1, "transform": plain_resize(80)}}
    ),
    "Anomalib 1 without a transform": checkpoint_file(BANK, says={"transform": None}),
    "Anomalib 2.0 or 2.1": checkpoint_file(BANK, pre_processor=True),
}


@pytest.mark.parametrize("name", UNSAID)
def test_what_the_file_does_not_say_must_be_given(tmp_path: Path, name: str) -> None:
    found = read(tmp_path, UNSAID[name])
    missing = [name for name in ("image_size", "center_crop") if name not in found.settings]
    assert "center_crop" in missing
    with pytest.raises(ParameterError) as raised:
        resolve_settings(found, MADE_WITH, assume_defaults=False)
    message = str(raised.value)
    start = f"{found.file.path}: does not say {', '.join(missing)} (Anomalib 1 and"
    assert message.startswith(start)
    named = ", ".join(f"--{name.replace('_', '-')}" for name in missing)
    assert f"give {named} (0 for none), or --assume-defaults for" in message
    assumed = resolve_settings(found, MADE_WITH, assume_defaults=True)
    assert {setting.name for setting in assumed if setting.assumed} == set(missing)
    options = {**MADE_WITH, **dict.fromkeys(missing, 256), "center_crop": 0}
    resolved = resolve_settings(found, options, assume_defaults=False)
    settings = {setting.name: setting for setting in resolved}
    assert settings["center_crop"].value is None
    assert settings["center_crop"].source == "option"


@pytest.mark.parametrize("missing", ["backbone", "layers"])
def test_network_and_layers_must_be_given_too(tmp_path: Path, missing: str) -> None:
    found = read(tmp_path, tensor_file(BANK))
    options = {**MADE_WITH, "image_size": 64, "center_crop": 0}
    del options[missing]
    message = rf"does not say {missing}, .* give --{missing}, or --assume-defaults"
    with pytest.raises(ParameterError, match=message):
        resolve_settings(found, options, assume_defaults=False)


def test_no_crop_is_an_option_that_can_contradict(tmp_path: Path) -> None:
    content = checkpoint_file(BANK, says=newest(plain_resize(80), CROP, plain_normalise()))
    found = read(tmp_path, content)
    with pytest.raises(ParameterError, match="with center_crop 64, but the option says none"):
        resolve_settings(found, {**MADE_WITH, "center_crop": 0}, assume_defaults=False)


@pytest.mark.parametrize(
    ("transforms", "message"),
    [
        ([plain_resize(80, antialias=False), plain_normalise()], "without antialiasing"),
        ([plain_resize(80, antialias=None), plain_normalise()], "without antialiasing"),
        ([plain_resize(80, interpolation="bicubic"), plain_normalise()], "other than bilinearly"),
        ([plain_resize(80, interpolation=3), plain_normalise()], "other than bilinearly"),
        ([plain_resize(80, size=[80], max_size=96), plain_normalise()], "resizes to [80]"),
        ([plain_resize(80, size=[80, 96]), plain_normalise()], "resizes to [80, 96]"),
        ([plain_resize(80), plain_normalise(mean=[0.5, 0.5, 0.5])], "a mean other"),
        ([plain_resize(80), plain_normalise(std=[1.0, 1.0, 1.0])], "a std other"),
        ([plain_resize(80), plain_normalise(mean=[0.48501, *MEAN[1:]])], "a mean other"),
        ([plain_resize(80), plain_normalise(std=STD[:2])], "a std other"),
        ([plain("Grayscale"), plain_resize(80), plain_normalise()], "with Grayscale"),
        ([plain("SquarePad"), plain_resize(80), plain_normalise()], "with SquarePad"),
        ([plain_resize(96), plain_resize(80), plain_normalise()], "with Resize"),
        ([CROP, plain_resize(80), plain_normalise()], "with CenterCrop"),
        ([plain_resize(80)], "does not resize images and normalise"),
        (["Resize"], "an unknown step"),
        ([{"class_path": 1, "init_args": {}}], "an unknown step"),
        ([{"class_path": "Resize", "init_args": []}], "an unknown step"),
    ],
)
def test_plain_transforms_that_cannot_be_reproduced_are_refused(
    tmp_path: Path, transforms: list[Any], message: str
) -> None:
    with pytest.raises(BankFileError, match=re.escape(message)) as raised:
        read(tmp_path, checkpoint_file(BANK, says=newest(*transforms)))
    assert str(raised.value).startswith(str(tmp_path))


ALBUMENTATIONS = {
    "a checkpoint": checkpoint_file(
        BANK, model={"backbone": "resnet18"}, dataset={"image_size": 256, "center_crop": 224}
    ),
    "a checkpoint's configuration": zipped(
        {
            "state_dict": {"model.memory_bank": 1},
            "hyper_parameters": Object(Global("omegaconf.dictconfig", "DictConfig"), _content={}),
        },
        {},
    ),
    "an exported model": zipped(
        {
            "model": module("PatchcoreModel", {}),
            "metadata": {"transform": {"transform": {"__class_fullname__": "Compose"}}},
        },
        {},
    ),
}


@pytest.mark.parametrize("name", ALBUMENTATIONS)
def test_anomalib_0_resizes_otherwise_and_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(BankFileError) as raised:
        read(tmp_path, ALBUMENTATIONS[name])
    if name != "a checkpoint's configuration":
        assert "Anomalib 0, which resizes images with OpenCV" in str(raised.value)


@pytest.mark.parametrize("name", ["model.onnx", "model.XML", "model.bin"])
def test_other_exports_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(BankFileError, match="looks like an export to ONNX or OpenVINO; give the"):
        read_anomalib_file(tmp_path / name, 1000)


@pytest.mark.parametrize(("size", "crop_side"), [(80, 77), (255, 224), (67, 64)])
def test_a_crop_off_the_centre_is_refused_from_an_option_too(
    tmp_path: Path, size: int, crop_side: int
) -> None:
    path = tmp_path / "leather.pt"
    path.write_bytes(tensor_file(BANK))
    off = round((size - crop_side) / 2) != (size - crop_side) // 2
    assert off
    with (
        Workspace(home=tmp_path / "home") as workspace,
        pytest.raises(PatchbankError, match="one pixel off the centre"),
    ):
        import_anomalib_file(
            workspace, path, "brushed", image_size=size, center_crop=crop_side, **MADE_WITH
        )


def test_numbers_too_large_for_float32_are_refused(tmp_path: Path) -> None:
    bank = np.full((2, 3), 1e300)
    path = tmp_path / "leather.pt"
    content = zipped(
        Call(
            Global("torch._utils", "_rebuild_tensor_v2"),
            *tensor_arguments(bank.size),
        ),
        {"0": bank.tobytes()},
    )
    path.write_bytes(content)
    with (
        Workspace(home=tmp_path / "home") as workspace,
        pytest.raises(BankFileError, match="not finite"),
    ):
        import_anomalib_file(workspace, path, "brushed", assume_defaults=True)


def tensor_arguments(count: int) -> tuple[Any, ...]:
    from tests.fixtures.torch_files import storage

    return storage("0", count, "DoubleStorage"), 0, (2, 3), (3, 1), False, {}
