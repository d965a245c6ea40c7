"""Synthetic defects of growing size and contrast, drawn and judged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from patchbank.errors import ParameterError
from patchbank.inspection.measuring.located import crop_around, strongest_at
from patchbank.inspection.measuring.sensitivity_images import Candidate, TriedBank
from patchbank.inspection.measuring.sensitivity_report import ShownDefect, ShownPair, Trial
from patchbank.inspection.verdicts import Judgement
from patchbank.memory.threads import in_this_thread
from patchbank.progress import Progress
from patchbank.vision.decoded_image import Pixels
from patchbank.vision.extraction import Extraction, Refusal
from patchbank.vision.graded_defects import DEFECT_KINDS, graded_defect
from patchbank.vision.synthetic import SmallDefect, contrast_range

# Of a position, until it is inspected.
_MOST_DRAWS = 1000
# Pixels of a crop around a defect, at least, and as a multiple of the defect's size.
_LEAST_CROP, _CROP_SIZES = 96, 3


@dataclass(frozen=True, eq=False)
class _Drawn:
    """An image with a defect: numbers of the image, kind, size and contrast, and the defect."""

    image: int
    cell: tuple[int, int, int]
    defect: SmallDefect


@dataclass(frozen=True, eq=False)
class TrialResult:
    """What was found and located, int (kinds, sizes, contrasts), and what is shown of it."""

    found: npt.NDArray[np.int64]
    located: npt.NDArray[np.int64]
    pairs: dict[tuple[int, int], ShownPair]


def judge_defects(
    bank: TriedBank,
    kept: Sequence[Candidate],
    trial: Trial,
    seconds: float,
    progress: Progress,
) -> TrialResult:
    """Judge each image with each defect.

    Parameters
    ----------
    seconds
        About how long an image takes with all its defects.

    Raises
    ------
    ParameterError
        If what is inspected leaves no room for a defect.
    """
    extractor = bank.ready.extractor
    under_way: dict[int, _Drawn] = {}

    def pictures() -> Iterator[Pixels]:
        number = 0
        for image, candidate in enumerate(kept):
            pixels = bank.decode(candidate.source, candidate.name).pixels
            for drawn in _drawn(bank, pixels, image, trial):
                under_way[number] = drawn
                yield drawn.defect.pixels
                number += 1

    def work(name: str, extraction: Extraction | Refusal) -> tuple[_Drawn, Judgement]:
        if isinstance(extraction, Refusal):
            raise extraction.error
        drawn = under_way.pop(int(name))
        judge = bank.judge(kept[drawn.image].reference)
        with in_this_thread():
            image = extraction.image
            return drawn, judge(
                extraction.patches, image.width, image.height, embedding=extraction.embedding
            )

    result = TrialResult(np.zeros(trial.shape, np.int64), np.zeros(trial.shape, np.int64), {})
    total = len(kept) * trial.defects
    minutes = len(kept) * seconds / 60
    about = f"{minutes:.0f} min" if minutes >= 1.5 else f"{max(1, round(60 * minutes))} s"
    stream = extractor.map_many(
        work, pictures(), names=map(str, count()), limits=bank.workspace.limits
    )
    for done, (drawn, judgement) in enumerate(stream, 1):
        located = strongest_at(judgement, drawn.defect.box, extractor.settings)
        result.located[drawn.cell] += located
        result.found[drawn.cell] += located and not judgement.passed
        _keep(result.pairs, kept[drawn.image].name, drawn, trial, judgement, located)
        progress(f"synthetic defects judged, about {about}", done, total)
    return result


def _drawn(bank: TriedBank, pixels: Pixels, image: int, trial: Trial) -> Iterator[_Drawn]:
    """Yield an image with each defect, which its number and the seed determine."""
    levels = contrast_range(pixels)
    for kind, name in enumerate(trial.kinds):
        key = [trial.seed, 7, image, DEFECT_KINDS.index(name)]
        at = _position(bank, pixels, trial, np.random.default_rng(key))
        for size, contrast in np.ndindex(trial.shape[1:]):
            defect = graded_defect(
                pixels,
                name,
                trial.sizes[size],
                trial.contrasts[contrast],
                at,
                np.random.default_rng([*key, 1]),
                levels=levels,
            )
            yield _Drawn(image, (kind, size, contrast), defect)


def _position(
    bank: TriedBank, pixels: Pixels, trial: Trial, random: np.random.Generator
) -> tuple[float, float]:
    """Draw where a defect's middle is: where the image is inspected, away from the border.

    Raises
    ------
    ParameterError
        If what is inspected leaves no room.
    """
    settings = bank.ready.extractor.settings
    height, width = pixels.shape[:2]
    x0, y0, x1, y1 = settings.preprocessing.inspected_box(width, height)
    margin = trial.sizes[-1] / 2
    for _ in range(_MOST_DRAWS):
        x, y = (random.uniform(*_inner(low, high, margin)) for low, high in ((x0, x1), (y0, y1)))
        if settings.regions is None or settings.regions.inspects(x, y, width, height):
            return x, y
    raise ParameterError(
        f"what is inspected leaves no room for defects of {trial.sizes[-1]} pixels; give smaller "
        "sizes"
    )


def _inner(low: float, high: float, margin: float) -> tuple[float, float]:
    """Return the ends of a line without its margins; its middle where it is too short."""
    if high - low <= 2 * margin:
        return (low + high) / 2, (low + high) / 2
    return low + margin, high - margin


def _keep(
    pairs: dict[tuple[int, int], ShownPair],
    name: str,
    drawn: _Drawn,
    trial: Trial,
    judgement: Judgement,
    located: bool,
) -> None:
    """Keep a defect to show if it is the smallest found or the largest missed so far."""
    kind, number, contrast = drawn.cell
    size = trial.sizes[number]
    pair = pairs.get((kind, contrast), ShownPair(None, None))
    found = located and not judgement.passed
    if found:
        better = pair.smallest_found is None or size < pair.smallest_found.size
    else:
        better = pair.largest_missed is None or size > pair.largest_missed.size
    if not better:
        return
    side = max(_LEAST_CROP, _CROP_SIZES * size)
    left, top, right, bottom = crop_around(
        drawn.defect.box, side, judgement.width, judgement.height
    )
    if found:
        outcome = "found"
    elif located:
        outcome = "located, but passes"
    else:
        outcome = "missed" if judgement.passed else "does not pass, but elsewhere"
    shown = ShownDefect(
        name,
        size,
        drawn.defect.pixels[top:bottom, left:right].copy(),
        judgement.full_map()[top:bottom, left:right].copy(),
        outcome,
    )
    change = {"smallest_found": shown} if found else {"largest_missed": shown}
    pairs[kind, contrast] = replace(pair, **change)
