from __future__ import annotations

import pytest

from patchbank.errors import ParameterError, UnknownBackboneError, UnknownLayerError
from patchbank.vision.backbones import (
    available_layers,
    check_layers,
    get_backbone,
    known_backbones,
)
from patchbank.vision.backbones.features import LARGEST_EMBEDDING, feature_shape
from patchbank.vision.extractor_settings import ExtractorSettings


def test_registry() -> None:
    assert known_backbones() == (
        *(f"efficientnet-lite{number}" for number in range(3)),
        *("wide_resnet50_2", "resnet50", "resnet18", "dinov2_vits14", "dinov2_vitb14"),
    )
    for name in known_backbones():
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


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("wide_resnet50_2", (256, 512, 1024, 2048)),
        ("resnet50", (256, 512, 1024, 2048)),
        ("resnet18", (64, 128, 256, 512)),
    ],
)
def test_residual_networks(name: str, channels: tuple[int, ...]) -> None:
    layers = available_layers(name)
    assert [layer.name for layer in layers] == ["layer1", "layer2", "layer3", "layer4"]
    assert [(one.channels, one.stride) for one in layers] == list(
        zip(channels, (4, 8, 16, 32), strict=True)
    )
    # PatchCore's: 512 + 1,024 channels for the wide one, and its embedding as the bank's rows.
    shape = feature_shape(get_backbone(name), check_layers(name, []), 224)
    assert shape.grid == (28, 28)
    assert shape.dimension == channels[1] + channels[2]


@pytest.mark.parametrize(
    ("name", "channels", "millions"),
    [
        ("wide_resnet50_2", None, 68.88),
        ("resnet50", None, 25.56),
        ("resnet18", None, 11.69),
        ("dinov2_vits14", 384, 22.06),
        ("dinov2_vitb14", 768, 86.58),
    ],
)
def test_parameters_are_those_published(name: str, channels: int | None, millions: float) -> None:
    backbone = get_backbone(name)
    assert backbone.parameters is not None
    assert backbone.parameters / 1e6 == pytest.approx(millions, abs=0.005)
    if channels is not None:
        assert {(one.channels, one.stride) for one in backbone.layers} == {(channels, 14)}
        assert [one.name for one in backbone.layers] == [f"blocks.{n}" for n in range(12)]


@pytest.mark.parametrize("number", range(3))
def test_parameters_of_packaged_weights(number: int) -> None:
    backbone = get_backbone(f"efficientnet-lite{number}")
    learned = (
        array.size
        for key, array in backbone.read_weights().items()
        if not key.endswith(("running_mean", "running_var", "num_batches_tracked"))
    )
    assert backbone.parameters == sum(learned)


def test_patches_of_14_pixels_must_fit() -> None:
    backbone = get_backbone("dinov2_vits14")
    for side in (224, 518, 42):
        backbone.check_side(side)
        assert feature_shape(backbone, ("blocks.11",), side).grid == (side // 14,) * 2
    with pytest.raises(ParameterError, match="multiple of 14 pixels, not 225; give 224 or 2"):
        ExtractorSettings("dinov2_vits14", image_size=256, center_crop=225)


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
    for name in known_backbones():
        backbone = get_backbone(name)
        names = tuple(layer.name for layer in backbone.layers)
        for first in range(len(names)):
            shape = feature_shape(backbone, names[first:], 224)
            assert 0 < shape.embedding_dimension <= LARGEST_EMBEDDING
            assert name != "resnet50" or first < 3 or shape.embedding_dimension == LARGEST_EMBEDDING
            assert shape.embedding_layers[-1].name == names[-1]
    # At one position there are no quarters to keep apart.
    assert (
        feature_shape(get_backbone("efficientnet-lite0"), ("blocks.15",), 32).embedding_cells == 1
    )
