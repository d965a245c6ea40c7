"""The process of a job: inspections go on beside it, and it ends with the service.

Standard input is a line of JSON, and open as long as the service wants the job. Standard output has
a line of JSON for each progress, and a last one with the result or the error.
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

from patchbank.actors import acting_as
from patchbank.datasets.study import read_study, study_of_files
from patchbank.errors import DatasetError, PatchbankError
from patchbank.inspection.learning.calibrate import calibrate, calibrate_paths
from patchbank.inspection.learning.fit import fit, fit_paths
from patchbank.inspection.measuring.check import check
from patchbank.inspection.measuring.check_pictures import small_pictures
from patchbank.inspection.measuring.evaluate import evaluate
from patchbank.inspection.measuring.figures import Failed
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from patchbank.printable import finite
from patchbank.server.remedies import detail_of

# Inspections come first.
_NICENESS = 10
_PROGRESS_SECONDS = 0.2


def main() -> None:
    """Do what standard input asks."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    # What libraries print goes elsewhere.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    asked = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_end_with_the_service, daemon=True).start()
    try:
        answer: dict[str, Any] = {"result": _result(asked, _Reporter(output))}
    except PatchbankError as error:
        answer = {"error": detail_of(error)}
    output.write(_with_names(json.dumps(finite(answer)), asked).encode() + b"\n")


def _with_names(text: str, asked: dict[str, Any]) -> str:
    """Return JSON with the clients' own names of images instead of where they are now."""
    if asked["uploaded"] is None:
        return text
    uploaded = dict(zip(asked["paths"], asked["names"], strict=True))

    def named(match: re.Match[str]) -> str:
        return json.dumps(uploaded[match[0]])[1:-1] if match[0] in uploaded else match[0]

    return re.sub(re.escape(asked["uploaded"]) + r"[/\\]+\d{6}", named, text)


def _result(asked: dict[str, Any], progress: _Reporter) -> dict[str, Any]:
    home = Path(asked["home"])
    with (
        acting_as(asked["actor"]),
        Workspace(home=home, database_url=asked["database_url"]) as workspace,
    ):
        return _WORK[asked["kind"]](workspace, asked, progress)


def _fit(workspace: Workspace, asked: dict[str, Any], progress: _Reporter) -> dict[str, Any]:
    settings = make_fit_settings(**asked["settings"])
    more = {"group_by": asked["group_by"], "screen": asked["screen"], "progress": progress}
    if asked["folder"] is not None:
        report = fit_paths(workspace, asked["category"], [asked["folder"]], settings, **more)
    else:
        paths, names = asked["paths"], asked["names"]
        report = fit(workspace, asked["category"], paths, settings, names=names, **more)
    return report.to_json()


def _calibrate(workspace: Workspace, asked: dict[str, Any], progress: _Reporter) -> dict[str, Any]:
    more = {**asked["settings"], "group_by": asked["group_by"], "progress": progress}
    if asked["folder"] is not None:
        report = calibrate_paths(workspace, asked["category"], [asked["folder"]], **more)
    else:
        paths, names = asked["paths"], asked["names"]
        report = calibrate(workspace, asked["category"], paths, names=names, **more)
    return report.to_json()


def _evaluate(workspace: Workspace, asked: dict[str, Any], progress: _Reporter) -> dict[str, Any]:
    # The average follows, of one category.
    found = next(
        evaluate(
            workspace,
            asked["folder"],
            [asked["category"]],
            make_fit_settings(**asked["settings"]),
            dataset=asked["dataset"],
            group_by=asked["group_by"],
            progress=progress,
        )
    )
    if isinstance(found, Failed):
        raise DatasetError(f"{found.category}: {found.error}")
    return found.to_json()


def _import_anomalib(
    workspace: Workspace, asked: dict[str, Any], progress: _Reporter
) -> dict[str, Any]:
    from patchbank.contrib.anomalib import import_anomalib_file

    path = Path(asked["folder"])
    progress("import", 0, 1)
    report = import_anomalib_file(workspace, path, asked["category"], **asked["settings"])
    progress("import", 1, 1)
    return report.to_json()


def _check(workspace: Workspace, asked: dict[str, Any], progress: _Reporter) -> dict[str, Any]:
    if asked["folder"] is not None:
        study = read_study(asked["folder"], asked["part_from"])
    else:
        study = study_of_files(asked["paths"], asked["names"], asked["part_from"])
    report = check(workspace, asked["category"], study, progress=progress)
    # What was sent is removed when the job has ended.
    return {**report.to_json(), "pictures": small_pictures(workspace, report)}


_WORK = {
    "fit": _fit,
    "check": _check,
    "calibrate": _calibrate,
    "evaluate": _evaluate,
    "import-anomalib": _import_anomalib,
}


def _end_with_the_service() -> None:
    sys.stdin.buffer.read()
    # A transaction that is open is undone by the database.
    os._exit(1)


class _Reporter:
    """Writes progress, a few times a second."""

    def __init__(self, output: BinaryIO) -> None:
        self._output = output
        self._last: tuple[float, str] = 0.0, ""

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        at, before = self._last
        if stage == before and done < total and now - at < _PROGRESS_SECONDS:
            return
        self._last = now, stage
        self._output.write(json.dumps({"progress": [stage, done, total]}).encode() + b"\n")


if __name__ == "__main__":
    main()
