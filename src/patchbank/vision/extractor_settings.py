"""The settings that determine an image's features."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.vision.backbones import DEFAULT_BACKBONE, check_layers, get_backbone
from patchbank.vision.preprocess import Preprocessing
from patchbank.vision.regions import Regions
from patchbank.vision.tiling import Tiling

PRECISIONS: Final = ("f32", "bf16", "int8")

# Positions of the deepest layer. Half of it from a tile's border, the zeros behind the border no
# longer change features by more than a hundredth of their spread (docs/resolution.md).
_DEFAULT_OVERLAP: Final = 16

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
        Side in pixels that images are resized to; of a tile, where there is a `scale`.
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
    scale : float, optional
        Pixels of the network's input per pixel of the image: images keep their shape, and the
        network sees them in overlapping tiles. None to resize images to a square.
    overlap : int, optional
        Least overlap of tiles in pixels of the network's input; None without a `scale`.
    regions : Regions, optional
        Which parts of images are neither learned nor judged; None to inspect everything.

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
    scale: float | None = None
    overlap: int | None = None
    regions: Regions | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", check_layers(self.backbone, tuple(self.layers)))
        # As a float: equal settings must have equal fingerprints.
        object.__setattr__(self, "scale", self.preprocessing.scale)
        get_backbone(self.backbone).check_side(self.preprocessing.side)
        self._check_tiles()
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

    def _check_tiles(self) -> None:
        if self.scale is None:
            if self.overlap is not None:
                raise ParameterError("overlap is of tiles; give a scale too, such as 1")
            return
        if self.center_crop is not None:
            raise ParameterError(
                "center crop is of a square that images are resized to; leave it out, or leave out "
                "scale, tile and overlap"
            )
        coarse = self.tiling.coarse
        if self.image_size % coarse:
            raise ParameterError(
                f"tile is {self.image_size}; these layers of {self.backbone} need a multiple of "
                f"{coarse}, such as {max(1, round(self.image_size / coarse)) * coarse}"
            )
        if self.overlap is None:
            object.__setattr__(self, "overlap", self.tiling.overlap)
        if type(self.overlap) is not int or not 0 <= self.overlap <= self.image_size - coarse:
            raise ParameterError(
                f"overlap is {self.overlap}; tiles of {self.image_size} pixels need a whole number "
                f"from 0 to {self.image_size - coarse}; give another overlap or a larger tile"
            )

    @property
    def tiling(self) -> Tiling:
        """Where the network looks in images that keep their shape."""
        backbone = get_backbone(self.backbone)
        strides = [backbone.layer(name).stride for name in self.layers]
        overlap = self.overlap
        if overlap is None:
            overlap = min(_DEFAULT_OVERLAP * max(strides), self.image_size // 2)
        return Tiling(self.image_size, overlap, min(strides), max(strides))

    @property
    def preprocessing(self) -> Preprocessing:
        """The preprocessing of images."""
        return Preprocessing(self.image_size, self.center_crop, self.resize_precision, self.scale)

    def grid_of(self, width: int, height: int) -> tuple[int, int]:
        """Return the rows and columns of patches of an image of this size."""
        preprocessing = self.preprocessing
        if preprocessing.is_tiled:
            wide, high = preprocessing.size(width, height)
            return self.tiling.grid(high, wide)
        backbone = get_backbone(self.backbone)
        side = backbone.side_at(backbone.layer(self.layers[0]), preprocessing.side)
        return side, side

    def patch_centres(
        self, width: int, height: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return where the patches of an image of this size have their centres.

        Returns
        -------
        down, across : ndarray of float64 (rows,) and (columns,)
            As shares of the image's height and width.
        """
        rows, columns = self.grid_of(width, height)
        preprocessing = self.preprocessing
        if preprocessing.is_tiled:
            wide, high = preprocessing.size(width, height)
            stride = self.tiling.stride
            down, across = (
                (np.arange(count) + 0.5) * stride / side
                for count, side in ((rows, high), (columns, wide))
            )
            return down, across
        x0, y0, x1, y1 = preprocessing.inspected_box(width, height)
        down = (y0 + (np.arange(rows) + 0.5) * (y1 - y0) / rows) / height
        across = (x0 + (np.arange(columns) + 0.5) * (x1 - x0) / columns) / width
        return down, across

    def patches_of(self, width: int, height: int) -> int:
        """Return how many patches of an image of this size are inspected."""
        inspected = None if self.regions is None else _inspected(self, width, height)
        rows, columns = self.grid_of(width, height)
        return rows * columns if inspected is None else int(np.count_nonzero(inspected))

    def inspected_of(self, width: int, height: int) -> npt.NDArray[np.bool_] | None:
        """Return which patches of an image of this size are inspected, (rows, columns).

        None where all are. A patch is where its centre is.

        Raises
        ------
        ParameterError
            If none is, or the regions are not meant for images of such proportions.
        """
        inspected = None if self.regions is None else _inspected(self, width, height)
        if inspected is None or inspected.any():
            return inspected
        raise ParameterError(
            f"the regions to ignore leave nothing to inspect in an image of {width} x {height} "
            "pixels: no patch has its centre outside of them; ignore less"
        )

    def hidden_of(self, width: int, height: int) -> npt.NDArray[np.bool_] | None:
        """Return which pixels of the network's input are painted over, (height, width).

        None if no pixel is, or if ignored parts are not painted over.
        """
        if self.regions is None or not self.regions.filled:
            return None
        if self.inspected_of(width, height) is None:
            return None
        return _hidden(self, width, height)

    @property
    def is_quantised(self) -> bool:
        """Whether the graph is quantised; equal settings then do not mean equal graphs."""
        return self.precision == "int8"

    def input_in_words(self) -> str:
        """Return what the network sees of an image, for people."""
        if self.scale is not None:
            return (
                f"scale {self.scale:g} in tiles of {self.image_size} pixels, overlapping by "
                f"{self.overlap} or more"
            )
        if self.center_crop is not None:
            return (
                f"{self.image_size} pixels, cropped to the central {self.center_crop}: the border "
                "is not inspected"
            )
        return f"{self.image_size} pixels"

    def regions_in_words(self) -> str:
        """Return which part of an image is inspected, for people."""
        return "everything" if self.regions is None else self.regions.in_words()

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
        if self.scale is None:
            del content["scale"], content["overlap"]
        if graph_sha256 is not None:
            content["graph"] = graph_sha256
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Return the settings as a JSON-compatible dictionary."""
        content = {**asdict(replace(self, regions=None)), "layers": list(self.layers)}
        # Added later: a bank without them is as before.
        del content["regions"]
        if self.regions is not None:
            content["regions"] = self.regions.to_json()
        return content

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
        given = dict(content)
        if given.get("regions") is not None:
            given["regions"] = Regions.from_json(given["regions"])
        return cls(**given)


@lru_cache(maxsize=64)
def _inspected(
    settings: ExtractorSettings, width: int, height: int
) -> npt.NDArray[np.bool_] | None:
    down, across = settings.patch_centres(width, height)
    assert settings.regions is not None
    inspected = settings.regions.inspected(down, across, width, height)
    return None if inspected.all() else inspected


# Of a large image it is as large as that: few sizes are kept.
@lru_cache(maxsize=4)
def _hidden(settings: ExtractorSettings, width: int, height: int) -> npt.NDArray[np.bool_] | None:
    assert settings.regions is not None
    preprocessing = settings.preprocessing
    if preprocessing.is_tiled:
        wide, high = preprocessing.size(width, height)
    else:
        wide = high = preprocessing.side
    x0, y0, x1, y1 = preprocessing.inspected_box(width, height)
    down = (y0 + (np.arange(high) + 0.5) * (y1 - y0) / high) / height
    across = (x0 + (np.arange(wide) + 0.5) * (x1 - x0) / wide) / width
    hidden = ~settings.regions.inspected(down, across, width, height)
    hidden.setflags(write=False)
    return hidden if hidden.any() and not hidden.all() else None
