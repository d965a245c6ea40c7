"""Import and use of Anomalib's banks; the files are made without PyTorch."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

import patchbank as patchbank_api
from patchbank.contrib.anomalib import import_anomalib_file
from patchbank.errors import ParameterError, PatchbankError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.keeping.transfer import export_bank, import_bank_file
from patchbank.inspection.learning.calibrate import calibrate
from patchbank.inspection.workspace import Workspace
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.images import decode
from tests.fixtures.anomalib import (
    bank_tensor,
    checkpoint_file,
    compose,
    crop,
    exported_file,
    legacy_tensor_file,
    normalise,
    resize,
    tensor_file,
)
from tests.fixtures.commands import Run
from tests.fixtures.networks import random_weights, write_weights
from tests.fixtures.surfaces import Surfaces
from tests.fixtures.torch_files import Call, Global, Object, Raw, pickled, storage, zipped

LITE0 = ("--backbone", "efficientnet-lite0")
MADE_WITH = ("--layers", "blocks.4,blocks.10", "--image-size", "64", "--center-crop", "0")
OPTIONS = (*LITE0, *MADE_WITH)
SETTINGS = ExtractorSettings(image_size=64, resize_precision="float32")
LAYERS = ["blocks.4", "blocks.10"]
TRANSFORM = compose(resize(80), crop(64), normalise())

BICUBIC = Call(Global("torchvision.transforms.functional", "InterpolationMode"), "bicubic")
TO_BYTES = Object(Global("torchvision.transforms.v2", "ToDtype"), dtype=Global("torch", "uint8"))

Bank = npt.NDArray[np.float32]


@pytest.fixture(scope="module")
def bank(surfaces: Surfaces, graphs_home: Path) -> Bank:
    """Return every third patch of the good surfaces, as a foreign bank."""
    with Extractor(SETTINGS, cache_folder=graphs_home / "graphs") as extractor:
        images = [decode(path).pixels for path in sorted(surfaces.train.iterdir())]
        features = extractor.extract(images).patches
    return np.ascontiguousarray(features.reshape(-1, features.shape[-1])[::3])


def write(folder: Path, content: bytes, name: str = "leather.pt") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("form", [tensor_file, legacy_tensor_file])
def test_a_saved_tensor_becomes_a_bank_that_judges(
    patchbank: Run, surfaces: Surfaces, bank: Bank, tmp_path: Path, form: Any
) -> None:
    path = write(tmp_path, form(bank))
    done = patchbank("import-anomalib", path, "--category", "brushed", *OPTIONS, "--json")
    assert done.code == 0
    document = done.document
    assert (document["kind"], document["bank_size"]) == ("memory-bank tensor", len(bank))
    assert {setting["setting"]: setting["source"] for setting in document["settings"]} == {
        "backbone": "option",
        "layers": "option",
        "image_size": "option",
        "center_crop": "option",
        "coreset_ratio": "default",
        "num_neighbors": "default",
    }
    assert "could not be checked" in document["remarks"][0]
    assert document["image_score"] == "reweighted"

    shown = patchbank("show", "brushed", "--json").document
    assert shown["provenance_known"] is False
    assert (shown["pass_below"], shown["fail_above"]) == (None, None)
    assert shown["covering_radius"] is None
    assert shown["extractor"]["resize_precision"] == "float32"
    assert "run: patchbank calibrate brushed" in patchbank("inspect", "brushed", surfaces.good).err

    assert patchbank("calibrate", "brushed", surfaces.good).code == 0
    judged = patchbank("inspect", "brushed", surfaces.scratched, "--json")
    assert judged.code == 1
    assert [document["verdict"] for document in judged.documents] == ["fail"] * 8
    assert len(judged.documents[0]["similar"]) == 8
    judged = patchbank("inspect", "brushed", surfaces.good, "--json")
    assert [document["verdict"] for document in judged.documents] == ["pass"] * 8


def test_the_bank_is_the_files_to_the_bit(
    patchbank: Run, bank: Bank, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    path = write(tmp_path, tensor_file(bank))
    assert patchbank("import-anomalib", path, "--category", "brushed", *OPTIONS).code == 0
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        stored = workspace.database.banks.active("brushed")
    assert np.array_equal(stored.content.features, bank)
    assert (stored.content.patch_image == -1).all()


def test_from_python(
    surfaces: Surfaces, bank: Bank, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    where = {"home": graphs_home, "database_url": database_url}
    path = write(tmp_path, checkpoint_file(bank, says={"transform": TRANSFORM}, layers=LAYERS))
    backbone = "efficientnet-lite0"
    report = patchbank_api.import_anomalib(path, "brushed", backbone=backbone, **where)  # type: ignore[arg-type]
    assert report.bank_size == len(bank)
    with patchbank_api.open("brushed", **where) as opened:  # type: ignore[arg-type]
        calibrated = opened.calibrate(surfaces.good, false_alarm_rate=0.1)
        assert calibrated.threshold.sample_size == 8
        assert opened.inspect(next(surfaces.scratched.iterdir())).verdict == "fail"
        # Without the calibration nothing is judged any more, by any process.
        (remark,) = opened.undo().remarks
        assert remark.startswith("this version has no threshold, so that no image can be judged")
        assert opened.undo(2).remarks == ()


def test_an_imported_bank_can_have_regions_and_keeps_them(
    surfaces: Surfaces, bank: Bank, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    path = write(tmp_path, checkpoint_file(bank, says={"transform": TRANSFORM}, layers=LAYERS))
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        made_with = {"backbone": "efficientnet-lite0"}
        with pytest.raises(ParameterError, match=r"does not say what size .* in per cent"):
            import_anomalib_file(workspace, path, "brushed", ignore_box="0,0,9,9", **made_with)  # type: ignore[arg-type]
        import_anomalib_file(workspace, path, "brushed", only_box="0%,0%,50%,100%", **made_with)  # type: ignore[arg-type]
        good = sorted(surfaces.good.iterdir())
        calibrate(workspace, "brushed", good)
        export_bank(workspace, "brushed", tmp_path / "brushed.bank")
        import_bank_file(workspace, tmp_path / "brushed.bank", category="again")
        for category in ("brushed", "again"):
            found = Inspector(workspace, category, record=False).inspect(good[0]).full_map()
            half = found.shape[1] // 2
            assert np.isnan(found[:, half + 8 :]).all()
            assert np.isfinite(found[half, 20 : half - 8]).all()


def test_a_bank_without_calibration_goes_along_in_a_file(
    patchbank: Run, surfaces: Surfaces, bank: Bank, tmp_path: Path
) -> None:
    path, file = write(tmp_path, tensor_file(bank)), tmp_path / "brushed.bank"
    assert patchbank("import-anomalib", path, "--category", "brushed", *OPTIONS).code == 0
    assert patchbank("export", "brushed", file).code == 0
    assert patchbank("export", "brushed", file).complaint.startswith(f"{file}: already exists")
    done = patchbank("import", file, "--category", "other")
    assert done.code == 0
    assert f"bank         {len(bank):,} patches" in done.out
    for category in ("brushed", "other"):
        assert patchbank("calibrate", category, surfaces.good).code == 0
    scores = [
        [document["score"] for document in patchbank(*command, "--json").documents]
        for category in ("brushed", "other")
        for command in [("inspect", category, surfaces.scratched)]
    ]
    assert scores[0] == scores[1]


def test_a_checkpoint_says_what_made_it(patchbank: Run, bank: Bank, tmp_path: Path) -> None:
    content = checkpoint_file(
        bank,
        says={"transform": TRANSFORM},
        layers=LAYERS,
        coreset_sampling_ratio=0.3,
        num_neighbors=1,
    )
    path = write(tmp_path, content, "model.ckpt")
    done = patchbank("import-anomalib", path, "--category", "brushed", *LITE0)
    assert done.code == 0
    output = " ".join(done.out.split())
    assert "Lightning checkpoint" in output
    assert "layers blocks.4, blocks.10 (from the file)" in output
    assert "image size 80 (from the file)" in output
    assert "center crop 64 (from the file)" in output
    assert "coreset ratio 0.3 (from the file)" in output
    assert "backbone efficientnet-lite0 (from the option)" in output
    # With one neighbour, Anomalib uses the largest distance as it is.
    assert "image score max" in output
    assert "next patchbank calibrate brushed" in output


@pytest.mark.parametrize(
    ("transform", "crop_side"), [(TRANSFORM, 64), (compose(resize(80), normalise()), None)]
)
def test_an_exported_model_says_what_made_it(
    patchbank: Run, bank: Bank, tmp_path: Path, transform: Any, crop_side: int | None
) -> None:
    content = exported_file(bank, transform=transform, layers=tuple(LAYERS), num_neighbors=9)
    path = write(tmp_path, content)
    done = patchbank("import-anomalib", path, "--category", "brushed", *LITE0, "--json")
    assert done.code == 0
    values = {
        setting["setting"]: (setting["value"], setting["source"])
        for setting in done.document["settings"]
    }
    assert values == {
        "backbone": ("efficientnet-lite0", "option"),
        "layers": (LAYERS, "file"),
        "image_size": (80, "file"),
        "center_crop": (crop_side, "file"),
        "coreset_ratio": (0.25, "file"),
        "num_neighbors": (9, "file"),
    }
    assert done.document["kind"] == "exported model"


def test_defaults_are_assumed_on_request(patchbank: Run, bank: Bank, tmp_path: Path) -> None:
    path = write(tmp_path, checkpoint_file(bank, says={"transform": None}, layers=LAYERS))
    command = ("import-anomalib", path, "--category", "brushed", *LITE0)
    refusal = patchbank(*command)
    assert refusal.code == 2
    assert "give --image-size, --center-crop (0 for none), or --assume-defaults" in refusal.err
    done = patchbank(*command, "--assume-defaults", "--json")
    assert done.code == 0
    # Anomalib 1 crops.
    assert {"setting": "center_crop", "value": 224, "source": "default"} in done.document[
        "settings"
    ]
    assert "does not say image_size, center_crop: Anomalib's defaults are assumed" in done.err


def test_the_network_in_the_file_must_be_the_one_installed(
    patchbank: Run, backbones_folder: Path, tmp_path: Path
) -> None:
    weights = write_weights("resnet18", tmp_path / "model.safetensors")
    assert patchbank("backbone", "add", "resnet18", "--file", weights).code == 0
    network = {
        name: array.astype(np.float32)
        for name, array in random_weights("resnet18").items()
        if not name.startswith(("fc.", "layer4."))
    }
    bank = np.random.default_rng(0).random((20, 128 + 256), np.float32)
    settings: dict[str, Any] = {"backbone": "resnet18", "layers": ["layer2", "layer3"]}
    settings["says"] = {"transform": TRANSFORM}
    path = write(tmp_path, checkpoint_file(bank, network=network, **settings))
    command = ("import-anomalib", path, "--category", "brushed")
    done = patchbank(*command, "--json")
    assert done.code == 0
    assert done.document["remarks"] == []

    assert patchbank("remove", "brushed", "--yes").code == 0
    network["layer3.1.conv2.weight"][5, 4, 1, 2] += 1e-3
    path.write_bytes(checkpoint_file(bank, network=network, **settings))
    assert (
        "was made with other weights of resnet18 than those installed here "
        "(layer3.1.conv2.weight differs)"
    ) in refused(path)


def refused(path: Path, *options: str) -> str:
    """Return the message that an import is refused with, before a database is started."""
    arguments: dict[str, Any] = {
        option.removeprefix("--").replace("-", "_"): int(value) if value.isdigit() else value
        for option, value in zip(options[::2], options[1::2], strict=True)
    }
    home = path.parent / "home"
    with Workspace(home=home) as workspace, pytest.raises(PatchbankError) as caught:
        import_anomalib_file(workspace, path, "brushed", **arguments)
    assert not (home / "postgres").exists()
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith((f"{path}: ", "resnet18 has no layer")), message
    return message


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((*LITE0, "--layers", "blocks.4"), "was made with layers blocks.4, blocks.10, but the"),
        ((*LITE0, "--image-size", "81"), "was made with image_size 80, but the option says 81"),
        ((*LITE0, "--center-crop", "32"), "was made with center_crop 64, but the option says 32"),
        ((), "does not say backbone, and wrong values make all scores wrong; give --backbone"),
        (("--backbone", "resnet18"), "resnet18 has no layer 'blocks.4'"),
    ],
)
def test_an_option_that_contradicts_the_file_is_refused(
    bank: Bank, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    path = write(tmp_path, checkpoint_file(bank, says={"transform": TRANSFORM}, layers=LAYERS))
    assert message in refused(path, *options)


@pytest.mark.parametrize(
    ("transform", "attributes", "message"),
    [
        (compose(resize(80, size=[80, 96]), normalise()), {}, "resizes to [80, 96]"),
        (compose(resize(80, size=[80]), normalise()), {}, "resizes to [80]"),
        (compose(resize(80, antialias=False), normalise()), {}, "without antialiasing"),
        (compose(resize(80), crop(77), normalise()), {}, "one pixel off the centre"),
        (compose(resize(80, antialias=None), normalise()), {}, "without antialiasing"),
        (compose(resize(80, interpolation="nearest"), normalise()), {}, "other than bilinearly"),
        (compose(resize(80, interpolation=0), normalise()), {}, "other than bilinearly"),
        (compose(resize(80, interpolation=BICUBIC), normalise()), {}, "other than bilinearly"),
        (compose(resize(96), resize(80), normalise()), {}, "with Resize"),
        (compose(resize(80), crop(72), crop(64), normalise()), {}, "with ExportableCenterCrop"),
        (compose(resize(80), crop(88), normalise()), {}, "adds a border"),
        (compose(resize(80), normalise(), normalise()), {}, "with Normalize"),
        (compose(resize(80), TO_BYTES, normalise()), {}, "with ToDtype"),
        (compose(resize(80), normalise([0.5, 0.5, 0.5])), {}, "a mean other than ImageNet's"),
        (compose(resize(80)), {}, "does not resize images and normalise them like"),
        (compose(resize(80), Object(Global("kornia", "Blur")), normalise()), {}, "with Blur"),
        (TRANSFORM, {"tiler": Object(Global("anomalib", "Tiler"))}, "with tiling"),
        (TRANSFORM, {"layers": LAYERS[::-1]}, "in this order, but patchbank joins"),
        (TRANSFORM, {"layers": ["blocks.4"]}, "has 152 dimensions, but efficientnet-lite0 gives"),
        (TRANSFORM, {"backbone": "efficientnet_lite0.ra_in1k"}, "whose weights and normalisation"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(
    bank: Bank, tmp_path: Path, transform: Any, attributes: Any, message: str
) -> None:
    attributes = {"layers": LAYERS, **attributes}
    path = write(tmp_path, exported_file(bank, transform=transform, **attributes))
    options = () if "backbone" in attributes else LITE0
    assert message in refused(path, *options)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({}, "contains no memory bank"),
        ([1, 2], "contains no memory bank"),
        ({"state_dict": {"x": 1}}, "contains 0 tensors named memory_bank"),
        ({"model": Object(Global("anomalib", "Padim"), _modules={})}, "(Padim) has no memory"),
        (Call(Global("torch._utils", "_rebuild_tensor_v2"), 1), "wrong arguments"),
        (bank_tensor(np.zeros((1, 3)), "LongStorage"), "has type int64, expected floats"),
        (bank_tensor(np.zeros((0, 3))), "expected (patches, dimensions); was the model trained?"),
        (bank_tensor(np.zeros((1, 152))), "is truncated: storage '0' has 24 bytes, not 608"),
        (bank_tensor(np.broadcast_to(np.float32(), (1 << 20, 1 << 20))), "is truncated"),
    ],
)
def test_files_without_a_bank(tmp_path: Path, value: Any, message: str) -> None:
    assert message in refused(write(tmp_path, zipped(value, {"0": bytes(24)})), *LITE0)


def test_values_that_are_not_numbers_are_refused(bank: Bank, tmp_path: Path) -> None:
    broken = bank.copy()
    broken[3, 5] = np.nan
    assert "not finite" in refused(write(tmp_path, tensor_file(broken)), *OPTIONS)


def test_a_category_with_a_bank_is_left_alone(
    patchbank: Run, surfaces: Surfaces, bank: Bank, tmp_path: Path
) -> None:
    path = write(tmp_path, tensor_file(bank))
    assert patchbank("fit", "brushed", surfaces.train, "--image-size", "64").code == 0
    again = ("import-anomalib", path, "--category", "brushed", *OPTIONS)
    done = patchbank(*again)
    assert done.code == 2
    assert "category 'brushed' already has a bank" in done.err
    assert patchbank("inspect", "brushed", surfaces.good).code in (0, 1)
    assert patchbank(*again, "--replace", "--json").document["bank_version"] == 2


# Each attack would create the file `mark` if it were run.
HOSTILE: dict[str, Any] = {
    "os.system by REDUCE": lambda mark: Call(Global("posix", "system"), f"touch {mark}"),
    "os.system by its other name": lambda mark: Call(Global("os", "system"), f"touch {mark}"),
    "subprocess by NEWOBJ": lambda mark: Raw(
        b"csubprocess\nPopen\n", pickle.dumps((["touch", str(mark)],), 2)[2:-1], b"\x81"
    ),
    "eval through BUILD": lambda mark: Object(
        Global("builtins", "eval"), code=f"open({str(mark)!r}, 'w')"
    ),
    "exec in a tensor's arguments": lambda mark: Call(
        Global("torch._utils", "_rebuild_tensor_v2"),
        Call(Global("__builtin__", "exec"), f"open({str(mark)!r}, 'w')"),
    ),
    "INST": lambda mark: Raw(b"(", pickle.dumps(f"touch {mark}", 2)[2:-1], b"ios\nsystem\n"),
    "OBJ": lambda mark: Raw(b"(cos\nsystem\n", pickle.dumps(f"touch {mark}", 2)[2:-1], b"o"),
    "NEWOBJ_EX": lambda mark: Raw(b"cargparse\nFileType\n)}\x92"),
    "STACK_GLOBAL": lambda mark: Raw(b"X\x02\x00\x00\x00osX\x06\x00\x00\x00system\x93"),
    "EXT1": lambda mark: Raw(b"\x82\x01"),
    "torch.hub": lambda mark: Call(Global("torch.hub", "load"), "repository"),
    "a persistent path": lambda mark: Raw(
        b"(", pickle.dumps(("file", f"../../{mark}"), 2)[2:-1], b"tQ"
    ),
}


@pytest.mark.parametrize("attack", HOSTILE)
@pytest.mark.parametrize("where", ["alone", "beside a bank"])
def test_hostile_files_run_nothing(bank: Bank, tmp_path: Path, attack: str, where: str) -> None:
    mark = tmp_path / "mark"
    value = HOSTILE[attack](mark)
    if where == "beside a bank":
        value = {"state_dict": {"model.memory_bank": bank_tensor(bank)}, "extra": [value]}
    path = write(tmp_path, zipped(value, {"0": bank.tobytes()}))
    assert refused(path, *OPTIONS)
    assert not mark.exists()


@pytest.mark.parametrize("attack", ["os.system by REDUCE", "INST", "OBJ"])
def test_the_attacks_work_where_pickles_are_run(tmp_path: Path, attack: str) -> None:
    # Otherwise the test above could not fail.
    mark = tmp_path / "mark"
    program = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    subprocess.run(
        [sys.executable, "-c", program], input=pickled(HOSTILE[attack](mark)), check=True
    )
    assert mark.exists()


def test_bombs_are_refused_before_memory_is_taken(bank: Bank, tmp_path: Path) -> None:
    huge = 1 << 50
    for value in (
        # A view of one element that claims a petabyte, and a storage that claims it.
        Call(
            Global("torch._utils", "_rebuild_tensor_v2"),
            storage("0", 6), 0, (huge, 2), (0, 0), False, {},
        ),
        Call(
            Global("torch._utils", "_rebuild_tensor_v2"),
            storage("0", huge), 0, (huge // 2, 2), (2, 1), False, {},
        ),
        # A memo index of four billion, and a text of four gigabytes.
        Raw(b"Nr\xff\xff\xff\xff"),
        Raw(b"X\xff\xff\xff\xff"),
        Raw(b"\x8a\xff", bytes(255)),
    ):  # fmt: skip
        path = write(tmp_path, zipped(value, {"0": bytes(24)}))
        refused(path, *OPTIONS)


def test_a_compressed_archive_is_refused(bank: Bank, tmp_path: Path) -> None:
    content = zipped(bank_tensor(bank), {"0": bytes(10_000_000)}, compression=8)
    assert len(content) < 100_000
    assert "its parts are compressed" in refused(write(tmp_path, content), *OPTIONS)


def test_deep_and_circular_structures(bank: Bank, tmp_path: Path) -> None:
    deep = Raw(b"]" * 100_000, b"a" * 99_999)
    path = write(tmp_path, zipped({"state_dict": deep}, {}))
    assert "contains no memory bank" in refused(path, *OPTIONS)
    # A module that is its own child.
    head = b"canomalib\nPatchcore\n)\x81q\x00"
    circle = Raw(head, b"}X\x08\x00\x00\x00_modules}X\x05\x00\x00\x00childh\x00ssb")
    path = write(tmp_path, zipped({"model": circle}, {}))
    assert "(Patchcore) has no memory bank" in refused(path, *OPTIONS)


@pytest.mark.parametrize("content", [b"", b"just text", b"\x89PNG\r\n", pickle.dumps(5, 2)])
def test_a_file_of_something_else_is_not_called_damaged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "junk.pt"
    path.write_bytes(content)
    assert refused(path, *OPTIONS) == (
        f"{path}: is not a file of Anomalib; give a memory_bank saved with torch.save, a Lightning "
        "checkpoint of Anomalib's Patchcore, or a model exported to torch"
    )


def test_save_bank_needs_anomalib_and_the_module_does_not() -> None:
    script = """
import patchbank.contrib.anomalib as module
assert module.import_anomalib
try:
    from patchbank.contrib.anomalib import SaveBank
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("SaveBank runs inside Anomalib 2, which this environment lacks")
