"""Whether an inspection can be trusted: parts of known answer, each judged several times.

An attribute agreement study as in AIAG, "Measurement Systems Analysis", 4th edition, 2010, chapter
III, section C, with the bank in the place of the appraiser.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from patchbank.datasets.layouts.shared import some
from patchbank.datasets.study import Study, StudyImage
from patchbank.errors import ImageError, NoImagesError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.judging.live_bank import LiveBank
from patchbank.inspection.judging.matching import matching_settings_of
from patchbank.inspection.measuring.check_report import (
    USUAL_PARTS,
    USUAL_REPEATS,
    CheckReport,
    StudyPart,
    StudyVerdict,
    agreement_of_parts,
    parts_of,
)
from patchbank.inspection.sources import checked_name
from patchbank.inspection.verdicts import Inspection, Refused
from patchbank.inspection.workspace import Workspace
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.stored_bank import StoredBank
from patchbank.vision.images import decode


def check(
    workspace: Workspace,
    category: str,
    study: Study,
    *,
    bank_version: int | None = None,
    record: bool = False,
    report: Path | None = None,
    progress: Progress = silent,
) -> CheckReport:
    """Judge parts of known answer, and return how the verdicts agree with it and with each other.

    One version of the bank judges all images. Images that the bank was made of would flatter it:
    the parts that they show are left out. So is an image whose pixels are those of another.

    Parameters
    ----------
    bank_version
        The version that judges; by default the active one.
    record
        Whether to record the inspections, with their parts. They then count as production.
    report
        Folder for a page with pictures.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError, ExtractorMismatchError
        If there is no bank that can judge here.
    NoImagesError
        If no image is left to judge.
    PatchbankError
        If the page cannot be written.
    """
    began = time.perf_counter()
    if report is not None:
        from patchbank.reports.page import check_page_folder

        check_page_folder(report)
    banks = workspace.database.banks
    stored = (
        banks.active(category, patches=False)
        if bank_version is None
        else banks.version(category, bank_version, patches=False)
    )
    settings, _ = matching_settings_of(stored)
    study = replace(
        study, images=tuple(replace(image, name=checked_name(image.name)) for image in study.images)
    )
    usable = _usable(workspace, stored, study, settings.bit_depth, progress)
    refused = usable.refused
    live = LiveBank(workspace, category, version=stored.version)
    inspector = Inspector(workspace, category, record=record, live=live)
    verdicts: list[StudyVerdict] = []
    last: Inspection | None = None
    results = inspector.inspect_many(
        [image.source for image in usable.images],
        names=[image.name for image in usable.images],
        parts=[image.part for image in usable.images] if record else None,
        top=0,
        progress=progress,
    )
    for image, result in zip(usable.images, results, strict=True):
        if isinstance(result, Refused):
            refused.append(result)
            continue
        last = result
        verdicts.append(StudyVerdict(image, result.verdict, result.score, result.p_value))
    if last is None:
        raise NoImagesError(_nothing_left(usable))
    parts = parts_of(verdicts)
    found = CheckReport(
        category=category,
        bank_version=last.bank_version,
        thresholds=last.thresholds,
        parts=parts,
        agreement=agreement_of_parts(parts),
        told_by=study.told_by,
        refused=tuple(refused),
        left_out=tuple(usable.left_out),
        remarks=(*study.remarks, *_remarks(parts)),
        recorded=record,
        seconds=time.perf_counter() - began,
    )
    if report is None:
        return found
    from patchbank.inspection.measuring.check_page import write_check_page

    again = Inspector(workspace, category, record=False, live=live)
    return write_check_page(report, found, again, settings)


@dataclass(frozen=True, eq=False)
class _Usable:
    """The images that count, those that cannot be read, and why others are left out."""

    images: list[StudyImage]
    refused: list[Refused]
    left_out: list[str]


def _usable(
    workspace: Workspace,
    stored: StoredBank,
    study: Study,
    bit_depth: int | None,
    progress: Progress,
) -> _Usable:
    by_file = {image.sha256 for image in stored.content.images}
    by_pixels = {image.pixels_sha256 for image in stored.content.images}
    refused: list[Refused] = []
    learned: dict[str, str] = {}
    first: dict[str, StudyImage] = {}
    repeated: list[str] = []
    kept: list[StudyImage] = []
    for number, image in enumerate(study.images, 1):
        progress("images read", number, len(study.images))
        try:
            decoded = decode(
                image.source, limits=workspace.limits, name=image.name, bit_depth=bit_depth
            )
        except ImageError as error:
            refused.append(Refused(image.name, str(error)))
            continue
        if decoded.sha256 in by_file or decoded.pixels_sha256 in by_pixels:
            learned.setdefault(image.part, image.name)
        same = first.setdefault(decoded.pixels_sha256, image)
        if same is image:
            kept.append(image)
        else:
            repeated.append(f"{image.name} (as {same.name})")
    left_out = []
    if learned:
        parts = counted(len(learned), "part is left out", "parts are left out")
        named = some([f"{part} ({name})" for part, name in learned.items()])
        left_out.append(
            f"{parts}: the bank has an image of the part among its references, so that the "
            f"verdicts would flatter: {named}"
        )
    if repeated:
        images = counted(len(repeated), "image is left out", "images are left out")
        left_out.append(
            f"{images}: the pixels are those of another image, which is no repeat: {some(repeated)}"
        )
    return _Usable([image for image in kept if image.part not in learned], refused, left_out)


def _nothing_left(usable: _Usable) -> str:
    reasons = [*usable.left_out, *(refusal.error for refusal in usable.refused[:3])]
    return (
        f"no image of the study can be judged: {'; '.join(reasons)}; give images of parts that "
        "the bank was not fitted to"
    )


def _remarks(parts: Sequence[StudyPart]) -> list[str]:
    """Return what the study lacks, as remarks."""
    remarks = []
    repeats = min(len(part.verdicts) for part in parts)
    for defective, kind in ((False, "good"), (True, "defective")):
        if not any(part.defective is defective for part in parts):
            rate = "misses" if defective else "false alarms"
            remarks.append(
                f"the study has no {kind} part, so that {rate} and kappa are not known; add parts"
            )
    if len(parts) < USUAL_PARTS or repeats < USUAL_REPEATS:
        remarks.append(
            f"{counted(len(parts), 'part')} with {counted(repeats, 'image')} or more of each: the "
            f"usual study has {USUAL_PARTS} parts or more, good, defective and near the limit, "
            f"each imaged {USUAL_REPEATS} times (AIAG); with fewer, the intervals are wide"
        )
    if all(len(part.verdicts) == 1 for part in parts):
        remarks.append(
            "each part has one image, so that agreement with itself is not known; image each part "
            "several times, in folders by part, or tell parts by --part-from PATTERN"
        )
    return remarks
