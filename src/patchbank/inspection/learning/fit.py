"""Learn a category from good images and make the new bank the one that answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from patchbank.datasets.collect import collect
from patchbank.datasets.grouping import applies_to_more
from patchbank.errors import (
    DamagedBankError,
    NotFittedError,
    SuspiciousImagesError,
    UnknownCategoryError,
)
from patchbank.inspection.judging.heatmaps import check_folder
from patchbank.inspection.judging.index import indexes_of, restore_indexes
from patchbank.inspection.judging.matching import threshold_rule_of
from patchbank.inspection.learning.demands import DEFAULT_MAX_REFUSED, Demands, demands_of
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.learning.memory_limit import checked_limit
from patchbank.inspection.learning.remarks import fewer_images, lost_likeness, replaced_limits
from patchbank.inspection.learning.screening import Screening, screened
from patchbank.inspection.learning.suspicious_pictures import earlier_pictures, write_suspicious
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.sources import checked_groups, checked_names, without
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.workspace import Workspace
from patchbank.memory.coreset import coreset_size
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent
from patchbank.store.bank_size import stored_bytes
from patchbank.store.categories import checked_category_name
from patchbank.store.reference_features import kept_bytes
from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.features import feature_shape
from patchbank.vision.decoded_image import ImageSource

# What to do with an image that stands apart and is not good.
_REMEDY = "fit again with --exclude NAME"
# Of a thumbnail, a JPEG of 160 pixels at most.
_THUMBNAIL_BYTES = 6000


@dataclass(frozen=True, eq=False, repr=False)
class FitReport:
    """What a fit did."""

    category: str
    bank_version: int
    bank: LearnedBank
    timings_s: dict[str, float]
    pictures: tuple[Path, ...] = ()
    screening: Screening | None = None

    def __repr__(self) -> str:
        return (
            f"<FitReport of {self.category!r}, version {self.bank_version}: "
            f"{counted(len(self.bank.images), 'image')}, "
            f"{counted(len(self.bank.features), 'patch', 'patches')}>"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        bank = self.bank
        return {
            "category": self.category,
            "bank_version": self.bank_version,
            "images": len(bank.images),
            "refused": [refusal.to_json() for refusal in bank.refused],
            "remarks": list(bank.remarks),
            "suspicious": None if bank.suspicious is None else bank.suspicious.to_json(),
            "screening": None if self.screening is None else self.screening.to_json(),
            "pictures": [str(path) for path in self.pictures],
            "patches": bank.patches,
            "dimension": bank.features.shape[1],
            "bank_size": len(bank.features),
            "covering_radius": bank.covering_radius,
            "streamed": bank.streaming is not None,
            "streaming": None if bank.streaming is None else bank.streaming.to_json(),
            "extractor": bank.settings.extractor.to_json(),
            "settings": bank.settings.to_json(),
            **bank.thresholds.to_json(),
            **bank.threshold.stated(),
            "calibration": bank.threshold.to_json(),
            "review": bank.settings.threshold_rule.to_json(bank.calibration),
            "timings_s": {name: round(value, 3) for name, value in self.timings_s.items()},
        }


def fit_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    settings: FitSettings,
    *,
    memory_limit: int | str | None = None,
    force: bool = False,
    max_refused: int | str = DEFAULT_MAX_REFUSED,
    exclude: Sequence[str] = (),
    group_by: str | None = None,
    screen: bool = False,
    strict: bool = False,
    report: Path | None = None,
    progress: Progress = silent,
) -> FitReport:
    """Fit the images found at paths, each a folder, an image or a glob; see `fit`."""
    # The command line's names are the paths as they were given: what the user can open again.
    found = collect(paths, good_only=True, exclude=exclude)
    return fit(
        workspace,
        category,
        found.images,
        settings,
        found=found.remarks,
        memory_limit=memory_limit,
        force=force,
        max_refused=max_refused,
        exclude=exclude,
        group_by=group_by,
        screen=screen,
        strict=strict,
        report=report,
        progress=progress,
    )


def fit(
    workspace: Workspace,
    category: str,
    sources: Sequence[ImageSource],
    settings: FitSettings,
    *,
    names: Sequence[str] | None = None,
    found: Sequence[str] = (),
    memory_limit: int | str | None = None,
    force: bool = False,
    max_refused: int | str = DEFAULT_MAX_REFUSED,
    exclude: Sequence[str] = (),
    groups: Sequence[object] | None = None,
    group_by: str | None = None,
    screen: bool = False,
    strict: bool = False,
    report: Path | None = None,
    progress: Progress = silent,
) -> FitReport:
    """Learn from good images and activate the bank in one transaction.

    Until that transaction the category's earlier bank answers; a fit that is interrupted, killed or
    refused leaves nothing behind.

    Parameters
    ----------
    found
        Remarks on how the images were found, for the report.
    memory_limit
        What this process may take, as `learn` has it. The database server is another process.
    force
        Whether fewer than five images will do; two are needed in any case.
    max_refused
        How many images may be refused, repeats among them: a number, or a share such as ``"50%"``.
    exclude
        Names of images that are not to be learned.
    groups, group_by
        Images that depend on one another, such as pictures of one part: a group for each source, or
        a rule that finds it (`groups_by`). Each group counts as one in the calibration.
    screen
        Whether images that stand apart are left out, and the rest learned again. They are looked
        for more closely than for a remark.
    strict
        Whether images that stand apart from the others are an error; then nothing is stored.
    report
        Folder for pictures of images that stand apart.

    Raises
    ------
    NoImagesError, TooManyRefusedError
        If too few images can be used, or too many are refused.
    SuspiciousImagesError
        If `strict` and some images stand apart.
    ParameterError, MissingWeightsError, DatabaseError, DiskFullError, ReportError
        If a name or setting is wrong, the backbone's weights are not
        here, or it cannot be stored or the pictures not written.
    """
    watch = Stopwatch()
    with watch.stage("database"):
        # Opened first: an unreachable database or a wrong name is said before the work, not after.
        category = checked_category_name(category)
        # Missing weights likewise, before a database is started.
        _ = get_backbone(settings.extractor.backbone).weights_sha256
        checked_limit(memory_limit)
        demands = demands_of(force=force, max_refused=max_refused)
        if report is not None:
            check_folder(report)
        checked = checked_names(sources, names)
        labels, ungrouped = checked_groups(checked, groups, group_by)
        if group_by is not None and applies_to_more(group_by):
            settings = replace(settings, group_by=group_by)
        if exclude:
            sources, names = without(sources, checked, exclude)
        workspace.database.check_can_learn()

    def check_room(settled: FitSettings, most: int) -> None:
        workspace.database.check_room(_expected_bytes(settled, len(sources), most))

    def learn_those(
        sources: Sequence[ImageSource], names: Sequence[str], demands: Demands
    ) -> LearnedBank:
        return learn(
            workspace,
            sources,
            settings,
            names=names,
            groups=labels,
            memory_limit=memory_limit,
            demands=demands,
            on_settled=check_room,
            progress=progress,
        )

    given = checked if names is None else names
    bank = learn_those(sources, given, demands)
    screening: Screening | None = None
    pictures: tuple[Path, ...] = ()
    if screen:
        found_apart = bank.standing_apart(screening=True)
        if report is not None:
            pictures = write_suspicious(workspace, bank, sources, given, report, found_apart)
        if found_apart is not None:
            # The patches of all images would be in memory twice.
            bank = replace(bank, patch_features=())
        bank, screening = screened(bank, found_apart, sources, given, demands, learn_those)
    if report is not None:
        first = len(pictures) + 1
        pictures += write_suspicious(
            workspace, bank, sources, given, report, bank.suspicious, first=first
        )
    said = [] if screening is None else [screening.describe()]
    apart = [] if bank.suspicious is None else [bank.suspicious.describe(_REMEDY)]
    if strict and apart:
        raise SuspiciousImagesError(f"nothing was stored; {apart[0]}")
    earlier = [] if report is None else earlier_pictures(report, pictures)
    with watch.stage("database"):
        before = _present_bank(workspace, category)
        fewer = [] if before is None else _compared(before, bank)
        indexes = indexes_of(workspace, category)
        bank = replace(
            bank, remarks=(*found, *ungrouped, *said, *apart, *bank.remarks, *fewer, *earlier)
        )
        version = save(workspace, category, bank, screening)
        # Of all patches, only the bank's stay in memory.
        bank = replace(bank, patch_features=())
    if indexes:
        with watch.stage("index"):
            restored = restore_indexes(workspace, category, indexes, progress)
        bank = replace(bank, remarks=(*bank.remarks, *restored))
    timings = {**bank.timings_s, **watch.seconds, "total": watch.total()}
    return FitReport(category, version, bank, timings, pictures, screening)


def _present_bank(workspace: Workspace, category: str) -> BankContent | None:
    """Return the category's active bank without its patches, if there is one that can be read."""
    try:
        stored = workspace.database.banks.active(category, patches=False)
        threshold_rule_of(stored)
    except (UnknownCategoryError, NotFittedError, DamagedBankError):
        return None
    return stored.content


