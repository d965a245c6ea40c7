"""The base class of backbones: layers, source of the weights, and graph."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from patchbank.vision.backbones.graph import GraphWriter


@dataclass(frozen=True)
class Layer:
    """An output of a backbone that features can be taken from.

    Parameters
    ----------
    name : str
        Name, unique in its backbone.
    channels : int
        Number of channels, added to a patch feature's dimension.
    stride : int
        Pixels of the network's input between positions.
    """

    name: str
    channels: int
    stride: int


class Backbone(ABC):
    """A pretrained network whose graph patchbank writes.

    Attributes
    ----------
    name : str
        The name users type.
    layers : tuple of Layer
        From input to output of the network; strides never decrease.
    default_layers : tuple of str
        The layers used by default.
    licence : str
        SPDX identifier of the weights' licence.
    parameters : int or None
        The number of parameters of the published network with classifier; None if unknown.
    """

    name: str
    layers: tuple[Layer, ...]
    default_layers: tuple[str, ...]
    licence: str
    parameters: int | None

    @property
    @abstractmethod
    def weights_sha256(self) -> str:
        """Hex digest of the weights, without reading them; may raise `MissingWeightsError`."""

    @property
    @abstractmethod
    def install(self) -> str:
        """The command that installs the weights."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """The source of the weights."""

    @abstractmethod
    def weights_path(self) -> Path | None:
        """Return the weights file, None if it is not on this machine."""

    def weights_installed(self) -> bool:
        """Return whether the weights file exists; its content is not checked."""
        return self.weights_path() is not None

    @abstractmethod
    def read_weights(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the weights by name.

        Raises
        ------
        MissingExtraError, MissingWeightsError
            If they are not installed.
        WeightsError
            If they are damaged or not the expected ones.
        """

    @abstractmethod
    def write(
        self, graph: GraphWriter, weights: Mapping[str, npt.NDArray[Any]], layers: tuple[str, ...]
    ) -> dict[str, str]:
        """Write the network into `graph`, down to the deepest of `layers`.

        Parameters
        ----------
        graph : GraphWriter
            Its input is an RGB image with float values 0 to 255, (1, 3, side, side). The graph must
            include the network's normalisation.
        weights : mapping of str to ndarray
            The result of `read_weights`.
        layers : tuple of str
            Names of layers of this backbone.

        Returns
        -------
        dict of str to str
            The name of each layer's value in the graph, (1, channels, height, width).
        """

    def check_side(self, side: int) -> None:
        """Raise `ParameterError` if the network does not accept `side` pixels; most accept any."""
        return

    def layer(self, name: str) -> Layer:
        """Return the layer called `name`, which must exist."""
        return next(layer for layer in self.layers if layer.name == name)

    @staticmethod
    def side_at(layer: Layer, side: int) -> int:
        """Return the number of positions of `layer` along an input of `side` pixels."""
        return -(-side // layer.stride)


def fold_batch_norm(
    kernel: npt.NDArray[np.float32],
    weights: Mapping[str, npt.NDArray[Any]],
    prefix: str,
    *,
    epsilon: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fold the batch normalisation after a convolution into the convolution.

    Parameters
    ----------
    kernel : ndarray of float32 (outputs, inputs, height, width)
        The convolution's kernel; it has no bias.
    weights : mapping of str to ndarray
        Contains `prefix` + ``.weight``, ``.bias``, ``.running_mean`` and ``.running_var``.
    prefix : str
        Name of the normalisation.
    epsilon : float
        The constant that the network adds to the variance.

    Returns
    -------
    kernel : ndarray of float32, of the same shape
    bias : ndarray of float32 (outputs,)
    """
    # In float64, so that folding adds no error to the float32 result.
    gain, shift, mean, variance = (
        weights[f"{prefix}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + epsilon)
    folded = kernel.astype(np.float64) * scale[:, None, None, None]
    return folded.astype(np.float32), (shift - mean * scale).astype(np.float32)
