"""Options that several commands share, each written once."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from patchbank.errors import ParameterError
from patchbank.inspection.settings import (
    DEFAULT_CORESET_RATIO,
    DEFAULT_FALSE_ALARM_RATE,
    DEFAULT_REVIEW_RATE,
    DEFAULT_SCORE,
    FitSettings,
    make_fit_settings,
)
from patchbank.memory.scoring import ScoreMethod
from patchbank.spelling import composed

Json = Annotated[
    bool, typer.Option("--json", help="One JSON document per line on standard output.")
]
Csv = Annotated[
    str | None,
    typer.Option("--csv", metavar="FILE", help="Write a CSV file; - is standard output."),
]
PartFrom = Annotated[
    str | None,
    typer.Option(
        metavar="PATTERN",
        help="Take each part's id from the image's name: a regular expression with one group, "
        "such as '(\\d+)_cam'.",
    ),
]
StationToRecord = Annotated[
    str | None,
    typer.Option(
        help="Where the images were taken, to be recorded with them.  "
        "\\[default: PATCHBANK_STATION]"
    ),
]
# As it is stored, and so as it is shown again.
Category = Annotated[str, typer.Argument(help="Category, for example leather.", callback=composed)]
Paths = Annotated[
    list[str],
    typer.Argument(metavar="PATH...", help="Folders, images or globs.", show_default=False),
]
Top = Annotated[int, typer.Option(min=1, max=1000, help="How many similar images to show.")]
Open = Annotated[bool, typer.Option("--open", help="Open the page in the browser.")]
PageFolder = Annotated[
    Path | None,
    typer.Option("--report", metavar="FOLDER", help="Write a page with pictures to this folder."),
]
Backbone = Annotated[
    str | None,
    typer.Option(
        help="Backbone network that computes the features.  \\[default: efficientnet-lite0]"
    ),
]
Layers = Annotated[
    str | None,
    typer.Option(
        help="Layers, comma-separated.  \\[default: set by the backbone, or the first of these "
        "alone where that shows clearly more]"
    ),
]
ImageSize = Annotated[
    int | None,
    typer.Option(
        help="Resize images to a square of this many pixels per side.  "
        "\\[default: 224 for small and nearly square images; others keep their shape]"
    ),
]
CenterCrop = Annotated[
    int | None,
    typer.Option(
        help="Crop the resized image to its central square of this many pixels per side; the "
        "border is "
        "not inspected."
    ),
]
Scale = Annotated[
    float | None,
    typer.Option(
        help="Keep the images' shape and show the network this many pixels per pixel of the image, "
        "in tiles; 1 for the image's own pixels.  \\[default: 1 with --tile or --overlap, else "
        "chosen by the fit]"
    ),
]
Tile = Annotated[
    int | None,
    typer.Option(
        help="Pixels per side of a tile, as the network sees it.  "
        "\\[default: what needs least work for the images' sizes]"
    ),
]
Overlap = Annotated[
    int | None,
    typer.Option(
        help="Least overlap of two tiles, in pixels that the network sees.  "
        "\\[default: 16 positions of the deepest layer]"
    ),
]
BudgetMs = Annotated[
    float | None,
    typer.Option(
        "--budget-ms",
        help="Milliseconds that one inspection should take at most, where the fit chooses the "
        "scale: without --image-size, --center-crop, --scale, --tile and --overlap.  "
        "\\[default: 100, or 250 per megapixel where that is more]",
    ),
]
Precision = Annotated[
    Literal["f32", "bf16", "int8"] | None,
    typer.Option(
        help="Precision of the network. bf16 needs a processor that supports it; fitting in int8 "
        "needs the extra int8.  \\[default: f32]"
    ),
]
BitDepth = Annotated[
    int | None,
    typer.Option(
        help="Bits in use in 16-bit images, from 8 to 16, such as 12.  "
        "\\[default: detected from the images]"
    ),
]
Score = Annotated[
    ScoreMethod, typer.Option(help="How patch distances are combined into the image score.")
]
CoresetRatio = Annotated[
    float | None,
    typer.Option(
        help="Fraction of the patches to keep in the memory bank, in (0, 1].  "
        f"\\[default: {DEFAULT_CORESET_RATIO}, and in tiles at most 25,000 patches]"
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Random seed for the first patch of the coreset.")]
FalseAlarmRate = Annotated[
    float, typer.Option(help="Fraction of good images that may fail, in (0, 1).")
]
ReviewRate = Annotated[
    float,
    typer.Option(
        help="Fraction of good images that may go to review besides those that fail; 0 for none."
    ),
]
MemoryLimit = Annotated[
    str | None,
    typer.Option(
        help="Memory the fit may use, such as 4GB; if the images need more, they are learned "
        "in parts.  "
        "\\[default: half of the free memory]"
    ),
]
MaxRefused = Annotated[
    str,
    typer.Option(
        metavar="N|PERCENT",
        help="How many images may be refused, such as 20 or 10%. If more are, nothing is stored.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="NAME", help="Leave this image out. May be repeated."),
]
GroupBy = Annotated[
    str | None,
    typer.Option(
        "--group-by",
        metavar="RULE",
        help="Which images depend on one another, such as pictures of one part, and count as one "
        "in the calibration: a regular expression on the name whose group in parentheses tells "
        "them apart, such as 'part(\\d+)'; folder, or folder:2 for the folder above that; a "
        "column of a table that has a column path, such as parts.csv:part; or image, if each "
        "image shows another part.  \\[default: as detected]",
    ),
]
Strict = Annotated[
    bool,
    typer.Option("--strict", help="Store nothing if some images stand apart from the others."),
]
Folder = Annotated[Path, typer.Argument(help="Folder to write.")]
# Written out, since reading the catalogue would slow every command; a test compares.
DataSetLayout = Literal[
    "mvtec",
    "mvtec-ad2",
    "mvtec-loco",
    "visa",
    "btad",
    "kolektorsdd2",
    "deeppcb",
    "folder",
    "manifest",
]
DataSetName = Annotated[DataSetLayout, typer.Option("--dataset", help="Layout of the folder.")]
Categories = Annotated[
    list[str] | None,
    typer.Option(
        "--category",
        help="Categories to evaluate, comma-separated. May be repeated.  \\[default: all]",
    ),
]
AuproLimit = Annotated[
    float | None,
    typer.Option(
        help="Integrate AUPRO up to this false-positive rate, in (0, 1].  "
        "\\[default: 0.3, or 0.05 for MVTec AD 2]"
    ),
]


CostMiss = Annotated[
    float | None,
    typer.Option(help="What a defective part that does not fail costs; proposes a limit."),
]
CostFalseAlarm = Annotated[float | None, typer.Option(help="What a good part that fails costs.")]
DefectRate = Annotated[
    float | None, typer.Option(help="Assumed fraction of parts that are defective, in (0, 1).")
]


LabelledDefects = Annotated[
    int,
    typer.Option(
        min=0,
        help="Label that many of each category's anomalous test images, drawn with --seed and left "
        "out of the figures: scores rise with likeness to them.",
    ),
]


IgnoreMask = Annotated[
    Path | None,
    typer.Option(
        "--ignore-mask",
        metavar="IMAGE",
        help="Neither learn nor judge what is white in this image, which has the proportions of "
        "the others.",
    ),
]
IgnoreBox = Annotated[
    list[str] | None,
    typer.Option(
        "--ignore-box",
        metavar="X,Y,W,H",
        help="Neither learn nor judge this box, in pixels of the images or in per cent, such as "
        "10%,20%,30%,5%. May be repeated.",
    ),
]
OnlyBox = Annotated[
    list[str] | None,
    typer.Option(
        "--only-box",
        metavar="X,Y,W,H",
        help="Learn and judge this box alone, in pixels of the images or in per cent. May be "
        "repeated.",
    ),
]


def _fit_options(
    backbone: Backbone = None,
    layers: Layers = None,
    image_size: ImageSize = None,
    center_crop: CenterCrop = None,
    scale: Scale = None,
    tile: Tile = None,
    overlap: Overlap = None,
    budget_ms: BudgetMs = None,
    precision: Precision = None,
    bit_depth: BitDepth = None,
    coreset_ratio: CoresetRatio = None,
    score: Score = DEFAULT_SCORE,
    seed: Seed = 0,
    false_alarm_rate: FalseAlarmRate = DEFAULT_FALSE_ALARM_RATE,
    review_rate: ReviewRate = DEFAULT_REVIEW_RATE,
    ignore_mask: IgnoreMask = None,
    ignore_box: IgnoreBox = None,
    only_box: OnlyBox = None,
) -> FitSettings:
    return make_fit_settings(
        backbone=backbone,
        layers=layers,
        image_size=image_size,
        center_crop=center_crop,
        scale=scale,
        tile=tile,
        overlap=overlap,
        budget_ms=budget_ms,
        precision=precision,
        bit_depth=bit_depth,
        coreset_ratio=coreset_ratio,
        image_score=score,
        seed=seed,
        false_alarm_rate=false_alarm_rate,
        review_rate=review_rate,
        ignore_mask=ignore_mask,
        ignore_box=ignore_box,
        only_box=only_box,
    )


_FIT_OPTIONS = inspect.signature(_fit_options, eval_str=True).parameters


def with_fit_settings(
    command: Callable[..., int], *, without: Collection[str] = ()
) -> Callable[..., int]:
    """Have a command's parameter `settings` made from the options of a fit, which take its place.

    Typer reads options from signatures.

    Parameters
    ----------
    without
        Names of options that the command does not have.
    """
    kept = {name: option for name, option in _FIT_OPTIONS.items() if name not in without}

    @functools.wraps(command)
    def run(**given: Any) -> int:
        settings = _fit_options(**{name: given.pop(name) for name in kept})
        return command(settings=settings, **given)

    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        found = kept.values() if parameter.name == "settings" else [parameter]
        parameters += [
            found_item.replace(kind=inspect.Parameter.KEYWORD_ONLY) for found_item in found
        ]
    # Every callable may have one (PEP 362), but mypy does not know of it.
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def split_categories(given: list[str] | None) -> list[str] | None:
    """Return the names in what was given for `--category`, or None for all.

    Raises
    ------
    ParameterError
        If something was given and no name is in it.
    """
    if given is None:
        return None
    names = [name.strip() for value in given for name in value.split(",") if name.strip()]
    if not names:
        raise ParameterError("--category: no name given; separate names by commas or leave it out")
    return names
