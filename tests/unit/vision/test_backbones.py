from __future__ import annotations

import pytest

from patchbank.errors import UnknownBackboneError, UnknownLayerError
from patchbank.vision.backbones import (
    available_backbones,
    available_layers,
    check_layers,
    get_backbone,
)
from patchbank.vision.backbones.features import LARGEST_EMBEDDING, feature_shape


def test_registry() -> None:
    assert available_backbones() == tuple(f"efficientnet-lite{number}" for number in range(3))
    for name in available_backbones():
        backbone = get_backbone(name)
        assert backbone.licence == "Apache-2.0"
        assert set(backbone.default_layers) <= {layer.name for layer in available_layers(name)}


@pytest.mark.parametrize(
    ("name", "channels", "repeats"),
    [
        # Table 1 of the EfficientNet paper; the Lite variants do not deepen first and last stage.
        ("efficientnet-lite0", (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 3, 3, 4, 1)),
        ("efficientnet-lite1", (16, 24, 40, 80, 112, 192, 320), (1, 3, 3, 4, 4, 5, 1)),
        ("efficientnet-lite2", (16, 24, 48, 88, 120, 208, 352), (1, 3, 3, 4, 4, 5, 1)),
    ],
)
def test_layers(name: str, channels: tuple[int, ...], repeats: tuple[int, ...]) -> None:
    strides = (2, 4, 8, 16, 16, 32, 32)
    expected = [
        (width, stride)
        for width, stride, count in zip(channels, strides, repeats, strict=True)
        for _ in range(count)
    ]
    layers = available_layers(name)
    assert [(layer.channels, layer.stride) for layer in layers] == expected
    assert [layer.name for layer in layers] == [f"blocks.{n}" for n in range(len(expected))]


def test_unknown_backbone_names_the_choices() -> None:
    with pytest.raises(UnknownBackboneError, match="did you mean 'efficientnet-lite0'") as caught:
        get_backbone("eficientnet-lite0")
    assert "efficientnet-lite2" in str(caught.value)
    with pytest.raises(UnknownBackboneError, match="'vgg'; choose from: efficientnet-lite0, "):
        get_backbone("vgg")


def test_unknown_layer_names_the_choices() -> None:
    with pytest.raises(
        UnknownLayerError, match=r"has no layer 'block\.4'; did you mean 'blocks\.4'"
    ):
        check_layers("efficientnet-lite0", ["block.4"])
    with pytest.raises(
        UnknownLayerError, match=r"blocks\.16.*choose from: blocks\.0, .*blocks\.15"
    ):
        check_layers("efficientnet-lite0", ["blocks.4", "blocks.16"])
    with pytest.raises(UnknownLayerError, match="named twice"):
        check_layers("efficientnet-lite0", ["blocks.4", "blocks.4"])


def test_layers_are_put_into_the_networks_order() -> None:
    assert check_layers("efficientnet-lite0", ["blocks.10", "blocks.2"]) == (
        "blocks.2",
        "blocks.10",
    )
    assert check_layers("efficientnet-lite0", []) == ("blocks.4", "blocks.10")


def test_feature_shape() -> None:
    shape = feature_shape(get_backbone("efficientnet-lite0"), ("blocks.4", "blocks.10"), 225)
    assert shape.grid == (29, 29)
    assert shape.dimension == 152
    assert shape.embedding_dimension == 4 * 152


def test_embeddings_fit_an_index() -> None:
    for name in available_backbones():
        backbone = get_backbone(name)
        names = tuple(layer.name for layer in backbone.layers)
        for first in range(len(names)):
            shape = feature_shape(backbone, names[first:], 224)
            assert 0 < shape.embedding_dimension <= LARGEST_EMBEDDING
            assert shape.embedding_layers[-1].name == names[-1]
    # At one position there are no quarters to keep apart.
    assert (
        feature_shape(get_backbone("efficientnet-lite0"), ("blocks.15",), 32).embedding_cells == 1
    )
