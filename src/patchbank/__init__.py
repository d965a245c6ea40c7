"""Visual inspection that learns from good images only.

Examples
--------
>>> import patchbank
>>> bank = patchbank.open("leather").fit("leather/train/good")  # doctest: +SKIP
>>> bank.inspect("leather/test/cut/000.png").verdict  # doctest: +SKIP
'fail'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from patchbank.errors import PatchbankError

if TYPE_CHECKING:
    from patchbank.contrib.anomalib import ImportReport, import_anomalib
    from patchbank.inspection.bank import Bank, import_bank
    from patchbank.inspection.bank import open_bank as open  # noqa: A004 - read as patchbank.open
    from patchbank.inspection.calibrate import CalibrationReport
    from patchbank.inspection.fit import FitReport
    from patchbank.inspection.search_results import SearchResult
    from patchbank.inspection.transfer import TransferReport
    from patchbank.inspection.verdicts import Inspection, Refused, Similar
    from patchbank.memory.scoring import Region

__all__ = [
    "Bank",
    "CalibrationReport",
    "FitReport",
    "ImportReport",
    "Inspection",
    "PatchbankError",
    "Refused",
    "Region",
    "SearchResult",
    "Similar",
    "TransferReport",
    "import_anomalib",
    "import_bank",
    "open",
]

_HOMES = {
    "Bank": "patchbank.inspection.bank",
    "CalibrationReport": "patchbank.inspection.calibrate",
    "FitReport": "patchbank.inspection.fit",
    "ImportReport": "patchbank.contrib.anomalib",
    "Inspection": "patchbank.inspection.verdicts",
    "Refused": "patchbank.inspection.verdicts",
    "Region": "patchbank.memory.scoring",
    "SearchResult": "patchbank.inspection.search_results",
    "Similar": "patchbank.inspection.verdicts",
    "TransferReport": "patchbank.inspection.transfer",
    "import_anomalib": "patchbank.contrib.anomalib",
    "import_bank": "patchbank.inspection.bank",
}


def __getattr__(name: str) -> Any:
    # Names are imported when first used: the command line imports this package at every start, and
    # `patchbank --help` needs none of them.
    from importlib import import_module

    if name == "open":
        return import_module("patchbank.inspection.bank").open_bank
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
