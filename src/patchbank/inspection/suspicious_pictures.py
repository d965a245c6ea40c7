"""Pictures of reference images that stand apart, as a bank of the others sees them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from patchbank.inspection.heatmaps import heatmap_path, write_heatmap
from patchbank.inspection.judge import Judge
from patchbank.inspection.learn import LearnedBank
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.vision.images import ImageSource


def write_suspicious(
    workspace: Workspace,
    category: str,
    bank: LearnedBank,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    folder: Path,
) -> tuple[Path, ...]:
    """Write a picture of each suspicious image to a folder; return their paths, ranked.

    Each is judged by the bank without the patches of all of them, so that defects that resemble
    each other do not vouch for one another.

    Raises
    ------
    DiskFullError, ReportError
        If a picture cannot be written.
    """
    suspicious = bank.suspicious
    if suspicious is None:
        return ()
    count = len(suspicious.names)
    apart = np.isin([image.name for image in bank.images], suspicious.names)
    # Which map's maximum is whose is not kept; theirs are taken for the largest.
    calibration = Calibration(
        tuple(bank.scores[~apart & np.isfinite(bank.scores)].tolist()),
        bank.calibration.map_maxima[:-count],
        bank.calibration.score_method,
    )
    judge = Judge(bank.features[~apart[bank.patch_image]], bank.settings, calibration)
    extractor = workspace.extractor(bank.settings.extractor, bank.quantised)
    paths = []
    for rank, name in enumerate(suspicious.names, start=1):
        source = sources[names.index(name)]
        found = extractor.extract_one(source, name=name, limits=workspace.limits)
        image = found.image
        judgement = judge(found.patches, image.width, image.height)
        plain = heatmap_path(folder, name, image.sha256)
        path = plain.with_name(f"{rank:02}-{plain.name}")
        inspection = judge.inspection(
            judgement, name=name, category=category, image=image, bank_version=0
        )
        write_heatmap(path, image.pixels, inspection)
        paths.append(path)
    return tuple(paths)