def _compared(before: BankContent, bank: LearnedBank) -> list[str]:
    """Return remarks on what a fit changes for the worse, or unasked."""
    count = int(np.count_nonzero(before.scores.counts))
    return [
        *fewer_images(count, bank.threshold),
        *replaced_limits(before, bank.settings.threshold_rule),
        *lost_likeness(before),
    ]


def _expected_bytes(settings: FitSettings, images: int, most: int) -> int:
    """Return about what the bank of images of at most `most` patches takes in the database."""
    extractor = settings.extractor
    shape = feature_shape(
        get_backbone(extractor.backbone), extractor.layers, extractor.preprocessing.side
    )
    return images * kept_bytes(most, shape.dimension) + stored_bytes(
        patches=coreset_size(max(1, images * most), settings.coreset_ratio),
        dimensions=shape.dimension,
        images=images,
        embedding_dimensions=shape.embedding_dimension,
        thumbnail_bytes=images * _THUMBNAIL_BYTES,
    )


def save(
    workspace: Workspace, category: str, bank: LearnedBank, screening: Screening | None = None
) -> int:
    """Store a learned bank and make it the category's active one; return its version."""
    return workspace.database.banks.save(
        category,
        bank.content,
        detail=None if screening is None else {"screened": screening.images()},
        features=bank.patch_features,
    )
