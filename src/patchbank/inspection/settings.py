"""What a bank is made with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypedDict, Unpack

from patchbank.errors import ParameterError
from patchbank.memory.coreset import coreset_size
from patchbank.memory.scoring import ScoreMethod, checked_score_method
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.regions import Boxes, make_regions

DEFAULT_CORESET_RATIO = 0.1
DEFAULT_FALSE_ALARM_RATE = 0.01
# As many good parts again: with 99 references, the first two limits that differ.
DEFAULT_REVIEW_RATE = 0.01
DEFAULT_SCORE: ScoreMethod = "top8"
DEFAULT_BUDGET_MS = 100.0
# Of large images: on two cores, it is enough to see each of their pixels.
DEFAULT_BUDGET_MS_PER_MEGAPIXEL = 250.0
# Of recorded inspections: whose verdicts before and after an addition are compared.
DEFAULT_EFFECT = 100
# What drift compares recorded inspections with.
DriftBase = Literal["references", "inspections"]
# Until a fit chooses.
_ANY_TILE = 448
# Pixels of the network's input, as in PatchCore's published code.
SMOOTHING_SIGMA = 4.0

_LARGEST_SIGMA = 1000
_LONGEST_LINE = 2000
# Pixels of a thumbnail's longer side: what a gallery shows.
THUMBNAIL_SIDE = 160


@dataclass(frozen=True)
class FitSettings:
    """What a bank is made with, stored with it.

    Attributes
    ----------
    coreset_ratio
        Share of the reference images' patches kept in the bank, in (0, 1].
    seed
        Seed of the coreset's first choice.
    image_score
        How the patch distances of an image become its score.
    false_alarm_rate
        Share of good images that may fail, in (0, 1).
    review_rate
        Share of good images that may go to review besides; 0 for none.
    estimate, pass_below, fail_above
        Of thresholds that were set otherwise than by these rates: see `ThresholdRule`.
    group_by
        The rule that groups references and images that are added; empty without one.
    to_choose
        What a fit chooses by its images: ``"resolution"`` (the scale), ``"layers"``,
        ``"coreset_ratio"``, ``"tile"`` and ``"budget_ms"``; empty in a bank.
    budget_ms
        Milliseconds an inspection should take at most, where a fit chooses the resolution.
    resolution
        What a fit chose, what is visible so and what it costs, for people; empty where it did not.

    Raises
    ------
    ParameterError
        If a value is out of its range.
    """

    extractor: ExtractorSettings = field(default_factory=ExtractorSettings)
    coreset_ratio: float = DEFAULT_CORESET_RATIO
    seed: int = 0
    image_score: ScoreMethod = DEFAULT_SCORE
    false_alarm_rate: float = DEFAULT_FALSE_ALARM_RATE
    review_rate: float = DEFAULT_REVIEW_RATE
    smoothing_sigma: float = SMOOTHING_SIGMA
    to_choose: frozenset[str] = frozenset()
    budget_ms: float = DEFAULT_BUDGET_MS
    resolution: str = ""
    estimate: bool = False
    pass_below: float | None = None
    fail_above: float | None = None
    group_by: str = ""

    def __post_init__(self) -> None:
        for name in (
            "coreset_ratio", "false_alarm_rate", "review_rate", "smoothing_sigma", "budget_ms",
        ):  # fmt: skip
            if not isinstance(getattr(self, name), int | float):
                raise ParameterError(f"{name} {getattr(self, name)!r}: must be a number")
        coreset_size(1, self.coreset_ratio)
        checked_score_method(self.image_score)
        _ = self.threshold_rule  # checked when it is made
        if type(self.seed) is not int or self.seed < 0:
            raise ParameterError(f"seed {self.seed!r}: must be a whole number, 0 or more")
        for name in ("resolution", "group_by"):
            value = getattr(self, name)
            if type(value) is not str or len(value) > _LONGEST_LINE:
                raise ParameterError(f"{name} {value!r:.40}: must be a line of text")
        if not 0 < self.budget_ms < math.inf:
            raise ParameterError(f"budget_ms {self.budget_ms}: must be a number above 0")
        # Of pixels of the network's input; a bank's file may name any number.
        if not 0 <= self.smoothing_sigma <= _LARGEST_SIGMA:
            raise ParameterError(f"smoothing_sigma must be a number from 0 to {_LARGEST_SIGMA}")

    @property
    def threshold_rule(self) -> ThresholdRule:
        """How thresholds follow from a calibration."""
        return ThresholdRule(
            self.false_alarm_rate,
            self.review_rate,
            self.estimate,
            self.pass_below,
            self.fail_above,
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything but the extractor, which a bank stores on its own."""
        return {
            "coreset_ratio": self.coreset_ratio,
            "seed": self.seed,
            "image_score": self.image_score,
            **self.threshold_rule.to_settings(),
            "smoothing_sigma": self.smoothing_sigma,
            **({"resolution": self.resolution} if self.resolution else {}),
            **({"group_by": self.group_by} if self.group_by else {}),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any], extractor: ExtractorSettings) -> FitSettings:
        """Return the settings a bank was stored with; raises `ParameterError` for others."""
        try:
            # Banks were stored without a review rate when there was one threshold.
            return cls(extractor=extractor, **{"review_rate": 0.0, **document})
        except TypeError as error:
            raise ParameterError(
                f"the bank was made by a newer patchbank ({error}); upgrade patchbank, or fit "
                f"the category again"
            ) from error


