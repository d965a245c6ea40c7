"""The settings that are worth trying on a category's images, from cheap to expensive."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from patchbank.inspection.learning.resolution import (
    SQUARE,
    Cost,
    at_scales,
    cost_of,
    crops_of,
    layers_to_try,
    settled_resolution,
    trial_extractor,
    with_fitting_ratio,
)
from patchbank.inspection.learning.sizes import Sizes, sizes_of, typical
from patchbank.inspection.measuring.held_out import Images
from patchbank.inspection.settings import DEFAULT_CORESET_RATIO, FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress
from patchbank.vision.backbones import DEFAULT_BACKBONE
from patchbank.vision.decoded_image import Pixels
from patchbank.vision.extractor_settings import ExtractorSettings

#: The marks of settings that are tried whatever they cost.
CHOSEN: Final = "what fit chooses"
IN_USE: Final = "in use now"
PAPER: Final = "the paper's"

# Settings beyond this multiple of the budget are not tried, and of each choice of layers at most so
# many scales.
_TIMES_BUDGET = 3
_SCALES_EACH = 3
# Smaller images are tried enlarged too.
_ENLARGED_UP_TO, _LARGEST_SCALE = 448, 1.4


@dataclass(frozen=True, eq=False)
class Candidate:
    """Settings to try.

    Attributes
    ----------
    settings
        With nothing left to choose, for the images that are learned.
    options
        Options of a fit of all images given, beyond the defaults; None where there are no options
        for a setting of the bank in use.
    expected_ms
        About how long an inspection will take.
    marks
        Why they are tried: see `CHOSEN`, `IN_USE` and `PAPER`.
    """

    settings: FitSettings
    options: dict[str, Any] | None
    expected_ms: float
    marks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The settings in few words."""
        extractor = self.settings.extractor
        size = f"{extractor.image_size} x {extractor.image_size}"
        if extractor.scale is not None:
            size = f"scale {extractor.scale:g}"
            if self.options is None:  # its tiles are not those that a fit of these images takes
                size = extractor.input_in_words()
        elif extractor.center_crop is not None:
            size += f", cropped to {extractor.center_crop}"
        usual = FitSettings()
        others = (
            (extractor.backbone, usual.extractor.backbone),
            (extractor.precision, usual.extractor.precision),
            (f"score {self.settings.image_score}", f"score {usual.image_score}"),
        )
        unusual = [text for text, default in others if text != default]
        return ", ".join([size, " and ".join(extractor.layers), *unusual])


@dataclass(eq=False)
class Candidates:
    """Settings to try, cheapest first; what is not tried, and what a person should know."""

    tried: list[Candidate] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    remarks: tuple[str, ...] = ()


def candidates_of(
    workspace: Workspace,
    learned: Images,
    settings: FitSettings,
    given: dict[str, Any],
    in_use: FitSettings | None,
    progress: Progress,
) -> Candidates:
    """Return the settings to try.

    Parameters
    ----------
    learned
        The images that are learned.
    settings
        What was asked for; the resolution is left to choose.
    given
        The options of a fit that were given.
    in_use
        What the category's bank was made with, if there is one.
    """
    sizes = sizes_of(workspace, learned.sources)
    costs = _Costs(
        workspace, crops_of(learned.sources, learned.names, settings, workspace.limits), sizes
    )
    chosen, lines = settled_resolution(
        workspace, learned.sources, learned.names, settings, progress
    )
    if chosen.resolution:
        lines = (f"fit would choose {chosen.resolution}", *lines[1:])
    # By name: a fit of all images, or on a busier day, might choose otherwise.
    named = {}
    if chosen.resolution:
        named = _options_of(chosen.extractor)
        chosen = replace(chosen, to_choose=frozenset({"tile"}))
    found = [Candidate(chosen, {**given, **named}, costs.milliseconds(chosen), (CHOSEN,))]
    square = replace(
        settings,
        extractor=replace(settings.extractor, image_size=_usual_side(settings.extractor)),
        to_choose=frozenset(),
    )
    options = {**given, "image_size": square.extractor.image_size}
    found.append(Candidate(square, options, costs.milliseconds(square), (PAPER,)))
    left_out = []
    for layers in layers_to_try(settings):
        scaled, dear = _scaled(settings, layers, sizes, costs)
        left_out += dear
        for setting, milliseconds in scaled:
            options = {**given, **_options_of(setting.extractor)}
            found.append(Candidate(setting, options, milliseconds))
    if in_use is not None:
        fitting = _with_fitting_share(in_use, settings, sizes)
        found.append(Candidate(fitting, None, costs.milliseconds(fitting), (IN_USE,)))
    return Candidates(sorted(_merged(found), key=lambda item: item.expected_ms), left_out, lines)


