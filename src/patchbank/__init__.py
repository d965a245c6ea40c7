"""Visual inspection that learns from images of good parts only.

Examples
--------
>>> import patchbank
>>> bank = patchbank.open("leather").fit("leather/train/good")  # doctest: +SKIP
>>> bank.inspect("leather/test/cut/000.png").verdict  # doctest: +SKIP
'fail'
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from patchbank.errors import PatchbankError

if TYPE_CHECKING:
    from patchbank.api import Bank, import_bank
    from patchbank.api import open_bank as open  # noqa: A004 - read as patchbank.open
    from patchbank.contrib.anomalib import ImportReport, import_anomalib
    from patchbank.datasets.study import StudyImage
    from patchbank.inspection.judging.search_results import SearchResult
    from patchbank.inspection.keeping.recorded import RecordedInspection
    from patchbank.inspection.keeping.transfer import TransferReport
    from patchbank.inspection.learning.calibrate import CalibrationReport
    from patchbank.inspection.learning.fit import FitReport
    from patchbank.inspection.matches import Similar
    from patchbank.inspection.measuring.check_report import CheckReport
    from patchbank.inspection.measuring.costs import Costs
    from patchbank.inspection.measuring.evaluation_report import EvaluationReport
    from patchbank.inspection.measuring.evaluation_report import evaluate_data_set as evaluate
    from patchbank.inspection.measuring.figures import Evaluation
    from patchbank.inspection.measuring.sensitivity_report import SensitivityReport
    from patchbank.inspection.measuring.threshold_report import ThresholdReport
    from patchbank.inspection.verdicts import Inspection, Refused
    from patchbank.memory.calibration import Thresholds
    from patchbank.memory.maps import Region

    __version__: str

__all__ = [
    "Bank",
    "CalibrationReport",
    "CheckReport",
    "Costs",
    "Evaluation",
    "EvaluationReport",
    "FitReport",
    "ImportReport",
    "Inspection",
    "PatchbankError",
    "RecordedInspection",
    "Refused",
    "Region",
    "SearchResult",
    "SensitivityReport",
    "Similar",
    "StudyImage",
    "ThresholdReport",
    "Thresholds",
    "TransferReport",
    "evaluate",
    "import_anomalib",
    "import_bank",
    "open",
]

# If the calling program configures no handler, Python would log warnings to standard error.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_MODULES = {
    "Bank": "patchbank.api",
    "CalibrationReport": "patchbank.inspection.learning.calibrate",
    "CheckReport": "patchbank.inspection.measuring.check_report",
    "Costs": "patchbank.inspection.measuring.costs",
    "Evaluation": "patchbank.inspection.measuring.figures",
    "EvaluationReport": "patchbank.inspection.measuring.evaluation_report",
    "FitReport": "patchbank.inspection.learning.fit",
    "ImportReport": "patchbank.contrib.anomalib",
    "Inspection": "patchbank.inspection.verdicts",
    "RecordedInspection": "patchbank.inspection.keeping.recorded",
    "Refused": "patchbank.inspection.verdicts",
    "Region": "patchbank.memory.maps",
    "SearchResult": "patchbank.inspection.judging.search_results",
    "SensitivityReport": "patchbank.inspection.measuring.sensitivity_report",
    "Similar": "patchbank.inspection.matches",
    "StudyImage": "patchbank.datasets.study",
    "ThresholdReport": "patchbank.inspection.measuring.threshold_report",
    "Thresholds": "patchbank.memory.calibration",
    "TransferReport": "patchbank.inspection.keeping.transfer",
    "import_anomalib": "patchbank.contrib.anomalib",
    "import_bank": "patchbank.api",
}
_RENAMED = {
    "evaluate": ("patchbank.inspection.measuring.evaluation_report", "evaluate_data_set"),
    "open": ("patchbank.api", "open_bank"),
}


def __getattr__(name: str) -> Any:
    # Import on first use: the command line imports this package at every start, and
    # `patchbank --help` needs none of these names.
    from importlib import import_module, metadata

    if name == "__version__":
        return metadata.version("patchbank")
    if name in _RENAMED:
        module, name = _RENAMED[name]
        return getattr(import_module(module), name)
    if name in _MODULES:
        return getattr(import_module(_MODULES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
