"""Undo changes of a bank, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from patchbank.errors import BankReplacedError, ParameterError
from patchbank.inspection.judging.index import indexes_of, restore_indexes
from patchbank.inspection.judging.matching import uncalibrated_remark
from patchbank.inspection.living.bank import until_saved
from patchbank.inspection.workspace import Workspace
from patchbank.store.stored_bank import BankVersion

CAUSE = "undo"


@dataclass(frozen=True)
class UndoReport:
    """What an undo did.

    Attributes
    ----------
    bank_version
        The version that is active now and equals `same_as`.
    version_before
        The version that was active before.
    undone
        The cause of the change that was undone; None where a version was named.
    """

    category: str
    bank_version: int
    same_as: int
    version_before: int
    undone: str | None = None
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {**vars(self), "remarks": list(self.remarks)}


def undo(
    workspace: Workspace,
    category: str,
    version: int | None = None,
    *,
    expected_version: int | None = None,
) -> UndoReport:
    """Undo the last change of a category's bank, or all changes since a version.

    The state before becomes the next version. Undoing again goes back one change more. With its
    number, any version that is still kept can be restored, also one that was undone.

    Parameters
    ----------
    expected_version
        The version whose last change is to be undone; the active one by default.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    ParameterError
        If there is nothing to undo, or the version is the active one.
    BankGoneError
        If the version does not exist, or is not kept any more.
    BankChangedError
        If another version than the expected one is active.
    BankReplacedError
        If another process changed the bank meanwhile, where no version is named or expected.
    """
    workspace.database.check_can_learn()
    banks, indexes = workspace.database.banks, indexes_of(workspace, category)

    def change() -> UndoReport:
        key = banks.active_key(category)
        key.check_version(category, expected_version)
        wanted, undone = version, None
        if wanted is None:
            versions = {item.version: item for item in banks.history(category)}
            last = _before_undo(versions, key.version)
            if last.version - 1 not in versions:
                raise ParameterError(
                    f"category {category!r}: nothing to undo; version {last.version} is the first"
                )
            wanted, undone = _before_undo(versions, last.version - 1).version, last.cause
        number = banks.activate(category, wanted, cause=CAUSE, key=key)
        return UndoReport(category, number, wanted, key.version, undone)

    # What another process changed meanwhile is not the change that was to be undone.
    report = change() if version is expected_version is None else until_saved(change)
    remarks = [
        *restore_indexes(workspace, category, indexes),
        *uncalibrated_remark(workspace, category),
    ]
    return UndoReport(**{**vars(report), "remarks": tuple(remarks)})


def undo_addition(workspace: Workspace, category: str, version: int, name: str) -> bool:
    """Undo the addition of an image where nothing else changed the bank since.

    Parameters
    ----------
    version
        The version that the addition made, or the choice of patches that followed it.
    name
        Of the reference that it added, alone.

    Returns
    -------
    Whether it was undone; if not, the bank is as it was.
    """
    banks = workspace.database.banks
    key = banks.active_key(category)
    versions = {item.version: item for item in banks.history(category)}
    made = versions.get(version)
    while made is not None and made.cause == "reduce":
        made = versions.get(made.version - 1)
    if (
        key.version != version
        or made is None
        or made.cause != "add"
        or list(made.came) != [name]
        or made.version - 1 not in versions
    ):
        return False
    indexes = indexes_of(workspace, category)
    try:
        banks.activate(category, made.version - 1, cause=CAUSE, key=key)
    except BankReplacedError:
        return False
    restore_indexes(workspace, category, indexes)
    return True


def _before_undo(versions: Mapping[int, BankVersion], number: int) -> BankVersion:
    """Return the version that an undo restored as this one, or the version itself."""
    version = versions[number]
    while version.cause == CAUSE and version.same_as is not None:
        version = versions[version.same_as]
    return version
