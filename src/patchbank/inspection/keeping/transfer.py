"""Take a category's bank from one database to another, by a file."""

from __future__ import annotations

import contextlib
import hashlib
import logging
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from patchbank.errors import (
    BankFileError,
    ExtractorMismatchError,
    ParameterError,
    UnknownBackboneError,
    UnknownLayerError,
)
from patchbank.files import new_folder, read_regular, writing
from patchbank.inspection.judging.index import indexes_of, restore_indexes
from patchbank.inspection.judging.judge import calibration_of
from patchbank.inspection.judging.matching import matching_settings
from patchbank.inspection.keeping.bank_checks import check_positions
from patchbank.inspection.keeping.bank_file import (
    BankFile,
    check_target,
    read_bank_file,
    write_bank_file,
)
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.learning.memory_limit import trial_limit
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.sources import file_at
from patchbank.inspection.workspace import Workspace
from patchbank.progress import Progress, silent
from patchbank.store.bank_content import BankContent, ReferenceImage
from patchbank.store.categories import checked_category_name
from patchbank.vision.trial import try_graph

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TransferReport:
    """What was exported or imported; `remarks` is what you should know of an import."""

    category: str
    bank_version: int
    file: str
    file_bytes: int
    images: int
    image_files: int
    bank_size: int
    remarks: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        document = {field.name: getattr(self, field.name) for field in fields(self)}
        return document | {"remarks": list(self.remarks)}


def export_bank(
    workspace: Workspace,
    category: str,
    path: Path,
    *,
    with_images: bool = False,
    force: bool = False,
    progress: Progress = silent,
) -> TransferReport:
    """Write a category's active bank to a file, whole or not at all.

    Parameters
    ----------
    with_images
        Whether the files of the reference images go along; thumbnails always do.
    force
        Whether a file that is there may be replaced.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    BankFileError
        If the file is there, its folder is not, or an image's file is not, or has changed.
    """
    check_target(path, force=force)
    stored = workspace.database.banks.active(category, thumbnails=True)
    images = stored.content.images
    files = {}
    if with_images:
        for index, image in enumerate(images):
            files[index] = _file_of(image, workspace.limits.max_bytes)
            progress("images", index + 1, len(images))
    content = BankFile(category, stored.version, stored.content, files)
    size = write_bank_file(path, content, force=force)
    _log.info("category %r: wrote bank version %d to %s", category, stored.version, path)
    return _report(category, stored.version, path, size, content)


def import_bank_file(
    workspace: Workspace,
    path: Path,
    *,
    category: str | None = None,
    replace_bank: bool = False,
    images: Path | None = None,
) -> TransferReport:
    """Make the bank of a file that `export_bank` wrote the bank of a category.

    Parameters
    ----------
    category
        What it is called here; by default as where it was exported.
    replace_bank
        Whether a category that has a bank gets this one as its next version.
    images
        A new folder for the images' files, which must be in the file.

    Raises
    ------
    BankFileError
        If the file is not a bank's file, is damaged, or was written by a newer patchbank.
    WeightsError
        If it holds an int8 graph that cannot be run in the limits of a trial.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    CategoryExistsError
        If the category has a bank and it is not to be replaced.
    """
    if category is not None:
        category = checked_category_name(category)
    content = read_bank_file(path, workspace.largest_bank_file, with_images=images is not None)
    category = content.category if category is None else category
    bank = content.bank
    try:
        made_by, graph = matching_settings(bank, f"{path}: its bank")
        if graph is not None:
            try_graph(f"{path}: its int8 graph", made_by, graph, memory=trial_limit())
        extractor = workspace.extractor(made_by, graph)
        check_positions(bank, made_by)
        settings = FitSettings.from_json(bank.settings, extractor.settings)
        threshold = None
        calibration = calibration_of(bank)
        if calibration is not None:
            threshold = calibration.threshold(settings.false_alarm_rate).value
    except (UnknownBackboneError, UnknownLayerError, ParameterError) as error:
        raise ExtractorMismatchError(f"{path}: cannot be used here: {error}") from error
    except TypeError as error:
        raise BankFileError(
            f"{path}: was written by a newer patchbank ({error}); upgrade patchbank"
        ) from error
    except (ValueError, ArithmeticError) as error:
        raise BankFileError(f"{path}: is damaged ({error}); export again") from error
    expected = (extractor.dimension, extractor.embedding_dimension)
    if (bank.features.shape[1], bank.embeddings.shape[1]) != expected:
        raise BankFileError(f"{path}: is damaged (its features are not its extractor's)")
    reason = why_useless(bank, threshold)
    if reason is not None:
        raise BankFileError(f"{path}: its bank cannot judge: {reason}; fit the category again")
    indexes = indexes_of(workspace, category)
    with _unpacked(bank, content.image_files, images) as unpacked:
        version = workspace.database.banks.save(
            category, unpacked, cause="import", only_new=not replace_bank
        )
    report = _report(category, version, path, path.stat().st_size, content)
    return replace(report, remarks=tuple(restore_indexes(workspace, category, indexes)))


def _report(
    category: str, version: int, path: Path, size: int, content: BankFile
) -> TransferReport:
    return TransferReport(
        category=category,
        bank_version=version,
        file=str(path),
        file_bytes=size,
        images=len(content.bank.images),
        image_files=len(content.image_files),
        bank_size=len(content.bank.features),
    )


def _file_of(image: ReferenceImage, limit: int) -> bytes:
    """Return the file of a reference image as it was when the bank learned it."""
    remedy = "restore it, or export without --with-images"
    if image.origin is None:
        raise BankFileError(f"{image.name}: was not read from a file; export without --with-images")
    try:
        content = read_regular(file_at(image.origin), limit)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BankFileError(f"{image.origin}: {reason}; {remedy}") from error
    if hashlib.sha256(content).hexdigest() != image.sha256:
        raise BankFileError(f"{image.origin}: has changed since the fit; {remedy}")
    return content


@contextlib.contextmanager
def _unpacked(
    bank: BankContent, files: Mapping[int, bytes], folder: Path | None
) -> Iterator[BankContent]:
    """Lend the bank with its images in `folder`, which is gone again if what follows fails."""
    if folder is None:
        yield bank
        return
    if folder.exists():
        raise ParameterError(f"{folder}: already exists; give a new folder for the images")
    images = list(bank.images)
    remedy = "give another folder"
    with writing("the images", folder, ParameterError, remedy), new_folder(folder) as draft:
        for index, content in files.items():
            # Never the name that the file gives: it could lead anywhere.
            suffix = Path(images[index].name).suffix
            name = f"{index:06}{suffix if suffix[1:].isalnum() and len(suffix) <= 5 else ''}"
            (draft / name).write_bytes(content)
            images[index] = replace(images[index], origin=str((folder / name).absolute()))
    try:
        yield replace(bank, images=images)
    except BaseException:  # an interrupt too
        shutil.rmtree(folder)
        raise
