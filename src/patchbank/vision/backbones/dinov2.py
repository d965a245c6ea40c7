"""DINOv2's vision transformers with patch size 14: ViT-S/14 and ViT-B/14, without registers.

Oquab et al., "DINOv2: Learning Robust Visual Features without Supervision", TMLR 2024. Weights have
timm's names or those of Hugging Face's ``Dinov2Model``.

Layers are the patch tokens after each block, starting with ``blocks.0``, with the network's final
layer normalisation applied, as in DINOv2's ``get_intermediate_layers``, Hugging Face's backbone and
Anomalib. The default is the last block, as in AnomalyDINO (Damm et al., WACV 2025).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.vision.backbones.base import Backbone, Layer
from patchbank.vision.backbones.kept_weights import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Arrays,
    KeptWeights,
)

if TYPE_CHECKING:
    from patchbank.vision.backbones.graph import GraphWriter

_PATCH: Final = 14
_DEPTH: Final = 12
_HEAD_CHANNELS: Final = 64
_EPSILON: Final = 1e-6
# Trained on images of 518 pixels.
_TRAINED_GRID: Final = 37
# PyTorch's coefficient, with which the original code resizes position embeddings.
_CUBIC: Final = -0.75


class Dinov2(Backbone):
    """A DINOv2 transformer.

    Parameters
    ----------
    name : str
    channels : int
        Length of a token.
    repository : str
        The repository of the weights on the Hugging Face hub.
    """

    licence = "Apache-2.0"

    def __init__(self, name: str, channels: int, repository: str) -> None:
        self.name = name
        self.layers = tuple(Layer(f"blocks.{n}", channels, _PATCH) for n in range(_DEPTH))
        self.default_layers = (self.layers[-1].name,)
        self._channels = channels
        shapes = _shapes(channels)
        self.parameters = sum(map(math.prod, shapes.values()))
        self.weights = KeptWeights(name, repository, shapes, translate=_in_timms_names)

    @property
    def weights_sha256(self) -> str:
        """Hex digest of the weights file."""
        return self.weights.sha256

    @property
    def install(self) -> str:
        """The command that installs the weights."""
        return self.weights.install

    @property
    def origin(self) -> str:
        """The source of the weights."""
        return self.weights.origin

    def weights_path(self) -> Path | None:
        """Return the weights file, None if it is not on this machine."""
        return self.weights.path()

    def read_weights(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the verified weights by name."""
        return self.weights.read()

    def check_side(self, side: int) -> None:
        """Check that the image consists of whole patches."""
        if side % _PATCH:
            lower = max(side // _PATCH * _PATCH, 3 * _PATCH)
            raise ParameterError(
                f"{self.name} needs an image size or a tile that is a multiple of {_PATCH} pixels, "
                f"not {side}; give {lower} or {lower + _PATCH}"
            )

    def write(
        self, graph: GraphWriter, weights: Mapping[str, npt.NDArray[Any]], layers: tuple[str, ...]
    ) -> dict[str, str]:
        """Write patches and blocks up to the deepest of `layers`; see `Backbone.write`."""
        writer = _TokenWriter(graph, weights, self._channels)
        value = writer.tokens()
        taps: dict[str, str] = {}
        for index in range(_DEPTH):
            name = f"blocks.{index}"
            value = writer.block(value, name)
            if name in layers:
                taps[name] = writer.patch_map(value)
                if len(taps) == len(layers):
                    break
        return taps


class _TokenWriter:
    """A writer of a transformer's parts; values are tokens, (1, tokens, channels)."""

    def __init__(self, graph: GraphWriter, weights: Arrays, channels: int) -> None:
        self._graph = graph
        self._weights = weights
        self._channels = channels
        self._grid = graph.side(graph.pixels) // _PATCH

    def tokens(self) -> str:
        """Add the class token and the patches' tokens with their positions."""
        graph, weights = self._graph, self._weights
        pixels = graph.normalise(
            graph.pixels,
            [255 * value for value in IMAGENET_MEAN],
            [255 * value for value in IMAGENET_STD],
        )
        patches = graph.convolution(
            pixels,
            weights["patch_embed.proj.weight"],
            weights["patch_embed.proj.bias"],
            stride=_PATCH,
            padding=0,
        )
        rows = self._node("Transpose", self._reshape(patches, (1, self._channels, -1)), [0, 2, 1])
        positions = _resized_positions(weights["pos_embed"], self._grid)
        placed = graph.node("Add", [rows, graph.constant(positions[:, 1:])])
        first = graph.constant(weights["cls_token"] + positions[:, :1])
        return graph.concatenate([first, placed])

    def block(self, value: str, prefix: str) -> str:
        """Add one block: attention, then the perceptron, each scaled and added to its input."""
        graph = self._graph
        attended = self._attention(self._normalised(value, f"{prefix}.norm1"), prefix)
        value = graph.node("Add", [value, attended])
        hidden = self._linear(
            self._normalised(value, f"{prefix}.norm2"), *self._affine(f"{prefix}.mlp.fc1")
        )
        result = self._linear(
            self._gelu(hidden), *self._scaled(f"{prefix}.mlp.fc2", f"{prefix}.ls2.gamma")
        )
        return graph.node("Add", [value, result])

    def patch_map(self, value: str) -> str:
        """Add the normalised patch tokens as a feature map, (1, channels, rows, columns)."""
        graph = self._graph
        bounds = (np.array([bound], np.int64) for bound in (1, np.iinfo(np.int64).max, 1))
        patches = graph.node("Slice", [value, *map(graph.constant, bounds)])
        channels_first = self._node("Transpose", self._normalised(patches, "norm"), [0, 2, 1])
        shape = (1, self._channels, self._grid, self._grid)
        return graph.node(
            "Reshape",
            [channels_first, graph.constant(np.array(shape, np.int64))],
            side=self._grid,
        )

    def _attention(self, value: str, prefix: str) -> str:
        graph, channels = self._graph, self._channels
        weight, bias = self._affine(f"{prefix}.attn.qkv")
        heads = channels // _HEAD_CHANNELS
        split = []
        for part in range(3):
            rows = slice(part * channels, (part + 1) * channels)
            tokens = self._linear(value, weight[rows], bias[rows])
            split.append(self._reshape(tokens, (1, -1, heads, _HEAD_CHANNELS)))
        queries = self._node("Transpose", split[0], [0, 2, 1, 3])
        keys = self._node("Transpose", split[1], [0, 2, 3, 1])
        values = self._node("Transpose", split[2], [0, 2, 1, 3])
        products = graph.node("MatMul", [queries, keys])
        scale = graph.constant(np.array(_HEAD_CHANNELS**-0.5, np.float32))
        shares = graph.node("Softmax", [graph.node("Mul", [products, scale])], axis=-1)
        mixed = self._node("Transpose", graph.node("MatMul", [shares, values]), [0, 2, 1, 3])
        return self._linear(
            self._reshape(mixed, (1, -1, channels)),
            *self._scaled(f"{prefix}.attn.proj", f"{prefix}.ls1.gamma"),
        )

    def _normalised(self, value: str, name: str) -> str:
        """Add a layer normalisation from operators of our opset; OpenVINO fuses them again."""
        graph = self._graph
        centred = graph.node("Sub", [value, graph.node("ReduceMean", [value], axes=[-1])])
        squares = graph.node("Mul", [centred, centred])
        variance = graph.node("ReduceMean", [squares], axes=[-1])
        epsilon = graph.constant(np.array(_EPSILON, np.float32))
        spread = graph.node("Sqrt", [graph.node("Add", [variance, epsilon])])
        unit = graph.node("Div", [centred, spread])
        gain, shift = (graph.constant(part) for part in self._affine(name))
        return graph.node("Add", [graph.node("Mul", [unit, gain]), shift])

    def _gelu(self, value: str) -> str:
        graph = self._graph
        half, one, root = (
            graph.constant(np.array(number, np.float32)) for number in (0.5, 1, math.sqrt(2))
        )
        spread = graph.node("Erf", [graph.node("Div", [value, root])])
        share = graph.node("Add", [spread, one])
        return graph.node("Mul", [graph.node("Mul", [value, share]), half])

    def _linear(
        self, value: str, weight: npt.NDArray[np.float32], bias: npt.NDArray[np.float32]
    ) -> str:
        graph = self._graph
        product = graph.node("MatMul", [value, graph.constant(weight.T)])
        return graph.node("Add", [product, graph.constant(bias)])

    def _affine(self, name: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        return self._weights[f"{name}.weight"], self._weights[f"{name}.bias"]

    def _scaled(
        self, name: str, scale: str
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return a layer with its outputs' scale folded in, computed in float64."""
        weight, bias = (part.astype(np.float64) for part in self._affine(name))
        factor = self._weights[scale].astype(np.float64)
        return (weight * factor[:, None]).astype(np.float32), (bias * factor).astype(np.float32)

    def _reshape(self, value: str, shape: tuple[int, ...]) -> str:
        return self._graph.node("Reshape", [value, self._graph.constant(np.array(shape, np.int64))])

    def _node(self, operator: str, value: str, order: list[int]) -> str:
        return self._graph.node(operator, [value], perm=order)


def _shapes(channels: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all arrays under timm's names."""
    tokens = _TRAINED_GRID**2 + 1
    shapes: dict[str, tuple[int, ...]] = {
        "cls_token": (1, 1, channels),
        "pos_embed": (1, tokens, channels),
        "patch_embed.proj.weight": (channels, 3, _PATCH, _PATCH),
        "patch_embed.proj.bias": (channels,),
    }
    for index in range(_DEPTH):
        for name, inputs, outputs in (
            ("attn.qkv", channels, 3 * channels),
            ("attn.proj", channels, channels),
            ("mlp.fc1", channels, 4 * channels),
            ("mlp.fc2", 4 * channels, channels),
        ):
            shapes[f"blocks.{index}.{name}.weight"] = (outputs, inputs)
            shapes[f"blocks.{index}.{name}.bias"] = (outputs,)
        for name in ("norm1.weight", "norm1.bias", "ls1.gamma"):
            shapes[f"blocks.{index}.{name}"] = (channels,)
        for name in ("norm2.weight", "norm2.bias", "ls2.gamma"):
            shapes[f"blocks.{index}.{name}"] = (channels,)
    return {**shapes, "norm.weight": (channels,), "norm.bias": (channels,)}


def _in_timms_names(arrays: Arrays) -> Arrays:
    """Return the arrays under timm's names."""
    if "embeddings.cls_token" not in arrays:
        return arrays
    simple = {
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection.weight": "patch_embed.proj.weight",
        "embeddings.patch_embeddings.projection.bias": "patch_embed.proj.bias",
        "layernorm.weight": "norm.weight",
        "layernorm.bias": "norm.bias",
    }
    parts: dict[str, tuple[str, ...]] = {}
    for index in range(_DEPTH):
        theirs, ours = f"encoder.layer.{index}", f"blocks.{index}"
        simple[f"{theirs}.layer_scale1.lambda1"] = f"{ours}.ls1.gamma"
        simple[f"{theirs}.layer_scale2.lambda1"] = f"{ours}.ls2.gamma"
        for part in ("weight", "bias"):
            attention = f"{theirs}.attention"
            simple[f"{attention}.output.dense.{part}"] = f"{ours}.attn.proj.{part}"
            for name in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                simple[f"{theirs}.{name}.{part}"] = f"{ours}.{name}.{part}"
            parts[f"{ours}.attn.qkv.{part}"] = tuple(
                f"{attention}.attention.{name}.{part}" for name in ("query", "key", "value")
            )
    translated = {ours: arrays[theirs] for theirs, ours in simple.items() if theirs in arrays}
    for ours, names in parts.items():
        if all(name in arrays for name in names):
            translated[ours] = np.concatenate([arrays[name] for name in names])
    return translated


def _resized_positions(positions: npt.NDArray[np.float32], side: int) -> npt.NDArray[np.float32]:
    """Resize the patches' position embeddings bicubically to `side` x `side`; keep the first."""
    if side == _TRAINED_GRID:
        return positions
    table = positions[0, 1:].reshape(_TRAINED_GRID, _TRAINED_GRID, -1).astype(np.float64)
    matrix = _cubic_matrix(_TRAINED_GRID, side)
    resized = np.einsum("yi,xj,ijc->yxc", matrix, matrix, table, optimize=True)
    rows = resized.reshape(1, side * side, -1).astype(np.float32)
    return np.concatenate([positions[:, :1], rows], axis=1)


def _cubic_matrix(before: int, after: int) -> npt.NDArray[np.float64]:
    """Return a resize matrix for an axis: half-pixel centres, border repeated, no antialiasing."""
    matrix = np.zeros((after, before))
    positions = (np.arange(after) + 0.5) * before / after - 0.5
    nearest = np.floor(positions).astype(int)
    for offset in range(-1, 3):
        distance = np.abs(positions - nearest - offset)
        near = ((_CUBIC + 2) * distance - (_CUBIC + 3)) * distance**2 + 1
        far = _CUBIC * (((distance - 5) * distance + 8) * distance - 4)
        share = np.where(distance <= 1, near, far)
        np.add.at(matrix, (np.arange(after), np.clip(nearest + offset, 0, before - 1)), share)
    return matrix


BACKBONES: Final[tuple[Backbone, ...]] = (
    Dinov2("dinov2_vits14", 384, "timm/vit_small_patch14_dinov2.lvd142m"),
    Dinov2("dinov2_vitb14", 768, "timm/vit_base_patch14_dinov2.lvd142m"),
)
