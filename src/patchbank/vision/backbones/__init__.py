"""Backbones, one file per family.

A family's module has a tuple `BACKBONES`. To add a family, write its module and list it here.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

from patchbank.errors import UnknownBackboneError, UnknownLayerError
from patchbank.vision.backbones import dinov2, efficientnet_lite, resnet, weights_folder
from patchbank.vision.backbones.base import Backbone, Layer
from patchbank.vision.backbones.onnx_network import OnnxNetwork

__all__ = [
    "DEFAULT_BACKBONE",
    "Backbone",
    "Layer",
    "available_backbones",
    "available_layers",
    "check_layers",
    "get_backbone",
    "known_backbones",
]

_FAMILIES: Final = (efficientnet_lite, resnet, dinov2)
_BY_NAME: Final[dict[str, Backbone]] = {
    backbone.name: backbone for family in _FAMILIES for backbone in family.BACKBONES
}

DEFAULT_BACKBONE: Final = "efficientnet-lite0"


def known_backbones() -> tuple[str, ...]:
    """Return the names of the built-in backbones."""
    return tuple(_BY_NAME)


def available_backbones() -> tuple[str, ...]:
    """Return the names of all backbones, added ones included, with or without weights."""
    added = (
        name
        for name in weights_folder.names()
        if name not in _BY_NAME and weights_folder.is_name(name)
    )
    return (*_BY_NAME, *added)


def get_backbone(name: str) -> Backbone:
    """Return the backbone called `name`.

    Raises
    ------
    UnknownBackboneError
        If there is no backbone of that name.
    """
    known = _BY_NAME.get(name)
    if known is not None:
        return known
    kept = weights_folder.find(name)
    if kept is None:
        hint = _suggestion(name, available_backbones())
        raise UnknownBackboneError(f"unknown backbone {name!r}{hint}")
    return OnnxNetwork(kept)


def available_layers(backbone: str) -> tuple[Layer, ...]:
    """Return the layers of a backbone, from input to output."""
    return get_backbone(backbone).layers


def check_layers(backbone: str, layers: Sequence[str]) -> tuple[str, ...]:
    """Return `layers` in the network's order; if empty, the backbone's default layers.

    Raises
    ------
    UnknownLayerError
        If a layer does not exist or is named twice.
    """
    known = get_backbone(backbone)
    names = [layer.name for layer in known.layers]
    for layer in layers:
        if layer not in names:
            raise UnknownLayerError(f"{backbone} has no layer {layer!r}{_suggestion(layer, names)}")
    if len(set(layers)) != len(layers):
        raise UnknownLayerError(f"a layer is named twice in {', '.join(layers)}; name each once")
    return tuple(name for name in names if name in layers) or known.default_layers


def _suggestion(name: str, choices: Iterable[str]) -> str:
    names = list(choices)
    close = difflib.get_close_matches(name, names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} choose from: {', '.join(names)}"
