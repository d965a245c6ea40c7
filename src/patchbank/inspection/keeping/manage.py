"""What has been learned: listed, shown, removed; and the embedded server's state."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from patchbank.errors import ParameterError
from patchbank.inspection.judging.index import indexes_of, restore_indexes
from patchbank.inspection.judging.judge import calibration_of, stored_likeness
from patchbank.inspection.judging.matching import (
    not_calibrated,
    threshold_rule_of,
    uncalibrated_remark,
)
from patchbank.inspection.living.history import history
from patchbank.inspection.workspace import Workspace
from patchbank.store.categories import Category
from patchbank.store.database import upgrade_database
from patchbank.store.embedded.server import EmbeddedServer
from patchbank.store.migrate import UpgradePlan
from patchbank.store.psql import database_url, psql_command


def list_categories(workspace: Workspace) -> list[dict[str, Any]]:
    """Return one document per category in JSON's types, by name."""
    return [_brief(category) for category in workspace.database.categories.list()]


def show_category(
    workspace: Workspace, category: str, *, check_patches: bool = False
) -> dict[str, Any]:
    """Return all there is to know of a category in JSON's types.

    Parameters
    ----------
    check_patches
        Whether to read all patches too, which takes seconds, to find damaged ones.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    """
    found = workspace.database.categories.get(category)
    document = _brief(found)
    if found.bank_version is not None:
        stored = workspace.database.banks.active(category, patches=check_patches)
        bank = stored.content
        limits: dict[str, float | None] = {
            "pass_below": None,
            "fail_above": None,
            "independent_references": None,
            "stated_false_alarm_rate": None,
        }
        text, review = str(not_calibrated(category)), None
        calibration = calibration_of(bank)
        if calibration is not None:
            rule = threshold_rule_of(stored)
            limits |= rule.thresholds(calibration).to_json()
            limits |= calibration.threshold(rule.false_alarm_rate).stated()
            text = rule.describe(calibration)
            review = rule.describe_review(calibration)
        radius, likeness = bank.covering_radius, stored_likeness(stored)
        document |= {
            "extractor": bank.extractor,
            "settings": bank.settings,
            "covering_radius": None if math.isnan(radius) else radius,
            # Whether the bank knows which image and position each of its patches came from.
            "provenance_known": workspace.database.patches.all_known(stored.key),
            **limits,
            "calibration": text,
            "review": review,
            "likeness": likeness
            and {"defects": likeness.defects, "labels": likeness.labels, "order": likeness.order},
            "indexes": [
                {
                    "name": item.index.name,
                    "on": item.index.on,
                    "metric": item.index.metric,
                    "ef_search": item.index.least_ef_search,
                    "recall_at_10": item.index.recall,
                    "size_megabytes": round(item.size_bytes / 1e6, 1),
                }
                for item in workspace.database.indexes.of_category(stored.key.category_id)
                if item.valid and item.index.generation == stored.key.generation
            ],
        }
    document["history"] = history(workspace, category)
    return document


def bank_facts(workspace: Workspace, category: str) -> list[tuple[str, str]]:
    """Return names and values of what a person asks first of a category's bank.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category, or it has no bank.
    """
    stored = workspace.database.banks.active(category, patches=False)
    found = workspace.database.categories.get(category)
    bank, calibration = stored.content, calibration_of(stored.content)
    limits = [("Calibration", str(not_calibrated(category)))]
    if calibration is not None:
        rule = threshold_rule_of(stored)
        limits = [
            ("Calibration", rule.describe(calibration)),
            ("Review", rule.describe_review(calibration)),
        ]
    return [
        ("Version", str(stored.version)),
        ("Images", f"{found.image_count or 0:,}"),
        ("Patches", f"{found.patch_count or 0:,}"),
        ("Backbone", str(bank.extractor["backbone"])),
        *limits,
    ]


