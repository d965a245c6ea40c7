"""A whole inspection with made pictures, in memory: what is installed must also judge."""

from __future__ import annotations

import time

import numpy as np

from patchbank.errors import TrialError
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace

_IMAGES = 8


def try_inspection(workspace: Workspace) -> str:
    """Learn a few made pictures and judge a good one and a scratched one; say how it went.

    The database is not needed, and nothing is stored.

    Raises
    ------
    TrialError
        If the two are not told apart.
    PatchbankError
        As `learn` does.
    """
    start = time.perf_counter()
    settings = make_fit_settings()
    side = settings.extractor.preprocessing.side
    random = np.random.default_rng(0)
    noise = random.normal(128, 12, (_IMAGES + 2, side, side, 1)).repeat(3, axis=3)
    pictures = noise.clip(0, 255).astype(np.uint8)
    scratch = np.arange(side // 4, side // 2)
    for width in range(4):
        pictures[-1, scratch, scratch + width] = 255
    names = [f"picture {number}" for number in range(_IMAGES)]
    bank = learn(workspace, list(pictures[:_IMAGES]), settings, names=names)
    learned = time.perf_counter()
    judge = Judge(bank.features, settings, bank.calibration)
    extractor = workspace.extractor(settings.extractor)
    good, scratched = (
        judge(extractor.extract([picture]).patches[0], side, side) for picture in pictures[-2:]
    )
    finished = time.perf_counter()
    if (good.verdict, scratched.verdict) != ("pass", "fail"):
        raise TrialError(
            f"a good picture scores {good.score:.3g} and a scratched one {scratched.score:.3g} "
            f"({judge.thresholds.describe('.3g')}): an installed package gives wrong results "
            "on this processor; reinstall patchbank, or report this line"
        )
    return (
        f"{_IMAGES} synthetic pictures learned in {learned - start:.1f} s; a good and a "
        f"scratched picture told apart in {1e3 * (finished - learned):.0f} ms"
    )
