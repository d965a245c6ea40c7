"""Add good images to a bank: only what it does not represent yet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from patchbank.datasets.collect import collect
from patchbank.errors import NoImagesError, ParameterError
from patchbank.inspection.judging.heatmaps import check_folder, heatmap_path, write_heatmap
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.living.addition import AddedImage, Addition, HeldImage
from patchbank.inspection.living.bank import LivingBank, read_bank, until_saved
from patchbank.inspection.living.effect import Effect, effect_of
from patchbank.inspection.living.quarantine import held_sources
from patchbank.inspection.living.recalibrate import promise_remarks, unchecked_remark
from patchbank.inspection.living.reduce import budget_of, reduce
from patchbank.inspection.settings import DEFAULT_EFFECT, THUMBNAIL_SIDE
from patchbank.inspection.sources import checked_names
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Thresholds
from patchbank.printable import counted
from patchbank.progress import Progress, silent
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Extraction, Refusal


@dataclass(frozen=True, repr=False)
class AddReport:
    """What an addition did.

    Attributes
    ----------
    bank_version
        The version with the images; None if the bank was not changed.
    held
        Images that were not added until confirmed with `force`.
    effect
        Which recorded inspections get another verdict, where that was asked for.
    pictures
        Heatmaps of the images held and of the inspections that change, where asked for.
    chosen_anew
        How many patches are chosen anew afterwards, where the bank exceeds its budget; `effect`
        is that of the addition before.
    dry_run
        Whether nothing was changed and no image put into quarantine: the report says what would be.
    renewed_scores, unchecked_scores
        How many references got other calibration scores, and how many could not be checked.
    """

    category: str
    version_before: int
    bank_version: int | None
    added: tuple[AddedImage, ...]
    held: tuple[HeldImage, ...]
    refused: tuple[Refused, ...]
    images: int
    bank_size: int
    thresholds_before: Thresholds
    thresholds: Thresholds
    renewed_scores: int
    unchecked_scores: int
    seconds: float
    effect: Effect | None = None
    pictures: tuple[Path, ...] = ()
    chosen_anew: int | None = None
    dry_run: bool = False
    remarks: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return (
            f"<AddReport of {self.category!r}, version {self.bank_version}: "
            f"{counted(len(self.added), 'image')} added, {len(self.held)} held>"
        )

    @property
    def patches(self) -> int:
        """How many patches of the images were added."""
        return sum(image.patches for image in self.added)

    def foreseen(self) -> list[str]:
        """Return what the addition would do, a line each, to be read before it is made."""
        before, after = self.thresholds_before.describe(), self.thresholds.describe()
        patches = counted(self.patches, "patch", "patches")
        lines = [
            f"would add {counted(len(self.added), 'image')} with {patches}",
            f"{before} as before" if before == after else f"then {after}; now {before}",
        ]
        if self.effect is not None:
            lines.append(self.effect.describe())
        if self.chosen_anew is not None:
            lines.append(self.beyond_budget())
        return lines

    def beyond_budget(self) -> str:
        """Return what follows where the bank would exceed its budget, to be read before it is."""
        return (
            f"with {self.bank_size:,} patches the bank would exceed its budget: "
            f"{self.chosen_anew:,} would be chosen anew, which changes limits and verdicts again"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            **vars(self),
            "added": [image.to_json() for image in self.added],
            "held": [image.to_json() for image in self.held],
            "refused": [refusal.to_json() for refusal in self.refused],
            "thresholds_before": self.thresholds_before.to_json(),
            "thresholds": self.thresholds.to_json(),
            "effect": None if self.effect is None else self.effect.to_json(),
            "pictures": [str(path) for path in self.pictures],
            "seconds": round(self.seconds, 3),
            "remarks": list(self.remarks),
        }


Confirm = Callable[[AddReport], bool]


def _always(_: AddReport) -> bool:
    return True


def add_paths(
    workspace: Workspace,
    category: str,
    paths: Sequence[str | Path],
    *,
    held: bool = False,
    force: bool = False,
    dry_run: bool = False,
    effect: int = DEFAULT_EFFECT,
    budget: int | None = None,
    group_by: str | None = None,
    report: Path | None = None,
    confirm: Confirm = _always,
    progress: Progress = silent,
) -> AddReport:
    """Add the images found at paths, each a folder, an image or a glob; see `add`.

    With `held` instead of paths, those in quarantine.
    """
    remarks: Sequence[str] = ()
    sources: Sequence[ImageSource]
    names = None
    if held:
        if paths or not force:
            raise ParameterError(
                f"add {category}: --held adds the images in quarantine; give no path, and --force "
                "to confirm that they show good parts"
            )
        names, sources = held_sources(workspace, category)
    elif not paths:
        raise NoImagesError
    else:
        # Who insists may also take them from a folder named after a defect.
        found = collect(paths, good_only=not force)
        sources, remarks = found.images, found.remarks
    return add(
        workspace,
        category,
        sources,
        names=names,
        found=remarks,
        force=force,
        dry_run=dry_run,
        effect=effect,
        budget=budget,
        group_by=group_by,
        report=report,
        confirm=confirm,
        progress=progress,
    )


def add_held(
    workspace: Workspace,
    category: str,
    pixels_sha256: Sequence[str],
    *,
    effect: int = 0,
    expected_version: int | None = None,
    progress: Progress = silent,
) -> AddReport:
    """Add some images in quarantine, which a person has confirmed, by the SHA-256 of their pixels.

    Raises
    ------
    NotFoundError
        If one is not held.
    PatchbankError
        As `add`.
    """
    # Another person may have decided about them.
    workspace.database.banks.active_key(category).check_version(category, expected_version)
    names, sources = held_sources(workspace, category, pixels_sha256)
    return add(
        workspace,
        category,
        sources,
        names=names,
        force=True,
        effect=effect,
        expected_version=expected_version,
        progress=progress,
    )


def add(
    workspace: Workspace,
    category: str,
    sources: Sequence[ImageSource],
    *,
    names: Sequence[str] | None = None,
    found: Sequence[str] = (),
    force: bool = False,
    dry_run: bool = False,
    effect: int = 0,
    budget: int | None = None,
    group_by: str | None = None,
    report: Path | None = None,
    expected_version: int | None = None,
    confirm: Confirm = _always,
    progress: Progress = silent,
) -> AddReport:
    """Add good images to the active bank of a category, as its next version.

    Of each image, those patches are added that the bank does not represent: farther from it than
    its covering radius, the farthest first. The image becomes a reference, and the calibration
    scores are renewed where the new patches reach. Running inspectors use the new version from
    their next image on. All images are added in one transaction, or none.

    Parameters
    ----------
    found
        Remarks on how the images were found, for the report.
    force
        Whether images are added too that fail by the bank. Otherwise they are held in quarantine.
    dry_run
        Whether nothing is changed, and only the report made.
    effect
        Of how many of the last recorded inspections the verdicts before and after are compared.
    budget
        How many patches the bank may have before they are chosen anew, as another version; by
        default that of the settings (`PATCHBANK_BANK_BUDGET`).
    group_by
        Which images depend on one another, as in `fit`: added images join the groups of references.
        By default the rule of the fit.
    report
        Folder for heatmaps of the images held and of inspections whose verdict changes.
    expected_version
        The version to be changed; the active one by default.
    confirm
        Called with the report before the bank is changed; returns whether to go on.

    Raises
    ------
    UnknownCategoryError, NotFittedError, NotCalibratedError
        If there is no such category, or it has no bank, or that has no calibration.
    NoImagesError
        If none of the images can be used.
    BankChangedError
        If another version than the expected one is active.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    DiskFullError, DatabaseError, ReportError
        If the version or a picture cannot be written.
    """
    watch = Stopwatch()
    if not sources:
        raise NoImagesError
    names = checked_names(sources, names)
    if effect < 0:
        raise ParameterError(f"effect {effect}: must be 0 or more recorded inspections")
    if report is not None:
        check_folder(report)
    if budget is not None and budget < 1:
        raise ParameterError(f"budget {budget}: must be at least 1 patch")
    workspace.database.check_can_learn()
    results: dict[str, list[Extraction | Refusal]] = {}
    confirmed = False

    def change() -> AddReport:
        nonlocal confirmed
        bank = read_bank(workspace, category, expected_version)
        fingerprint = bank.extractor.fingerprint
        if fingerprint not in results:
            # Once, unless a fit replaced the bank's extractor meanwhile.
            stream = bank.extractor.extract_many(
                sources,
                names=names,
                limits=workspace.limits,
                thumbnail_side=THUMBNAIL_SIDE,
                progress=progress,
            )
            with closing(stream):
                results[fingerprint] = list(stream)
        addition = Addition(
            workspace,
            bank,
            sources,
            names,
            results[fingerprint],
            force=force,
            group_by=group_by,
        )
        outcome = replace(_outcome(bank, addition), pictures=_pictures(addition, report))
        if not addition.added:
            if not dry_run:
                addition.hold()
            return replace(outcome, dry_run=dry_run)
        prepared = addition.prepare(progress)
        most, kept = budget_of(workspace, bank.stored, budget, prepared.came.images)
        outcome = replace(
            outcome,
            added=tuple(addition.added),
            images=prepared.images,
            bank_size=prepared.bank_size,
            thresholds=prepared.thresholds,
            renewed_scores=prepared.recalibration.renewed,
            unchecked_scores=prepared.recalibration.unknown,
            chosen_anew=kept if prepared.bank_size > most else None,
            remarks=(
                *addition.remarks,
                *unchecked_remark(prepared.recalibration),
                *promise_remarks(bank, calibration_of(prepared.came)),
            ),
        )
        if effect:
            seen = effect_of(
                workspace,
                category,
                bank.extractor,
                bank.judge,
                prepared.judge(bank.judge),
                latest=effect,
                pictures=report,
                progress=progress,
            )
            drawn = tuple(item.picture for item in seen.changes if item.picture is not None)
            outcome = replace(outcome, effect=seen, pictures=(*outcome.pictures, *drawn))
        confirmed = confirmed or (not dry_run and confirm(outcome))
        if not confirmed:
            return replace(outcome, dry_run=True)
        version = addition.save(prepared)
        addition.hold()
        return replace(outcome, bank_version=version)

    done = until_saved(change)
    reduction = None
    if done.bank_version is not None:
        reduction = reduce(workspace, category, budget, progress=progress)
    if reduction is not None:
        alone = "" if done.effect is None else "; the effect shown is that of the addition before"
        done = replace(
            done,
            bank_version=reduction.bank_version,
            bank_size=reduction.patches,
            thresholds=reduction.thresholds,
            chosen_anew=reduction.patches,
            remarks=(*done.remarks, f"{reduction.describe()}{alone}"),
        )
    return replace(done, seconds=watch.total(), remarks=(*found, *done.remarks))


def _outcome(bank: LivingBank, addition: Addition) -> AddReport:
    """Return the report of an addition that changes nothing."""
    return AddReport(
        category=bank.stored.category,
        version_before=bank.stored.version,
        bank_version=None,
        added=(),
        held=tuple(addition.held),
        refused=addition.references.refused,
        images=len(bank.content.images),
        bank_size=len(bank.content.features),
        thresholds_before=bank.judge.thresholds,
        thresholds=bank.judge.thresholds,
        renewed_scores=0,
        unchecked_scores=0,
        seconds=0.0,
    )


def _pictures(addition: Addition, folder: Path | None) -> tuple[Path, ...]:
    """Write heatmaps of the images that are held."""
    if folder is None:
        return ()
    paths = []
    for name, extraction, judgement in addition.judged:
        path = heatmap_path(folder, name, extraction.image.sha256)
        write_heatmap(path, extraction.image.pixels, judgement, name)
        paths.append(path)
    return tuple(paths)
