"""The settings that decide an image's features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Final, Self

from patchbank.errors import ParameterError
from patchbank.vision.backbones import DEFAULT_BACKBONE, check_layers, get_backbone
from patchbank.vision.preprocess import Preprocessing

PRECISIONS: Final = ("f32", "bf16", "int8")

# Part of every fingerprint. Raise it with any change of code that changes features: of decoding,
# preprocessing, the graph, pooling or the embedding.
FEATURES_VERSION: Final = 1

_LARGEST_POOLING: Final = 9


@dataclass(frozen=True)
class ExtractorSettings:
    """All that decides an image's features; kept with every bank.

    Parameters
    ----------
    backbone : str
        A name of `patchbank.vision.backbones.available_backbones`.
    layers : tuple of str
        Layers the features are taken from; put into the network's order; none means the
        backbone's own choice.
    image_size : int
        Side in pixels that images are resized to.
    center_crop : int, optional
        Side in pixels of the part kept; without it, all is kept.
    pooling : int
        Side of the neighbourhood averaged around each position; odd; 1 for none.
    precision : str
        ``"f32"``, ``"bf16"`` or ``"int8"``: what the processor computes in. For int8 the graph is
        quantised with reference images and belongs to their bank.
    resize_precision : str
        ``"uint8"`` or ``"float32"``: whether values are rounded after the resize (`Preprocessing`);
        int8 needs the former.
    bit_depth : int, optional
        How many bits of an image of 16 hold values, 8 to 16. Without it none of 16 bits was
        learned: 65535 is white, and what would be nearly black is refused.

    Raises
    ------
    UnknownBackboneError, UnknownLayerError, ParameterError
        A value is not one of those possible.
    """

    backbone: str = DEFAULT_BACKBONE
    layers: tuple[str, ...] = ()
    image_size: int = 224
    center_crop: int | None = None
    pooling: int = 3
    precision: str = "f32"
    resize_precision: str = "uint8"
    bit_depth: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", check_layers(self.backbone, tuple(self.layers)))
        get_backbone(self.backbone).check_side(self.preprocessing.side)
        if self.center_crop == self.image_size:
            # All is kept: no crop, and the same fingerprint.
            object.__setattr__(self, "center_crop", None)
        if type(self.pooling) is not int or self.pooling not in range(1, _LARGEST_POOLING + 1, 2):
            raise ParameterError(
                f"pooling is {self.pooling}; give an odd number from 1 to {_LARGEST_POOLING}"
            )
        if self.bit_depth is not None and (
            type(self.bit_depth) is not int or not 8 <= self.bit_depth <= 16
        ):
            raise ParameterError(f"bit depth is {self.bit_depth!r}; give 8 to 16, such as 12")
        if self.precision not in PRECISIONS:
            raise ParameterError(
                f"precision is {self.precision!r}; give one of {', '.join(PRECISIONS)}"
            )
        if self.is_quantised and self.resize_precision != "uint8":
            raise ParameterError(
                f"precision int8 takes images of whole grey values, not of {self.resize_precision};"
                " give f32 or bf16"
            )

    @property
    def preprocessing(self) -> Preprocessing:
        """How an image becomes the network's input."""
        return Preprocessing(self.image_size, self.center_crop, self.resize_precision)

    @property
    def is_quantised(self) -> bool:
        """Whether the graph is a quantised one, so that equal settings do not mean equal graphs."""
        return self.precision == "int8"

    def fingerprint(self, graph_sha256: str | None = None) -> str:
        """Return the hex digest of all that changes features; equal ones are comparable.

        Parameters
        ----------
        graph_sha256 : str, optional
            Digest of the quantised graph, where there is one.
        """
        content = {
            **self.to_json(),
            "weights": get_backbone(self.backbone).weights_sha256,
            "version": FEATURES_VERSION,
        }
        if self.resize_precision == "uint8":
            # The setting came later: banks made before it keep their fingerprint.
            del content["resize_precision"]
        if self.bit_depth in (None, 16):
            del content["bit_depth"]
        if graph_sha256 is not None:
            content["graph"] = graph_sha256
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a dictionary of JSON's types."""
        return {**asdict(self), "layers": list(self.layers)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the settings `to_json` gave.

        Raises
        ------
        ParameterError
            There is a setting this version does not know.
        """
        unknown = set(content) - {field.name for field in fields(cls)}
        if unknown:
            raise ParameterError(
                f"unknown extractor setting {', '.join(sorted(unknown))}; upgrade patchbank"
            )
        return cls(**content)
