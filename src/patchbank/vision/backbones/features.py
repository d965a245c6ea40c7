"""Write the whole graph: backbone, pooled patch features, and the image's embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from patchbank.vision.backbones.base import Backbone, Layer

# pgvector's HNSW indexes accept vectors of up to 2,000 dimensions.
LARGEST_EMBEDDING: Final = 2000
# Parts along each axis that an embedding averages separately, so that layout counts.
_EMBEDDING_CELLS: Final = 2


@dataclass(frozen=True)
class FeatureShape:
    """The sizes of a graph's outputs for an image.

    Parameters
    ----------
    grid : (int, int)
        Rows and columns of patches.
    dimension : int
        Length of a patch feature.
    embedding_layers : tuple of Layer
        Layers of the embedding.
    embedding_cells : int
        The embedding contains the means of cells x cells parts of the image.
    """

    grid: tuple[int, int]
    dimension: int
    embedding_layers: tuple[Layer, ...]
    embedding_cells: int

    @property
    def embedding_dimension(self) -> int:
        """Length of an embedding."""
        channels = sum(layer.channels for layer in self.embedding_layers)
        return min(channels * self.embedding_cells**2, LARGEST_EMBEDDING)

    def embedding_of(
        self,
        patches: npt.NDArray[np.float32],
        inspected: npt.NDArray[np.bool_] | None = None,
    ) -> npt.NDArray[np.float32]:
        """Return an embedding made of an image's patch features, (rows, columns, dimension).

        For images that the network sees in tiles: means over the same parts of the image. Of the
        patches that are `inspected`, (rows, columns), where not all are; a part without any has
        the mean of all.
        """
        channels = sum(layer.channels for layer in self.embedding_layers)
        # The shallowest layers, which come first, may be left out.
        kept = patches[..., -channels:]
        if inspected is not None:
            everywhere = kept[inspected].mean(axis=0, dtype=np.float64)
            parts = [
                kept[rows, columns][inspected[rows, columns]]
                for rows in _parts(len(kept), self.embedding_cells)
                for columns in _parts(kept.shape[1], self.embedding_cells)
            ]
            means = [
                part.mean(axis=0, dtype=np.float64) if len(part) else everywhere for part in parts
            ]
            return np.stack(means, axis=-1).astype(np.float32).ravel()[:LARGEST_EMBEDDING]
        means = [
            half.mean(axis=(0, 1), dtype=np.float64)
            for rows in _parts(len(kept), self.embedding_cells)
            for columns in _parts(kept.shape[1], self.embedding_cells)
            for half in (kept[rows, columns],)
        ]
        return np.stack(means, axis=-1).astype(np.float32).ravel()[:LARGEST_EMBEDDING]


def _parts(count: int, cells: int) -> list[slice]:
    """Return `cells` parts of equal length of a line, which may overlap; see `grid_means`."""
    size = -(-count // cells)
    return [slice(start, start + size) for start in (0, count - size)][:cells]


def feature_shape(backbone: Backbone, layers: tuple[str, ...], side: int) -> FeatureShape:
    """Return the sizes of the features of `layers` for an input of `side` pixels."""
    chosen = tuple(backbone.layer(name) for name in layers)
    rows = backbone.side_at(chosen[0], side)
    kept, cells = chosen, _EMBEDDING_CELLS
    if any(backbone.side_at(layer, side) < cells for layer in chosen):
        cells = 1
    # If too long, first give up layout, then the shallowest layers, the least informative ones.
    if sum(layer.channels for layer in kept) * cells**2 > LARGEST_EMBEDDING:
        cells = 1
    while len(kept) > 1 and sum(layer.channels for layer in kept) > LARGEST_EMBEDDING:
        kept = kept[1:]
    return FeatureShape((rows, rows), sum(layer.channels for layer in chosen), kept, cells)


def write_feature_graph(
    backbone: Backbone, layers: tuple[str, ...], side: int, pooling: int, dtype: str = "uint8"
) -> bytes:
    """Write the ONNX model that turns an image into patch features and an embedding.

    Patch features are PatchCore's (Roth et al., CVPR 2022): each layer's map is averaged over a
    neighbourhood, with zeros outside, deeper maps are resized to the shallowest, and all are
    concatenated.

    Parameters
    ----------
    backbone : Backbone
        The network, whose weights are read.
    layers : tuple of str
        Names of layers, in the network's order.
    side : int
        Height and width of the input in pixels.
    pooling : int
        Side of the neighbourhood in positions; odd, 1 for none.
    dtype : str
        Type of the input.

    Returns
    -------
    bytes
        Input ``image`` (1, side, side, 3); outputs ``patches`` (1, rows, columns, dimension)
        and ``embedding`` (1, embedding dimension), float32.
    """
    # Imported here: onnx takes a quarter of a second and is not needed if the graph is cached.
    from patchbank.vision.backbones.graph import GraphWriter

    shape = feature_shape(backbone, layers, side)
    graph = GraphWriter(side, dtype)
    taps = backbone.write(graph, backbone.read_weights(), layers)
    rows, columns = shape.grid
    maps = [graph.resize(graph.average_pool(taps[name], pooling), rows) for name in layers]
    patches = graph.node("Transpose", [graph.concatenate(maps)], perm=[0, 2, 3, 1])
    means = [
        graph.node("Flatten", [graph.grid_means(taps[layer.name], shape.embedding_cells)], axis=1)
        for layer in shape.embedding_layers
    ]
    embedding = graph.concatenate(means)
    if sum(layer.channels for layer in shape.embedding_layers) > LARGEST_EMBEDDING:
        # A single layer of more channels, such as ResNet-50's last of 2,048.
        bounds = (np.array([bound], np.int64) for bound in (0, LARGEST_EMBEDDING, 1))
        embedding = graph.node("Slice", [embedding, *map(graph.constant, bounds)])
    return graph.to_bytes(
        {
            "patches": (patches, (1, rows, columns, shape.dimension)),
            "embedding": (embedding, (1, shape.embedding_dimension)),
        }
    )


def write_layer_graph(backbone: Backbone, layers: tuple[str, ...], side: int) -> bytes:
    """Write the ONNX model that outputs each of `layers`, (1, channels, height, width)."""
    from patchbank.vision.backbones.graph import GraphWriter

    graph = GraphWriter(side)
    taps = backbone.write(graph, backbone.read_weights(), layers)
    outputs = {}
    for name in layers:
        positions = graph.side(taps[name])
        outputs[name] = (taps[name], (1, backbone.layer(name).channels, positions, positions))
    return graph.to_bytes(outputs)
