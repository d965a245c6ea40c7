"""Networks whose weights are brought or downloaded give what PyTorch gives, at every layer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from torch.nn import functional

from patchbank.inspection.keeping.backbones import add_weights
from patchbank.settings import get_settings
from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.features import write_layer_graph
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.preprocess import Preprocessing, Square
from patchbank.vision.runtime import compile_graph
from tests.parity import references

Cells = list[npt.NDArray[np.uint8]]
TOLERANCE = 1e-4
PUBLISHED_MILLIONS = {
    "wide_resnet50_2": 68.88,
    "resnet50": 25.56,
    "resnet18": 11.69,
    "dinov2_vits14": 22.06,
    "dinov2_vitb14": 86.58,
}


@pytest.fixture(scope="module", autouse=True)
def _shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHBANK_BACKBONES", str(tmp_path_factory.mktemp("backbones")))
        get_settings.cache_clear()
        yield
    get_settings.cache_clear()


@cache
def reference(name: str) -> Any:
    # Rounded, so that the files can be of half the size.
    return references.make(name).half().float()


@pytest.fixture(scope="module")
def add(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], None]:
    """Return a function that adds a network's weights as a user does, once."""

    @cache
    def added(name: str) -> None:
        state = reference(name).state_dict()
        halves = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
        file = tmp_path_factory.mktemp(name) / "model.safetensors"
        safetensors.torch.save_file(halves, file)
        add_weights(name, file)
        file.unlink()

    return added


def tensor(square: Square) -> torch.Tensor:
    return torch.from_numpy(square.copy()).permute(2, 0, 1)[None].float() / 255


def relative_error(ours: npt.NDArray[np.float32], expected: torch.Tensor) -> float:
    exact = expected.numpy().astype(float)
    assert ours.shape == exact.shape
    return float(np.linalg.norm(ours - exact) / np.linalg.norm(exact))


# 225 and 131 pad lopsidedly; 518 is what DINOv2 was trained on, where positions are not resized.
@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("wide_resnet50_2", 131),
        ("resnet50", 225),
        *(("resnet18", side) for side in (224, 256, 225, 131)),
        *(("dinov2_vits14", side) for side in (224, 98, 518)),
        ("dinov2_vitb14", 98),
    ],
)
def test_every_layer_equals_the_reference(
    cells: Cells, add: Callable[[str], None], name: str, side: int
) -> None:
    add(name)
    backbone = get_backbone(name)
    layers = tuple(layer.name for layer in backbone.layers)
    graph = compile_graph(
        lambda: (write_layer_graph(backbone, layers, side),),
        key="",
        precision="f32",
        threads=1,
        streams=1,
        cache_folder=None,
    )
    square = np.ascontiguousarray(Preprocessing(side).apply(cells[0]))
    with torch.no_grad():
        taps = reference(name).taps(tensor(square))
    assert tuple(taps) == layers
    with graph.run(square) as outputs:
        for layer, ours in zip(backbone.layers, outputs, strict=True):
            expected = taps[layer.name]
            positions = backbone.side_at(layer, side)
            assert ours.shape == (1, layer.channels, positions, positions)
            assert relative_error(ours, expected) < TOLERANCE, layer.name
            largest = float(expected.abs().max())
            assert np.abs(ours - expected.numpy()).max() < TOLERANCE * largest, layer.name


def test_wide_features_are_patchcores(cells: Cells, add: Callable[[str], None]) -> None:
    """Pooled, resized to layer2's grid and joined, as PatchCore and Anomalib do."""
    add("wide_resnet50_2")
    settings = ExtractorSettings("wide_resnet50_2", image_size=256, center_crop=224)
    assert settings.layers == ("layer2", "layer3")
    extractor = Extractor(settings, threads=2)
    assert extractor.grid == (28, 28)
    assert extractor.dimension == extractor.embedding_dimension == 1536
    features = extractor.extract(cells[:2])
    for index, cell in enumerate(cells[:2]):
        with torch.no_grad():
            taps = reference("wide_resnet50_2").taps(tensor(settings.preprocessing.apply(cell)))
        maps = [functional.avg_pool2d(taps[name], 3, 1, 1) for name in settings.layers]
        maps[1] = functional.interpolate(maps[1], size=(28, 28), mode="bilinear")
        joined = torch.cat(maps, dim=1)[0].permute(1, 2, 0)
        assert relative_error(features.patches[index], joined) < TOLERANCE
        means = torch.cat([taps[name].mean((2, 3))[0] for name in settings.layers])
        assert relative_error(features.embeddings[index], means) < TOLERANCE


@pytest.mark.parametrize("name", PUBLISHED_MILLIONS)
def test_parameters_are_those_published(name: str) -> None:
    counted = sum(one.numel() for one in reference(name).parameters())
    assert get_backbone(name).parameters == counted
    assert counted / 1e6 == pytest.approx(PUBLISHED_MILLIONS[name], abs=0.005)


def test_hugging_faces_names_give_the_same_weights(
    add: Callable[[str], None], tmp_path: Path
) -> None:
    add("dinov2_vits14")
    ours = get_backbone("dinov2_vits14").read_weights()
    theirs = {_hugging_faces_name(key): value for key, value in ours.items() if ".qkv." not in key}
    theirs["embeddings.mask_token"] = np.zeros((1, 384), np.float32)
    for index in range(12):
        for part in ("weight", "bias"):
            three = np.split(ours[f"blocks.{index}.attn.qkv.{part}"], 3)
            for name, one in zip(("query", "key", "value"), three, strict=True):
                key = f"encoder.layer.{index}.attention.attention.{name}.{part}"
                theirs[key] = np.ascontiguousarray(one)
    file = tmp_path / "model.safetensors"
    safetensors.torch.save_file({k: torch.from_numpy(v) for k, v in theirs.items()}, file)
    weights = get_backbone("dinov2_vits14").weights  # type: ignore[attr-defined]
    again = weights.read_file(file)
    assert again.keys() == ours.keys()
    assert all(np.array_equal(again[key], ours[key]) for key in ours)


def _hugging_faces_name(key: str) -> str:
    if not key.startswith("blocks."):
        return {
            "cls_token": "embeddings.cls_token",
            "pos_embed": "embeddings.position_embeddings",
            "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
            "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
            "norm.weight": "layernorm.weight",
            "norm.bias": "layernorm.bias",
        }[key]
    _, index, rest = key.split(".", 2)
    rest = rest.replace("attn.proj", "attention.output.dense")
    rest = rest.replace("ls1.gamma", "layer_scale1.lambda1")
    rest = rest.replace("ls2.gamma", "layer_scale2.lambda1")
    return f"encoder.layer.{index}.{rest}"


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_read_as_torch_reads_them(tmp_path: Path, kind: torch.dtype) -> None:
    state = {
        key: value.to(kind) if value.is_floating_point() else value
        for key, value in reference("resnet18").state_dict().items()
    }
    file = tmp_path / "model.safetensors"
    safetensors.torch.save_file(state, file)
    weights = get_backbone("resnet18").weights.read_file(file)  # type: ignore[attr-defined]
    for key, value in weights.items():
        assert value.dtype == np.float32
        assert np.array_equal(value, state[key].float().numpy()), key