class FitOptions(TypedDict, total=False):
    """What a bank can be asked to be made with; what is missing or None takes its default.

    Attributes
    ----------
    backbone, layers, image_size, center_crop, precision
        The extractor; layers as a sequence or a comma-separated text.
    bit_depth
        How many bits of 16 hold values, 8 to 16, such as 12; by default detected from the images,
        with a remark. Arrays of uint16 and files of 16 bits alike.
    coreset_ratio
        Share of the patches kept, in (0, 1]; by default 0.1, and in tiles at most 25,000 patches.
    image_score
        ``"max"``, ``"top8"``, ``"top1percent"`` or ``"reweighted"``: how patch distances become a
        score.
    scale
        Pixels that the network sees per pixel of the image, such as 1: images keep their shape and
        are seen in tiles. By default a fit chooses.
    tile, overlap
        Side of a tile and least overlap of two, in pixels that the network sees.
    budget_ms
        Milliseconds an inspection should take at most; by default 100, or 250 per megapixel of the
        images where that is more. Without `image_size`, `center_crop`,
        `scale`, `tile` and `overlap`, a fit chooses the scale, and the layers unless given, within
        it.
    seed
        Seed of the coreset's first choice.
    false_alarm_rate
        Share of good images that may fail, in (0, 1).
    review_rate
        Share of good images that may go to review besides; 0 for none.
    ignore_mask
        An image in which white marks what is neither learned nor judged; one of bool will do.
    ignore_box, only_box
        A box or several, ``"x,y,width,height"`` in pixels or in per cent of the image: what is
        neither learned nor judged, and what alone is. Four numbers are a box in pixels.
    """

    backbone: str | None
    layers: str | Sequence[str] | None
    image_size: int | None
    center_crop: int | None
    scale: float | None
    tile: int | None
    overlap: int | None
    budget_ms: float | None
    precision: str | None
    bit_depth: int | None
    coreset_ratio: float | None
    image_score: str | None
    seed: int | None
    false_alarm_rate: float | None
    review_rate: float | None
    ignore_mask: ImageSource | None
    ignore_box: Boxes | None
    only_box: Boxes | None


def make_fit_settings(**options: Unpack[FitOptions]) -> FitSettings:
    """Return settings from what a user asked for.

    Raises
    ------
    UnknownBackboneError, UnknownLayerError, ParameterError
        If there is no such backbone or layer, or a value is out of its range.
    """
    if unknown := options.keys() - FitOptions.__annotations__.keys():
        raise TypeError(f"unknown options of a fit: {', '.join(sorted(unknown))}")
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    if "layers" in given:
        given["layers"] = parse_layers(given["layers"])
    regions = {name: given.pop(name, None) for name in ("ignore_mask", "ignore_box", "only_box")}
    given["regions"] = make_regions(**regions)
    to_choose = {"layers", "coreset_ratio", "tile"} - given.keys()
    if given.keys() & {"scale", "tile", "overlap"}:
        if "image_size" in given:
            raise ParameterError(
                "image size is of a square that images are resized to; leave it out, or leave out "
                "scale, tile and overlap"
            )
        given["image_size"] = given.pop("tile", _ANY_TILE)
        given.setdefault("scale", 1.0)
        to_choose &= {"tile", "coreset_ratio"}
    elif given.keys() & {"image_size", "center_crop"}:
        to_choose.clear()
    else:
        to_choose |= {"resolution", "budget_ms"} - given.keys()
    names = {field.name for field in fields(ExtractorSettings)} & given.keys()
    extractor = ExtractorSettings(**{name: given.pop(name) for name in names})
    return FitSettings(extractor=extractor, to_choose=frozenset(to_choose), **given)


def parse_layers(layers: str | Sequence[str]) -> tuple[str, ...]:
    """Return layer names from a comma-separated text or a sequence.

    Raises
    ------
    ParameterError
        If no name is left; no layers at all would silently mean the default ones.
    """
    names = layers.split(",") if isinstance(layers, str) else layers
    kept = tuple(name.strip() for name in names if name.strip())
    if not kept:
        raise ParameterError(
            "layers: no name given; separate names by commas, or leave the option out"
        )
    return kept
