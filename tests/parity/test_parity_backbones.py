"""Our graphs give what the PyTorch reference gives, at every layer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch.nn import functional

from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.features import write_layer_graph
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.preprocess import Preprocessing
from patchbank.vision.runtime import compile_graph

Cells = list[npt.NDArray[np.uint8]]
Taps = Callable[[str, npt.NDArray[np.uint8]], list[torch.Tensor]]
TOLERANCE = 1e-4


def relative_error(ours: npt.NDArray[np.float32], reference: torch.Tensor) -> float:
    expected = reference.numpy().astype(float)
    assert ours.shape == expected.shape
    return float(np.linalg.norm(ours - expected) / np.linalg.norm(expected))


# 224 and 256 are even at every stride; 260, 225 and 131 pad differently from one layer to the next.
@pytest.mark.parametrize("side", [224, 260, 225, 131])
@pytest.mark.parametrize("name", [f"efficientnet-lite{number}" for number in range(3)])
def test_every_layer_equals_the_reference(
    cells: Cells, reference_taps: Taps, name: str, side: int
) -> None:
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
    for cell in cells if side == 224 else cells[:2]:
        square = np.ascontiguousarray(Preprocessing(side).apply(cell), np.uint8)
        references = reference_taps(name, square)
        assert len(references) == len(layers)
        with graph.run(square) as outputs:
            for layer, ours, reference in zip(backbone.layers, outputs, references, strict=True):
                assert ours.shape[1] == layer.channels
                assert ours.shape[2] == backbone.side_at(layer, side)
                assert relative_error(ours, reference) < TOLERANCE, layer.name
                largest = float(reference.abs().max())
                assert np.abs(ours - reference.numpy()).max() < TOLERANCE * largest, layer.name


@pytest.mark.parametrize(
    ("settings", "indices"),
    [
        (ExtractorSettings(), (4, 10)),
        (ExtractorSettings(layers=("blocks.2", "blocks.4", "blocks.10")), (2, 4, 10)),
        (ExtractorSettings(image_size=250, pooling=5), (4, 10)),
        (ExtractorSettings(image_size=256, center_crop=225), (4, 10)),
        (ExtractorSettings(layers=("blocks.15",), pooling=1), (15,)),
        (ExtractorSettings("efficientnet-lite1", layers=("blocks.1", "blocks.19")), (1, 19)),
        (ExtractorSettings("efficientnet-lite2", image_size=260), (6, 14)),
    ],
    ids=str,
)
def test_features_equal_pooling_resizing_and_joining_in_torch(
    cells: Cells, reference_taps: Taps, settings: ExtractorSettings, indices: tuple[int, ...]
) -> None:
    extractor = Extractor(settings, threads=2)
    features = extractor.extract(cells)
    for index, cell in enumerate(cells):
        taps = reference_taps(
            settings.backbone, np.asarray(settings.preprocessing.apply(cell), np.uint8)
        )
        maps = [
            functional.avg_pool2d(taps[i], settings.pooling, 1, settings.pooling // 2)
            for i in indices
        ]
        joined = torch.cat(
            [
                functional.interpolate(
                    one, size=maps[0].shape[-2:], mode="bilinear", align_corners=False
                )
                for one in maps
            ],
            dim=1,
        )
        assert relative_error(features.patches[index], joined[0].permute(1, 2, 0)) < TOLERANCE
        means = [functional.adaptive_avg_pool2d(taps[i], 2).flatten() for i in indices]
        assert relative_error(features.embeddings[index], torch.cat(means)) < TOLERANCE