def options_given(settings: FitSettings, bit_depth: int | None) -> dict[str, Any]:
    """Return the options of a fit that differ from its defaults, the resolution's aside."""
    usual, extractor = FitSettings(), settings.extractor
    options: dict[str, Any] = {}
    if extractor.backbone != DEFAULT_BACKBONE:
        options["backbone"] = extractor.backbone
    if "layers" not in settings.to_choose:
        options["layers"] = list(extractor.layers)
    if extractor.precision != usual.extractor.precision:
        options["precision"] = extractor.precision
    if bit_depth is not None:
        options["bit_depth"] = bit_depth
    if "coreset_ratio" not in settings.to_choose:
        options["coreset_ratio"] = settings.coreset_ratio
    if extractor.regions is not None:
        options |= extractor.regions.options()
    for name in ("image_score", "seed", "false_alarm_rate", "review_rate"):
        if getattr(settings, name) != getattr(usual, name):
            options[name] = getattr(settings, name)
    return options


class _Costs:
    """What inspections cost with each choice of layers, measured once."""

    def __init__(self, workspace: Workspace, pictures: Sequence[Pixels], sizes: Sizes) -> None:
        self._workspace, self._pictures, self._sizes = workspace, pictures, sizes
        self._found: dict[ExtractorSettings, Cost] = {}

    def milliseconds(self, settings: FitSettings) -> float:
        """Return about how long an inspection with these settings takes."""
        plain = replace(settings.extractor, center_crop=None, bit_depth=None)
        extractor = trial_extractor(plain, plain.layers)
        if extractor not in self._found:
            self._found[extractor] = cost_of(self._workspace, extractor, self._pictures)
        return self._found[extractor].milliseconds(settings, self._sizes)


def _usual_side(extractor: ExtractorSettings) -> int:
    """Return the side of the paper's square, in whole positions of the deepest layer."""
    return SQUARE - SQUARE % extractor.tiling.coarse


def _scaled(
    settings: FitSettings, layers: tuple[str, ...], sizes: Sizes, costs: _Costs
) -> tuple[list[tuple[FitSettings, float]], list[str]]:
    """Return the settings of some scales with what they cost, and a line on those left out."""
    small = max(typical(sizes)) <= _ENLARGED_UP_TO
    asked = replace(settings, extractor=replace(settings.extractor, layers=layers))
    priced: list[tuple[FitSettings, float]] = []
    dear: list[tuple[FitSettings, float]] = []
    for option in at_scales(asked, sizes, _LARGEST_SCALE if small else 1.0):
        milliseconds = costs.milliseconds(option)
        if milliseconds > _TIMES_BUDGET * settings.budget_ms:
            dear.append((option, milliseconds))
        elif len(priced) < _SCALES_EACH:
            # Its tile is chosen again, as a fit does: no remark is to name a tile.
            priced.append((replace(option, to_choose=frozenset({"tile"})), milliseconds))
    if not dear:
        return priced, []
    (largest, most), (smallest, least) = dear[0], dear[-1]
    scales, times = f"scale {largest.extractor.scale:g}", f"{most:,.0f}"
    if len(dear) > 1:
        scales, times = (
            f"scales {smallest.extractor.scale:g} to {scales[6:]}",
            f"{least:,.0f} to {times}",
        )
    return priced, [
        f"{scales} with {' and '.join(layers)}: about {times} ms an image, more than "
        f"{_TIMES_BUDGET} times the budget"
    ]


def _options_of(extractor: ExtractorSettings) -> dict[str, Any]:
    """Return the options of a fit that make a setting; a fit chooses the rest likewise."""
    options: dict[str, Any] = {"scale": extractor.scale}
    if extractor.layers != ExtractorSettings(backbone=extractor.backbone).layers:
        options["layers"] = list(extractor.layers)
    return options


def _with_fitting_share(in_use: FitSettings, asked: FitSettings, sizes: Sizes) -> FitSettings:
    """Return the settings in use, at the asked rate.

    Of a bank with a small share of many patches, the share is of more images than are learned here.
    """
    in_use = replace(
        in_use,
        false_alarm_rate=asked.false_alarm_rate,
        review_rate=asked.review_rate,
        seed=asked.seed,
    )
    if in_use.extractor.scale is None or in_use.coreset_ratio > DEFAULT_CORESET_RATIO:
        return in_use
    free = replace(
        in_use, coreset_ratio=DEFAULT_CORESET_RATIO, to_choose=frozenset({"coreset_ratio"})
    )
    return replace(with_fitting_ratio(free, sizes), to_choose=frozenset())


def _merged(found: Sequence[Candidate]) -> list[Candidate]:
    """Return the candidates, each once, with the marks of all that are the same."""
    by_key: dict[Any, Candidate] = {}
    for candidate in found:
        settings = candidate.settings
        extractor = replace(settings.extractor, bit_depth=None)
        key = extractor, settings.image_score, settings.coreset_ratio
        first = by_key.setdefault(key, candidate)
        if first is not candidate:
            by_key[key] = replace(first, marks=(*first.marks, *candidate.marks))
    return list(by_key.values())
