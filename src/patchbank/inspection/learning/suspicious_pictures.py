"""Pictures of reference images that stand apart, as a bank of the others sees them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from patchbank.inspection.judging.heatmaps import heatmap_path, write_heatmap
from patchbank.inspection.judging.judge import Judge, calibration_of
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.learning.suspicious import Suspicious
from patchbank.inspection.workspace import Workspace
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.own_pictures import is_own_picture

_RANKED = re.compile(r"\d\d+-.*-[0-9a-f]{8}\.png", re.DOTALL)


def write_suspicious(
    workspace: Workspace,
    bank: LearnedBank,
    sources: Sequence[ImageSource],
    names: Sequence[str],
    folder: Path,
    suspicious: Suspicious | None,
    *,
    first: int = 1,
) -> tuple[Path, ...]:
    """Write a picture of each suspicious image to a folder; return their paths, numbered.

    Each is judged by the bank without the patches of all of them, so that defects that resemble
    each other do not vouch for one another.

    Raises
    ------
    DiskFullError, ReportError
        If a picture cannot be written.
    """
    if suspicious is None:
        return ()
    apart = np.isin([image.name for image in bank.images], suspicious.names)
    content = bank.content
    calibration = calibration_of(
        replace(content, scores=content.scores.rows(~apart[content.scores.image]))
    )
    assert calibration is not None
    judge = Judge(content.features[~apart[content.patch_image]], bank.settings, calibration)
    extractor = workspace.extractor(bank.settings.extractor, bank.quantised)
    paths = []
    for rank, name in enumerate(suspicious.names, start=first):
        source = sources[names.index(name)]
        found = extractor.extract_one(source, name=name, limits=workspace.limits)
        image = found.image
        judgement = judge(found.patches, image.width, image.height)
        plain = heatmap_path(folder, name, image.sha256)
        path = plain.with_name(f"{rank:02}-{plain.name}")
        write_heatmap(path, image.pixels, judgement, name)
        paths.append(path)
    return tuple(paths)


def earlier_pictures(folder: Path, written: Sequence[Path]) -> list[str]:
    """Return a remark where a folder also has pictures that a fit before this one wrote there.

    They are left alone: they may be another category's.
    """
    if not folder.is_dir():
        return []
    names = {path.name for path in written}
    earlier = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in names and _RANKED.fullmatch(path.name) and is_own_picture(path)
    )
    if not earlier:
        return []
    count = f"{len(earlier)} pictures" if len(earlier) > 1 else "a picture"
    return [f"{folder} has {count} from an earlier fit as well, such as {earlier[0]}"]
