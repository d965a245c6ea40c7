"""What a backbone is: its layers, where its weights come from, and how its graph is written."""

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
        Number of channels: what it adds to a patch feature's dimension.
    stride : int
        Pixels of the network's input from one position to the next.
    """

    name: str
    channels: int
    stride: int


class Backbone(ABC):
    """A pretrained network whose graph patchbank writes itself.

    Attributes
    ----------
    name : str
        Name a user types.
    layers : tuple of Layer
        From the input to the output of the network; strides never decrease.
    default_layers : tuple of str
        Those used when none are named.
    licence : str
        SPDX identifier of the weights' licence.
    parameters : int or None
        Of the network as published, its classifier included; None where nobody has counted.
    """

    name: str
    layers: tuple[Layer, ...]
    default_layers: tuple[str, ...]
    licence: str
    parameters: int | None

    @property
    @abstractmethod
    def weights_sha256(self) -> str:
        """Hex digest of the weights, known without reading them.

        Raises
        ------
        MissingWeightsError
            They are not on this machine, and only they could say.
        """

    @property
    @abstractmethod
    def install(self) -> str:
        """What a user types to get the weights."""

    @property
    @abstractmethod
    def origin(self) -> str:
        """Where the weights come from."""

    @abstractmethod
    def weights_path(self) -> Path | None:
        """Return the file of the weights, None where it is not on this machine."""

    def weights_installed(self) -> bool:
        """Return whether the weights are there (their content is not checked)."""
        return self.weights_path() is not None

    @abstractmethod
    def read_weights(self) -> Mapping[str, npt.NDArray[Any]]:
        """Return the weights by name.

        Raises
        ------
        MissingExtraError, MissingWeightsError
            They are not installed.
        WeightsError
            They are damaged or others than expected.
        """

    @abstractmethod
    def write(
        self, graph: GraphWriter, weights: Mapping[str, npt.NDArray[Any]], layers: tuple[str, ...]
    ) -> dict[str, str]:
        """Write the network into `graph`, no deeper than the deepest of `layers`.

        Parameters
        ----------
        graph : GraphWriter
            Its input is an RGB image with values 0 to 255, float, (1, 3, side, side). The network's
            own normalisation belongs into the graph.
        weights : mapping of str to ndarray
            What `read_weights` returned.
        layers : tuple of str
            Names of layers of this backbone.

        Returns
        -------
        dict of str to str
            Each layer's value in the graph, (1, channels, height, width).
        """

    def check_side(self, side: int) -> None:
        """Check that the network takes images of `side` pixels; most take any.

        Raises
        ------
        ParameterError
            It does not.
        """
        return

    def layer(self, name: str) -> Layer:
        """Return the layer called `name`, which exists."""
        return next(layer for layer in self.layers if layer.name == name)

    @staticmethod
    def side_at(layer: Layer, side: int) -> int:
        """Return how many positions `layer` has along an input of `side` pixels."""
        return -(-side // layer.stride)


def fold_batch_norm(
    kernel: npt.NDArray[np.float32],
    weights: Mapping[str, npt.NDArray[Any]],
    prefix: str,
    *,
    epsilon: float,
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Fold the batch normalisation that follows a convolution into it.

    Parameters
    ----------
    kernel : ndarray of float32 (outputs, inputs, height, width)
        The convolution's kernel; it has no bias.
    weights : mapping of str to ndarray
        Holds `prefix` + ``.weight``, ``.bias``, ``.running_mean`` and ``.running_var``.
    prefix : str
        Name of the normalisation.
    epsilon : float
        What the network adds to the variance.

    Returns
    -------
    kernel : ndarray of float32, of the same shape
    bias : ndarray of float32 (outputs,)
    """
    # In float64, so that folding adds no error of its own to the float32 result.
    gain, shift, mean, variance = (
        weights[f"{prefix}.{part}"].astype(np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gain / np.sqrt(variance + epsilon)
    folded = kernel.astype(np.float64) * scale[:, None, None, None]
    return folded.astype(np.float32), (shift - mean * scale).astype(np.float32)
