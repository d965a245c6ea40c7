"""Networks of a user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from patchbank.errors import MissingWeightsError, ParameterError, UnknownBackboneError, WeightsError
from patchbank.inspection.keeping.backbones import add_network, list_backbones
from patchbank.vision.backbones import available_backbones, available_layers, get_backbone
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.fixtures.networks import small_network, write_network

# Each network is tried in a process of its own.
pytestmark = pytest.mark.slow

MEAN = (0.5, 0.4, 0.3)
STD = (0.2, 0.25, 0.3)


def add(file: Path, outputs: tuple[str, ...] = ("a", "b"), name: str = "mine", **how: Any) -> None:
    add_network(name, file, outputs, how.pop("mean", MEAN), how.pop("std", STD), **how)


def by_hand(pixels: np.ndarray[Any, Any]) -> list[np.ndarray[Any, Any]]:
    """Return the maps ``a`` and ``b`` of the small network, computed with NumPy."""
    kernels = {
        one.name: onnx.numpy_helper.to_array(one) for one in small_network().graph.initializer
    }
    value = ((pixels / 255 - MEAN) / STD).transpose(2, 0, 1)
    maps = []
    for name in ("a", "b"):
        padded = np.pad(value, ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))[:, ::2, ::2]
        value = np.maximum(np.einsum("oiyx,ihwyx->ohw", kernels[f"kernel_{name}"], windows), 0)
        maps.append(value)
    return maps


@pytest.mark.parametrize("opset", [13, 17, 21])
def test_layers_and_features_are_the_networks(
    backbones_folder: Path, tmp_path: Path, opset: int
) -> None:
    add(write_network(tmp_path / "model.onnx", opset=opset), ("b", "a"))
    assert "mine" in available_backbones()
    assert [(one.name, one.channels, one.stride) for one in available_layers("mine")] == [
        ("a", 4, 2),
        ("b", 6, 4),
    ]
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    settings = ExtractorSettings("mine", image_size=64, pooling=1)
    features = Extractor(settings).extract([pixels]).patches[0]
    assert features.shape == (32, 32, 10)
    shallow, deep = by_hand(pixels)
    assert np.allclose(features[..., :4], shallow.transpose(1, 2, 0), rtol=1e-4, atol=1e-4)
    only_deep = ExtractorSettings("mine", layers=("b",), image_size=64, pooling=1)
    features = Extractor(only_deep).extract([pixels]).patches[0]
    assert np.allclose(features, deep.transpose(1, 2, 0), rtol=1e-4, atol=1e-4)
    (listed,) = [one.to_json() for one in list_backbones() if one.name == "mine"]
    assert listed["here"]
    assert listed["from"] == f"file {tmp_path / 'model.onnx'}"


def test_the_fingerprint_knows_the_file_and_its_normalisation(
    backbones_folder: Path, tmp_path: Path
) -> None:
    file = write_network(tmp_path / "model.onnx")
    seen = set()
    changes: list[dict[str, Any]] = [{}, {"mean": (0.5, 0.5, 0.5)}, {"std": (0.3, 0.3, 0.3)}]
    for how in changes:
        add(file, replace=True, **how)
        seen.add(ExtractorSettings("mine").fingerprint())
    with pytest.raises(ParameterError, match="another file already exists under that name"):
        add(file, mean=(0.1, 0.1, 0.1))
    add(write_network(tmp_path / "other.onnx", opset=18), replace=True, std=(0.3, 0.3, 0.3))
    seen.add(ExtractorSettings("mine").fingerprint())
    assert len(seen) == 4


def test_a_network_of_one_size_says_so(backbones_folder: Path, tmp_path: Path) -> None:
    add(write_network(tmp_path / "model.onnx", side=96))
    assert Extractor(ExtractorSettings("mine", image_size=96)).grid == (48, 48)
    with pytest.raises(
        ParameterError,
        match="accepts images of 96 pixels, not 224; give --image-size 96, or --tile 96",
    ):
        ExtractorSettings("mine")


def test_a_size_that_does_not_divide_is_explained(backbones_folder: Path, tmp_path: Path) -> None:
    # Without padding, a map has one position less than its stride promises, at some sizes.
    file = write_network(tmp_path / "model.onnx", padding=(0, 0, 0, 0))
    with pytest.raises(ParameterError, match="its stride is not a whole number"):
        add(file)
    write_network(file, padding=(0, 0, 1, 1))
    add(file)
    assert Extractor(ExtractorSettings("mine", image_size=64)).grid == (32, 32)
    with pytest.raises(ParameterError, match=r"at b for images of 65 pixels.*multiple of 4 pixels"):
        Extractor(ExtractorSettings("mine", layers=("b",), image_size=65))


def test_names_that_cannot_be(backbones_folder: Path, tmp_path: Path) -> None:
    file = write_network(tmp_path / "model.onnx")
    with pytest.raises(ParameterError, match="wide_resnet50_2 is the name of a known backbone"):
        add(file, name="wide_resnet50_2")
    for name in ("../mine", "Mine", "", ".mine", "a" * 65):
        with pytest.raises(ParameterError, match="64 lowercase letters"):
            add(file, name=name)
        with pytest.raises(UnknownBackboneError):
            get_backbone(name)
    assert not backbones_folder.exists()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (("c",), r"has no value 'c'.*its outputs: b, pooled"),
        (("kernel_a",), r"has no value 'kernel_a'"),
        (("pooled",), r"pooled is \(1, 6\).*give feature maps"),
        (("a", "a"), "name at least one, each only once"),
    ],
)
def test_outputs_that_are_no_feature_maps(
    backbones_folder: Path, tmp_path: Path, outputs: tuple[str, ...], message: str
) -> None:
    file = write_network(tmp_path / "model.onnx")
    with pytest.raises(ParameterError, match=message):
        add(file, outputs)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"shape": (1, 1, 64, 64)}, r"its input pixels is float \(1, 1, 64, 64\)"),
        ({"shape": (1, 3, 64, 96)}, r"\(1, 3, 64, 96\)"),
        ({"shape": (2, 3, 64, 64)}, r"\(2, 3, 64, 64\)"),
        ({"shape": (3, 64, 64)}, r"\(3, 64, 64\)"),
        ({"kind": TensorProto.FLOAT16}, r"is float16 \(1, 3, any, any\)"),
        ({"opset": 11}, "opset 11 is too old; export it again with opset 13 or newer"),
    ],
)
def test_networks_that_cannot_be_used(
    backbones_folder: Path, tmp_path: Path, how: dict[str, Any], message: str
) -> None:
    file = tmp_path / "model.onnx"
    onnx.save_model(small_network(**how), file)
    with pytest.raises(WeightsError, match=message):
        add(file)


def test_files_that_are_no_networks(backbones_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    for content in (b"", b"no network", bytes(1000)):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=r"not (an|a valid) ONNX file"):
            add(file)
    with pytest.raises(WeightsError, match="no such file"):
        add(tmp_path / "absent.onnx")


def test_weights_outside_the_file_are_refused(backbones_folder: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.onnx"
    onnx.save_model(
        small_network(), file, save_as_external_data=True, location="weights", size_threshold=0
    )
    with pytest.raises(
        WeightsError, match="its weights are in separate files; save it as a single file"
    ):
        add(file)
    assert not backbones_folder.exists()


def test_an_operator_nobody_knows(backbones_folder: Path, tmp_path: Path) -> None:
    model = small_network()
    model.graph.node[1].op_type = "Frobnicate"
    model.graph.node[1].domain = "nowhere"
    model.opset_import.append(helper.make_opsetid("nowhere", 1))
    file = tmp_path / "model.onnx"
    onnx.save_model(model, file)
    with pytest.raises(WeightsError, match="OpenVINO cannot run it"):
        add(file)


def test_functions_of_the_file_are_part_of_it(backbones_folder: Path, tmp_path: Path) -> None:
    model = small_network()
    double = helper.make_function(
        "own",
        "Double",
        ["x"],
        ["y"],
        [helper.make_node("Add", ["x", "x"], ["y"])],
        [helper.make_opsetid("", 17)],
    )
    model.functions.append(double)
    model.opset_import.append(helper.make_opsetid("own", 1))
    model.graph.node.append(helper.make_node("Double", ["a"], ["twice"], domain="own"))
    file = tmp_path / "model.onnx"
    onnx.save_model(model, file)
    add(file, ("a", "twice"))
    settings = ExtractorSettings("mine", image_size=64)
    patches = Extractor(settings).extract([np.full((64, 64, 3), 200, np.uint8)]).patches
    assert np.array_equal(2 * patches[..., :4], patches[..., 4:])


def test_a_network_that_changed_or_went(backbones_folder: Path, tmp_path: Path) -> None:
    add(write_network(tmp_path / "model.onnx"))
    (kept,) = backbones_folder.glob("mine/*.onnx")
    write_network(kept, opset=18)
    with pytest.raises(WeightsError, match="has changed since it was added as mine"):
        Extractor(ExtractorSettings("mine", image_size=64))
    kept.unlink()
    assert not get_backbone("mine").weights_installed()
    with pytest.raises(MissingWeightsError, match="is missing; add it again"):
        Extractor(ExtractorSettings("mine", image_size=64))


@pytest.mark.parametrize("how", [{"std": (0.2, 0.0, 0.2)}, {"mean": (0.5, float("nan"), 0.5)}])
def test_numbers_that_do_not_normalise(
    backbones_folder: Path, tmp_path: Path, how: dict[str, Any]
) -> None:
    with pytest.raises(ParameterError, match=r"^(mean|std): give"):
        add(write_network(tmp_path / "model.onnx"), **how)


def with_node(file: Path, node: onnx.NodeProto) -> Path:
    """Write the small network with one node more."""
    model = small_network()
    model.graph.node.append(node)
    onnx.save_model(model, file)
    return file


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    [
        (TensorProto.FLOAT16, 1e-3),
        (TensorProto.BFLOAT16, 1e-2),
        (TensorProto.DOUBLE, 1e-6),
    ],
)
def test_outputs_of_other_precisions_become_float32(
    backbones_folder: Path, tmp_path: Path, kind: int, tolerance: float
) -> None:
    cast = helper.make_node("Cast", ["a"], ["other"], to=kind)
    add(with_node(tmp_path / "model.onnx", cast), ("a", "other"))
    pixels = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    extraction = Extractor(ExtractorSettings("mine", image_size=64)).extract([pixels])
    assert extraction.patches.dtype == extraction.embeddings.dtype == np.float32
    plain, other = extraction.patches[..., :4], extraction.patches[..., 4:]
    assert np.allclose(plain, other, rtol=tolerance, atol=tolerance)
    alone = Extractor(ExtractorSettings("mine", layers=("other",), image_size=64))
    assert alone.extract([pixels]).patches.dtype == np.float32


@pytest.mark.parametrize(
    ("kind", "name"), [(TensorProto.INT64, "i64"), (TensorProto.BOOL, "boolean")]
)
def test_outputs_that_are_no_floating_point_numbers(
    backbones_folder: Path, tmp_path: Path, kind: int, name: str
) -> None:
    cast = helper.make_node("Cast", ["a"], ["other"], to=kind)
    with pytest.raises(ParameterError, match=f"other is {name}; give floating-point"):
        add(with_node(tmp_path / "model.onnx", cast), ("a", "other"))
    assert not backbones_folder.exists()


@pytest.mark.parametrize("size", [-1, 0])
def test_sizes_that_say_nothing_take_any(backbones_folder: Path, tmp_path: Path, size: int) -> None:
    add(write_network(tmp_path / "model.onnx", shape=(1, 3, size, size)))
    assert Extractor(ExtractorSettings("mine", image_size=64)).grid == (32, 32)


def test_weights_that_are_not_numbers(backbones_folder: Path, tmp_path: Path) -> None:
    model = small_network()
    kernel = numpy_helper.to_array(model.graph.initializer[1]).copy()
    kernel[2, 1, 0, 0] = np.nan
    model.graph.initializer[1].CopyFrom(numpy_helper.from_array(kernel, "kernel_b"))
    onnx.save_model(model, tmp_path / "model.onnx")
    with pytest.raises(WeightsError, match=r"kernel_b has NaN weights"):
        add(tmp_path / "model.onnx")


@pytest.mark.parametrize(
    ("node", "message"),
    [
        # The logarithm of what a rectifier has cut to zero.
        (helper.make_node("Log", ["a"], ["odd"]), "odd has values that are not finite"),
        (helper.make_node("RandomNormalLike", ["a"], ["odd"]), "odd differs between two runs"),
        (helper.make_node("RandomUniformLike", ["a"], ["odd"]), "odd differs between two runs"),
    ],
)
def test_outputs_that_are_not_finite_or_not_the_same_twice(
    backbones_folder: Path, tmp_path: Path, node: onnx.NodeProto, message: str
) -> None:
    with pytest.raises(WeightsError, match=message) as caught:
        add(with_node(tmp_path / "model.onnx", node), ("a", "odd"))
    assert "\n" not in str(caught.value)
    assert not backbones_folder.exists()
