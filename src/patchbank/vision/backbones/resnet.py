"""ResNet-18, ResNet-50, and Wide ResNet-50-2, PatchCore's original network.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; Zagoruyko and Komodakis, "Wide
Residual Networks", BMVC 2016. Bottlenecks have their stride in the 3 x 3 convolution, as in
torchvision and timm; the weights have the same names as there.

Layers are the outputs of the four stages, ``layer1`` to ``layer4``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from patchbank.vision.backbones.base import Backbone, Layer, fold_batch_norm
from patchbank.vision.backbones.kept_weights import IMAGENET_MEAN, IMAGENET_STD, KeptWeights

if TYPE_CHECKING:
    from patchbank.vision.backbones.graph import GraphWriter

_EPSILON: Final = 1e-5
_STEM_CHANNELS: Final = 64
_STAGE_WIDTHS: Final = (64, 128, 256, 512)
_CLASSES: Final = 1000


@dataclass(frozen=True)
class _Convolution:
    """A convolution and the batch normalisation after it."""

    name: str
    norm: str
    inputs: int
    outputs: int
    size: int
    stride: int = 1

    @property
    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        yield f"{self.name}.weight", (self.outputs, self.inputs, self.size, self.size)
        for part in ("weight", "bias", "running_mean", "running_var"):
            yield f"{self.norm}.{part}", (self.outputs,)


@dataclass(frozen=True)
class _Block:
    path: tuple[_Convolution, ...]
    shortcut: _Convolution | None


def _block(
    prefix: str, inputs: int, width: int, stride: int, *, bottleneck: bool, base_width: int
) -> _Block:
    sizes: tuple[tuple[int, int, int, int], ...]
    if bottleneck:
        inner, outputs = width * base_width // 64, 4 * width
        sizes = ((inputs, inner, 1, 1), (inner, inner, 3, stride), (inner, outputs, 1, 1))
    else:
        outputs = width
        sizes = ((inputs, width, 3, stride), (width, width, 3, 1))
    path = tuple(
        _Convolution(f"{prefix}.conv{number}", f"{prefix}.bn{number}", *size)
        for number, size in enumerate(sizes, start=1)
    )
    shortcut = None
    if stride != 1 or inputs != outputs:
        name = f"{prefix}.downsample"
        shortcut = _Convolution(f"{name}.0", f"{name}.1", inputs, outputs, 1, stride)
    return _Block(path, shortcut)


class ResNet(Backbone):
    """A ResNet.

    Parameters
    ----------
    name : str
    depths : tuple of int
        Blocks of each stage.
    bottleneck : bool
        Whether a block has three convolutions instead of two.
    default_layers : tuple of str
        The layers used by default.
    repository : str
        The repository of the weights on the Hugging Face hub.
    base_width : int
        Inner channels of a bottleneck in the first stage.
    """

    licence = "Apache-2.0"

    def __init__(
        self,
        name: str,
        depths: tuple[int, ...],
        *,
        bottleneck: bool,
        default_layers: tuple[str, ...],
        repository: str,
        base_width: int = 64,
    ) -> None:
        self.name = name
        self.default_layers = default_layers
        self._stem = _Convolution("conv1", "bn1", 3, _STEM_CHANNELS, 7, 2)
        self._stages: dict[str, list[_Block]] = {}
        layers = []
        channels, total_stride = _STEM_CHANNELS, 4
        for number, (depth, width) in enumerate(zip(depths, _STAGE_WIDTHS, strict=True), start=1):
            stage = f"layer{number}"
            blocks = self._stages[stage] = []
            for index in range(depth):
                stride = 2 if number > 1 and index == 0 else 1
                blocks.append(
                    _block(
                        f"{stage}.{index}",
                        channels,
                        width,
                        stride,
                        bottleneck=bottleneck,
                        base_width=base_width,
                    )
                )
                channels = blocks[-1].path[-1].outputs
                total_stride *= stride
            layers.append(Layer(stage, channels, total_stride))
        self.layers = tuple(layers)
        shapes = dict(shape for convolution in self._convolutions() for shape in convolution.shapes)
        learned = (shape for key, shape in shapes.items() if ".running_" not in key)
        self.parameters = sum(map(math.prod, learned)) + (channels + 1) * _CLASSES
        self.weights = KeptWeights(name, repository, shapes)

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

    def write(
        self, graph: GraphWriter, weights: Mapping[str, npt.NDArray[Any]], layers: tuple[str, ...]
    ) -> dict[str, str]:
        """Write the stem and the stages up to the deepest of `layers`; see `Backbone.write`."""

        def convolved(value: str, layer: _Convolution) -> str:
            kernel, bias = fold_batch_norm(
                weights[f"{layer.name}.weight"], weights, layer.norm, epsilon=_EPSILON
            )
            return graph.convolution(
                value, kernel, bias, stride=layer.stride, padding=layer.size // 2
            )

        value = graph.normalise(
            graph.pixels,
            [255 * value for value in IMAGENET_MEAN],
            [255 * value for value in IMAGENET_STD],
        )
        value = graph.relu(convolved(value, self._stem))
        value = graph.max_pool(value, 3, stride=2, padding=1)
        taps: dict[str, str] = {}
        for stage, blocks in self._stages.items():
            for block in blocks:
                entry = value
                for convolution in block.path[:-1]:
                    value = graph.relu(convolved(value, convolution))
                value = convolved(value, block.path[-1])
                if block.shortcut is not None:
                    entry = convolved(entry, block.shortcut)
                value = graph.relu(graph.add(value, entry))
            if stage in layers:
                taps[stage] = value
                if len(taps) == len(layers):
                    break
        return taps

    def _convolutions(self) -> Iterator[_Convolution]:
        yield self._stem
        for blocks in self._stages.values():
            for block in blocks:
                yield from block.path
                if block.shortcut is not None:
                    yield block.shortcut


BACKBONES: Final[tuple[Backbone, ...]] = (
    ResNet(
        "wide_resnet50_2",
        (3, 4, 6, 3),
        bottleneck=True,
        base_width=128,
        default_layers=("layer2", "layer3"),
        # The weights that timm, and so Anomalib, uses under this name.
        repository="timm/wide_resnet50_2.racm_in1k",
    ),
    ResNet(
        "resnet50",
        (3, 4, 6, 3),
        bottleneck=True,
        default_layers=("layer2", "layer3"),
        repository="timm/resnet50.a1_in1k",
    ),
    ResNet(
        "resnet18",
        (2, 2, 2, 2),
        bottleneck=False,
        default_layers=("layer2", "layer3"),
        repository="timm/resnet18.a1_in1k",
    ),
)
