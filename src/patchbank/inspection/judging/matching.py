"""Whether this installation computes the features that a bank is made of."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields

from patchbank.errors import (
    ExtractorMismatchError,
    NotCalibratedError,
    ParameterError,
    UnknownBackboneError,
)
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.threshold_rule import ThresholdRule
from patchbank.store.bank_content import BankContent
from patchbank.store.stored_bank import StoredBank, damaged_bank
from patchbank.vision.backbones import get_backbone
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantised import QuantisedGraph


def matching_extractor(workspace: Workspace, stored: StoredBank) -> Extractor:
    """Return the extractor that made a bank; it raises what `matching_settings_of` does."""
    return workspace.extractor(*matching_settings_of(stored))


def matching_settings_of(stored: StoredBank) -> tuple[ExtractorSettings, QuantisedGraph | None]:
    """Return what the extractor of a stored bank is made of.

    Raises
    ------
    DamagedBankError
        If its extractor cannot be that of a bank.
    UnknownBackboneError, ExtractorMismatchError
        As `matching_settings` says.
    """
    name = f"category {stored.category!r}: bank version {stored.version}"
    with _damage_said(stored, "extractor"):
        return matching_settings(stored.content, name)


def matching_settings(
    stored: BankContent, name: str
) -> tuple[ExtractorSettings, QuantisedGraph | None]:
    """Return what the extractor of a bank is made of; `name` is what messages call the bank.

    Raises
    ------
    UnknownBackboneError
        If it was made with a network of the user's that is not on this machine.
    ExtractorMismatchError
        If this installation computes other features than those in the bank, or the bank's quantised
        graph is not the one that made them.
    """
    known = {field.name for field in fields(ExtractorSettings)}
    try:
        settings = ExtractorSettings.from_json(
            {key: value for key, value in stored.extractor.items() if key in known}
        )
    except UnknownBackboneError as error:
        backbone = stored.extractor["backbone"]
        raise UnknownBackboneError(
            f"{name} was made with the network {backbone}, which is not installed on this "
            f"machine; add the same file again with: patchbank backbone add {backbone} --onnx "
            f"FILE --outputs NAMES"
        ) from error
    content = stored.quantised_graph
    quantised = None if content is None else QuantisedGraph.from_bytes(content)
    graph_sha256 = None if quantised is None else quantised.sha256
    if stored.extractor.get("graph_sha256") != graph_sha256:
        raise ExtractorMismatchError(
            f"{name}: its quantised graph is {'missing' if quantised is None else 'damaged'}; "
            "fit the category again"
        )
    if settings.fingerprint(graph_sha256) != stored.extractor_fingerprint:
        weights = get_backbone(settings.backbone).weights_sha256
        difference = (
            "other weights"
            if stored.extractor.get("weights_sha256") != weights
            else "another version of the feature code"
        )
        raise ExtractorMismatchError(
            f"{name} was made with {difference} of {settings.backbone} than this installation has; "
            "fit the category again"
        )
    return settings, quantised


def settings_of(stored: StoredBank, extractor: ExtractorSettings) -> FitSettings:
    """Return what a stored bank was made with.

    Raises
    ------
    DamagedBankError
        If its settings cannot be those of a bank.
    ParameterError
        If it was made by a newer patchbank.
    """
    settings = stored.content.settings
    newer = sorted(settings.keys() - {field.name for field in fields(FitSettings)})
    if newer:
        raise ParameterError(
            f"bank {stored.version} of category {stored.category!r} was made by a newer patchbank: "
            f"it has the setting {newer[0]!r}; upgrade patchbank, or fit the category again"
        )
    with _damage_said(stored, "settings"):
        return FitSettings.from_json(stored.content.settings, extractor)


def threshold_rule_of(stored: StoredBank) -> ThresholdRule:
    """Return how a stored bank's thresholds follow from its scores.

    Raises
    ------
    DamagedBankError
        If its settings cannot be those of a bank.
    """
    with _damage_said(stored, "settings"):
        return ThresholdRule.of_bank(stored.content.settings)


@contextmanager
def _damage_said(stored: StoredBank, part: str) -> Iterator[None]:
    """Say of which bank a part is that has impossible values."""
    try:
        yield
    except ParameterError as error:
        reason = f"in its {part}, {error}"
        raise damaged_bank(stored.category, stored.key, reason) from error


def uncalibrated_remark(workspace: Workspace, category: str) -> list[str]:
    """Return a remark where the active bank of a category has no threshold to judge by."""
    content = workspace.database.banks.active(category, patches=False).content
    if content.scores.counts.any():
        return []
    return [
        f"this version has no threshold, so that no image can be judged; run: patchbank calibrate "
        f"{category} GOOD_IMAGES..."
    ]


def not_calibrated(category: str) -> NotCalibratedError:
    """Return the error that says that a bank cannot judge yet."""
    return NotCalibratedError(
        f"category {category!r}: its imported bank has no threshold yet; run: patchbank "
        f"calibrate {category} GOOD_IMAGES..."
    )