@dataclass(frozen=True)
class Activation:
    """What an activation did: `bank_version` is active now and equals `same_as`."""

    category: str
    bank_version: int
    same_as: int
    version_before: int
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return asdict(self) | {"remarks": list(self.remarks)}


def activate_version(
    workspace: Workspace, category: str, version: int, *, expected_version: int | None = None
) -> Activation:
    """Make an earlier version of a category's bank the active one, as its next version.

    Running inspectors judge by it from their next image on.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    ParameterError
        If that version is the active one.
    BankGoneError
        If there is no such version, or it is not kept any more.
    BankChangedError, BankReplacedError
        If another version than the expected one is active, or becomes active meanwhile.
    """
    workspace.database.check_can_learn()
    banks, indexes = workspace.database.banks, indexes_of(workspace, category)
    before = banks.active_key(category)
    before.check_version(category, expected_version)
    key = None if expected_version is None else before
    number = banks.activate(category, version, key=key)
    remarks = [
        *restore_indexes(workspace, category, indexes),
        *uncalibrated_remark(workspace, category),
    ]
    return Activation(category, number, version, before.version, tuple(remarks))


def remove_category(workspace: Workspace, category: str) -> dict[str, int]:
    """Remove a category and everything that belongs to it; return how much that was.

    Raises
    ------
    UnknownCategoryError
        If there is no category of that name.
    BankInMakingError
        If a job is making a bank of it.
    """
    return asdict(workspace.database.categories.remove(category))


def database_status(workspace: Workspace) -> dict[str, Any]:
    """Return the embedded server's state in JSON's types; never starts it.

    Raises
    ------
    ParameterError
        If the database is on your own server.
    """
    status = _embedded(workspace).status()
    return {
        "running": status.running,
        "pid": status.pid,
        "keeper_pid": status.keeper_pid,
        "folder": str(status.folder),
        "size_megabytes": round(status.size_bytes / 1e6, 1),
        "idle_minutes": workspace.settings.database_idle_minutes,
    }


def stop_database(workspace: Workspace) -> bool:
    """Stop the embedded server; return whether it was running.

    Raises
    ------
    ParameterError
        If the database is on your own server.
    """
    return _embedded(workspace).stop()


def upgrade(
    workspace: Workspace, confirm: Callable[[UpgradePlan], bool]
) -> tuple[UpgradePlan, bool]:
    """Upgrade the database to this program's schema if `confirm` agrees; see `upgrade_database`."""
    return upgrade_database(
        workspace.database_url,
        workspace.home,
        confirm,
        idle_minutes=workspace.settings.database_idle_minutes,
        limits=workspace.database_limits,
    )


def psql(workspace: Workspace) -> tuple[list[str], dict[str, str]]:
    """Return the command and the environment of a psql at the database; see `psql_command`."""
    return psql_command(
        workspace.database_url,
        workspace.home,
        idle_minutes=workspace.settings.database_idle_minutes,
        limits=workspace.database_limits,
    )


def url_for_clients(workspace: Workspace) -> str:
    """Return the database's URL for other programs, without a password; see `database_url`."""
    return database_url(
        workspace.database_url,
        workspace.home,
        idle_minutes=workspace.settings.database_idle_minutes,
        limits=workspace.database_limits,
    )


def _embedded(workspace: Workspace) -> EmbeddedServer:
    if workspace.database_url is not None:
        raise ParameterError(
            "PATCHBANK_DATABASE_URL points to your own server, which patchbank does not start "
            "or stop; unset it to use the embedded one"
        )
    return EmbeddedServer(workspace.home, idle_minutes=workspace.settings.database_idle_minutes)


def _brief(category: Category) -> dict[str, Any]:
    return {
        "category": category.name,
        "bank_version": category.bank_version,
        "images": category.image_count,
        "bank_size": category.patch_count,
        "inspections": category.inspection_count,
        "inspections_estimated": category.inspections_estimated,
        "learned_at": None
        if category.fitted_at is None
        else category.fitted_at.isoformat(timespec="seconds"),
    }
