"""All errors that patchbank raises for a user's mistake or a machine's limit.

A class's docstring is its default message. A message is one line that names the input, the problem
and the remedy, because the command line prints nothing else.
"""

from __future__ import annotations

import inspect


class PatchbankError(Exception):
    """Something went wrong in patchbank."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or (inspect.getdoc(type(self)) or "").removesuffix("."))


class ParameterError(PatchbankError):
    """A parameter is out of range."""


class ImageError(PatchbankError):
    """An image cannot be used."""


class NoImagesError(PatchbankError):
    """No images were found; give a folder of images, an image or a glob."""


class IndistinctImagesError(PatchbankError):
    """The images cannot be told apart; give photographs of different good parts."""


class TooManyRefusedError(PatchbankError):
    """Too many of the images cannot be used; repair them or leave them out."""


class DatasetError(PatchbankError):
    """A data set's folder does not have the expected layout."""


class ReportError(PatchbankError):
    """A report or a picture cannot be written."""


class UnknownBackboneError(PatchbankError):
    """The backbone is unknown; `patchbank backbone list` lists the known ones."""


class UnknownLayerError(PatchbankError):
    """The backbone has no such layer."""


class WeightsError(PatchbankError):
    """A weights file is missing, damaged or not the expected one."""


class QuantisationError(PatchbankError):
    """The network could not be quantised; fit with another precision."""


class MissingWeightsError(PatchbankError):
    """The backbone's weights are not on this machine; see `patchbank backbone list`."""


class DownloadError(PatchbankError):
    """A file could not be downloaded."""


class ExtractorMismatchError(PatchbankError):
    """The bank was made by another extractor; fit the category again."""


class UnknownCategoryError(PatchbankError):
    """The category does not exist; `patchbank categories` lists the existing ones."""


class NotFittedError(PatchbankError):
    """The category has no active bank; run `patchbank fit` first."""


class NotCalibratedError(PatchbankError):
    """The category's bank has no calibration; run `patchbank calibrate` on good parts."""


class CategoryExistsError(PatchbankError):
    """The category already has a bank; give another name."""


class BankFileError(PatchbankError):
    """A bank file cannot be read, written or used."""


class DatabaseError(PatchbankError):
    """The database could not complete the operation."""


class DatabaseUnreachableError(DatabaseError):
    """The database cannot be reached; check PATCHBANK_DATABASE_URL."""


class DatabaseTooNewError(DatabaseError):
    """The database was made by a newer patchbank; upgrade this one."""


class DatabaseUpgradeNeededError(DatabaseError):
    """The database was made by an older patchbank; run `patchbank database upgrade`."""


class DatabaseReadOnlyError(DatabaseError):
    """The database is read-only; give the URL of the primary server."""


class PgvectorMissingError(DatabaseError):
    """The database has no pgvector extension of version 0.8 or newer; install it on the server."""


class EmbeddedServerError(DatabaseError):
    """The embedded PostgreSQL could not be started."""


class DamagedBankError(DatabaseError):
    """What is stored of a bank is incomplete, or holds values that it cannot have."""


class BankGoneError(DatabaseError):
    """The bank was removed or replaced while it was in use; try again."""


class BankReplacedError(BankGoneError):
    """Another process changed the bank first; nothing was changed, try again."""


class BankChangedError(ParameterError):
    """The bank was changed meanwhile; look at the version in use, then decide again."""


class UnsafePathError(PatchbankError):
    """A path goes through a link that another account may have made."""


class SuspiciousImagesError(PatchbankError):
    """Some references differ from all the others; check them, or exclude them."""


class DiskFullError(PatchbankError):
    """There is no space left on the disk; nothing was changed."""


class OutputError(PatchbankError):
    """Standard output cannot be written to."""


class BackupError(PatchbankError):
    """A backup cannot be written or restored."""


class SinkError(PatchbankError):
    """Nothing can be sent to this sink at the moment; it is tried again."""


class ServiceError(PatchbankError):
    """The service refused a request."""

    def __init__(
        self, message: str | None = None, *, status: int | None = None, problem: str = ""
    ) -> None:
        super().__init__(message)
        # The HTTP status, None without an answer; and the `type` of the problem document.
        self.status, self.problem = status, problem


class ServiceAwayError(ServiceError):
    """The service cannot be reached; check its URL, and whether it runs."""


class MissingExtraError(PatchbankError):
    """An optional part of patchbank is not installed."""


class ForkedError(PatchbankError):
    """An object was opened before this process was forked; open it in this process."""


class AccessError(PatchbankError):
    """A key is needed; `patchbank keys create` makes one."""


class ForbiddenError(AccessError):
    """That is not allowed; the key's role, or where the request came from, does not permit it."""


class NotFoundError(ParameterError):
    """There is nothing of that number or name."""


class DoubtError(ParameterError):
    """Something speaks against the answer; look again, and confirm it."""


class AnsweredError(ParameterError):
    """Somebody answered already."""


class BankInMakingError(PatchbankError):
    """A job is making a bank of the category; cancel it, or wait until it has ended."""


class LastAdminError(ParameterError):
    """No admin's key would be valid, and others would; make another admin's key first."""


class TooLargeError(PatchbankError):
    """The request is too large."""


class TooSlowError(PatchbankError):
    """The request took too long to arrive."""


class BusyError(PatchbankError):
    """The service is busy; try again in a moment."""


class JobEndedError(PatchbankError):
    """The job has ended; there is nothing to cancel."""


class JudgedElsewhereError(DatabaseError):
    """Another process has judged this file; watch a folder with one process."""


class TrialError(PatchbankError):
    """The trial inspection of generated images failed; reinstall patchbank."""


class PatchbankWarning(RuntimeWarning):
    """Something you should know although nothing failed; commands print it as a remark."""


class CacheWarning(PatchbankWarning):
    """Something cannot be cached, so every process computes it again."""


class SlowKernelsWarning(PatchbankWarning):
    """Numeric kernels cannot be compiled, so NumPy is used, which is slower."""


class DatabaseUpgradedWarning(PatchbankWarning):
    """The embedded database was upgraded; a copy of the old one was kept."""
