"""How small and how faint a synthetic defect may be that the active bank still finds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from patchbank.datasets.collect import collect
from patchbank.errors import ParameterError
from patchbank.inspection.measuring.sensitivity_images import (
    Candidate,
    TriedBank,
    choose,
    reference_files,
)
from patchbank.inspection.measuring.sensitivity_report import SensitivityReport, Trial
from patchbank.inspection.measuring.sensitivity_trial import judge_defects
from patchbank.inspection.sources import checked_names
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.graded_defects import DEFECT_KINDS

DEFAULT_CONTRASTS: Final = (0.1, 0.2, 0.4, 0.8)
DEFAULT_IMAGES: Final = 20
# Pixels of images up to `_USUAL_SIDE`; of larger ones, twice as many for each doubling.
_SIZES: Final = (4, 8, 16, 32, 64)
_USUAL_SIDE = 1280
# The largest size by default, as a share of the shorter side of the images.
_LARGEST_SHARE = 1 / 3
_SMALLEST_SIZE = 2
_MOST_OF_EACH = 12
_MOST_MM_PER_PIXEL = 10_000
# Fewer images are used where it would take longer, unless their number is given.
_LONG_SECONDS = 240.0
_FEWEST_IMAGES = 8


def sensitivity_of_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path] | None,
    *,
    kinds: Sequence[str] = (),
    sizes: Sequence[int] = (),
    contrasts: Sequence[float] = (),
    images: int | None = None,
    mm_per_pixel: float | None = None,
    seed: int = 0,
    report: Path | None = None,
    progress: Progress = silent,
) -> SensitivityReport:
    """Judge the images found at paths, or the references without any; see `sensitivity`."""
    collected = collect(paths, good_only=True) if paths else None
    return sensitivity(
        workspace,
        category,
        None if collected is None else collected.images,
        found=() if collected is None else collected.remarks,
        kinds=kinds,
        sizes=sizes,
        contrasts=contrasts,
        images=images,
        mm_per_pixel=mm_per_pixel,
        seed=seed,
        report=report,
        progress=progress,
    )


def sensitivity(
    workspace: Workspace,
    category: str,
    sources: Sequence[ImageSource] | None = None,
    *,
    names: Sequence[str] | None = None,
    found: Sequence[str] = (),
    kinds: Sequence[str] = (),
    sizes: Sequence[int] = (),
    contrasts: Sequence[float] = (),
    images: int | None = None,
    mm_per_pixel: float | None = None,
    seed: int = 0,
    report: Path | None = None,
    progress: Progress = silent,
) -> SensitivityReport:
    """Judge images of good parts with synthetic defects of growing size and contrast.

    Each image gets each kind at one position, one defect at a time; only size and contrast change.
    Nothing is recorded. A defect is found where its image does not pass and the anomaly map is
    strongest at the defect. Images that do not pass without a defect are left out.

    Parameters
    ----------
    sources, names
        Images of good parts that the bank has not learned; those among its references are left out.
        By default the references' files, each judged as if its own patches were not in the bank.
    found
        Remarks on how the images were found.
    kinds
        Some of `DEFECT_KINDS`; all by default.
    sizes
        In pixels of the images.
    contrasts
        As shares of each image's own contrast.
    images
        How many images are used; by default 20, or fewer where it would take over four minutes.
    mm_per_pixel
        Millimetres per pixel of the images, to state sizes in millimetres too.
    report
        Folder for a page with pictures.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError, ExtractorMismatchError
        If there is no bank that can judge here.
    NoImagesError
        If no image is left.
    ParameterError
        If a setting is wrong, or the bank's references cannot be used.
    PatchbankError
        If the page cannot be written.
    """
    began = time.perf_counter()
    trial = _checked_trial(kinds, sizes, contrasts, mm_per_pixel, seed)
    if images is not None and images < 1:
        raise ParameterError(f"images is {images}; give 1 or more")
    if report is not None:
        from patchbank.reports.page import check_page_folder

        check_page_folder(report)
    stored = workspace.database.banks.active(category)
    bank = TriedBank(workspace, stored, leaves_out=sources is None)
    if sources is None:
        candidates = reference_files(stored)
    else:
        given = zip(sources, checked_names(sources, names), strict=True)
        candidates = [Candidate(source, name) for source, name in given]
    chosen = choose(bank, candidates, images or DEFAULT_IMAGES, seed, progress)
    trial = _fitting(trial, chosen.sizes)
    remarks = list(found)
    kept = chosen.kept
    seconds = chosen.seconds_each * trial.defects
    if images is None and len(kept) * seconds > _LONG_SECONDS:
        kept = kept[: max(_FEWEST_IMAGES, int(_LONG_SECONDS / seconds))]
        if len(kept) < len(chosen.kept):
            remarks.append(
                f"{len(kept)} of {counted(len(chosen.kept), 'image')} are used, so that it does "
                "not take too long; --images N decides"
            )
    result = judge_defects(bank, kept, trial, seconds, progress)
    report_found = SensitivityReport(
        category=category,
        bank_version=stored.version,
        thresholds=bank.judge(-1).thresholds,
        map_threshold=bank.judge(-1).map_threshold,
        trial=trial,
        images=len(kept),
        found=result.found,
        located=result.located,
        not_passed=tuple(chosen.not_passed),
        held_out=sources is not None,
        pairs=result.pairs,
        refused=tuple(chosen.refused),
        left_out=tuple(chosen.left_out),
        remarks=tuple(remarks),
        seconds=time.perf_counter() - began,
    )
    if report is None:
        return report_found
    from patchbank.inspection.measuring.sensitivity_page import write_sensitivity_page

    return write_sensitivity_page(report, report_found, bank.ready.extractor.settings)


def _checked_trial(
    kinds: Sequence[str],
    sizes: Sequence[int],
    contrasts: Sequence[float],
    mm_per_pixel: float | None,
    seed: int,
) -> Trial:
    """Return what is asked for; without sizes where none are given."""
    for kind in kinds:
        if kind not in DEFECT_KINDS:
            raise ParameterError(f"kind {kind!r}: must be one of {', '.join(DEFECT_KINDS)}")
    for size in sizes:
        if type(size) is not int or size < _SMALLEST_SIZE:
            raise ParameterError(
                f"size {size!r}: must be a whole number of pixels, {_SMALLEST_SIZE} or more"
            )
    for contrast in contrasts:
        if not 0 < contrast <= 1:
            raise ParameterError(
                f"contrast {contrast:g}: must be above 0 and at most 1, such as 0.2 (on the "
                "command line 20, in per cent)"
            )
    for name, values in (("sizes", sizes), ("contrasts", contrasts)):
        if len(set(values)) > _MOST_OF_EACH:
            raise ParameterError(f"{len(values)} {name}: give at most {_MOST_OF_EACH}")
    if mm_per_pixel is not None and not 0 < mm_per_pixel <= _MOST_MM_PER_PIXEL:
        raise ParameterError(
            f"millimetres per pixel {mm_per_pixel:g}: must be above 0 and at most "
            f"{_MOST_MM_PER_PIXEL:,}, such as 0.05"
        )
    if seed < 0:
        raise ParameterError(f"seed {seed}: must be 0 or more")
    return Trial(
        tuple(kind for kind in DEFECT_KINDS if kind in (kinds or DEFECT_KINDS)),
        tuple(sorted(set(sizes))),
        tuple(sorted(set(contrasts or DEFAULT_CONTRASTS))),
        seed,
        mm_per_pixel,
    )


def _fitting(trial: Trial, sizes: Sequence[tuple[int, int]]) -> Trial:
    """Return a trial with sizes of defects for images of these widths and heights."""
    longest = int(np.median([max(size) for size in sizes]))
    shortest = min(min(size) for size in sizes)
    if trial.sizes:
        if trial.sizes[-1] > shortest:
            raise ParameterError(
                f"size {trial.sizes[-1]}: larger than the images, whose shorter side has "
                f"{shortest} pixels; give smaller sizes"
            )
        return trial
    factor = 1
    while longest >= 2 * factor * _USUAL_SIDE:
        factor *= 2
    largest = shortest * _LARGEST_SHARE
    fitting = tuple(factor * size for size in _SIZES if factor * size <= largest)
    return replace(trial, sizes=fitting or _SIZES[:1])
