"""The settings that determine an image's features."""

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

# Part of every fingerprint. Increase it with any code change that changes features: decoding,
# preprocessing, graph, pooling or embedding.
FEATURES_VERSION: Final = 1

_LARGEST_POOLING: Final = 9


@dataclass(frozen=True)
class ExtractorSettings:
    """The settings that determine an image's features; stored with every bank.

    Parameters
    ----------
    backbone : str
        A name from `patchbank.vision.backbones.available_backbones`.
    layers : tuple of str
        Layers that features are taken from, sorted into the network's order; empty for the
        backbone's default.
    image_size : int
        Side in pixels that images are resized to.
    center_crop : int, optional
        Side in pixels of the part kept; None to keep everything.
    pooling : int
        Side of the neighbourhood averaged around each position; odd; 1 for none.
    precision : str
        The processor's number format: ``"f32"``, ``"bf16"`` or ``"int8"``. For int8 the graph is
        quantised with references and belongs to their bank.
    resize_precision : str
        ``"uint8"`` or ``"float32"``: whether values are rounded after the resize (`Preprocessing`);
        int8 needs ``"uint8"``.
    bit_depth : int, optional
        Bits used in 16-bit images, 8 to 16. None if the bank has no 16-bit images: 65535 is white,
        and nearly black images are refused.

    Raises
    ------
    ParameterError
        If a value is invalid.
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
            # Nothing is cropped, so the fingerprint must be the same as without a crop.
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
                f"precision int8 needs whole grey values, but resize precision is "
                f"{self.resize_precision}; give precision f32 or bf16"
            )

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of images."""
        return Preprocessing(self.image_size, self.center_crop, self.resize_precision)

    @property
    def is_quantised(self) -> bool:
        """Whether the graph is quantised; equal settings then do not mean equal graphs."""
        return self.precision == "int8"

    def fingerprint(self, graph_sha256: str | None = None) -> str:
        """Return a hex digest of everything that changes features; equal digests are comparable.

        Parameters
        ----------
        graph_sha256 : str, optional
            Digest of the quantised graph, if there is one.
        """
        content = {
            **self.to_json(),
            "weights": get_backbone(self.backbone).weights_sha256,
            "version": FEATURES_VERSION,
        }
        if self.resize_precision == "uint8":
            # Added later: banks from before this setting keep their fingerprint.
            del content["resize_precision"]
        if self.bit_depth in (None, 16):
            del content["bit_depth"]
        if graph_sha256 is not None:
            content["graph"] = graph_sha256
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-compatible dictionary."""
        return {**asdict(self), "layers": list(self.layers)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Return the settings that `to_json` returned.

        Raises
        ------
        ParameterError
            If a setting is unknown to this version.
        """
        unknown = set(content) - {field.name for field in fields(cls)}
        if unknown:
            raise ParameterError(
                f"unknown extractor setting {', '.join(sorted(unknown))}; upgrade patchbank"
            )
        return cls(**content)
