"""False alarms of a label whose content changes, with and without a region of interest.

Brushed metal with a label: that of the reference images is of one lot and has another serial number
on each; the 100 good images that are judged have labels of that lot, or each of another. Scratches
are half under the edge of the region.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import gaussian_filter1d

from benchmarks.results import ROOT
from patchbank.inspection.judging.heatmaps import heatmap_of
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.learning.learned_bank import LearnedBank
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Judgement
from patchbank.inspection.workspace import Workspace

WIDTH, HEIGHT, IMAGES = 480, 360, 100
# The label, and the region that leaves it out, with a margin: x, y, width, height.
LABEL = (300, 24, 150, 90)
REGION = "284,8,182,122"
SEEN: dict[str, dict[str, Any]] = {
    "224 pixels": {"image_size": 224},
    "tiles": {"scale": 0.75, "tile": 224},
}
BANKS: dict[str, dict[str, Any]] = {"whole image": {}, f"without {REGION}": {"ignore_box": REGION}}

Pixels = npt.NDArray[np.uint8]


def part(number: int, lot: int) -> Pixels:
    """Return a good part with a label of a lot, its serial number that of the part."""
    random = np.random.default_rng([number, 7])
    grain = gaussian_filter1d(random.normal(0, 1, (HEIGHT, WIDTH)), 30, axis=1) * 55
    grey = 150 + grain + random.normal(0, 3, (HEIGHT, WIDTH)) + random.normal(0, 3)
    picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8))
    x, y, wide, high = LABEL
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + wide, y + high), fill=232)
    of_lot = np.random.default_rng([lot, 8])
    size = int(of_lot.integers(12, 22))
    letters = "".join(of_lot.choice(list("ABCDEFGHKLMNPRSTUVXZ"), 7))
    draw.text((x + 8, y + 5), letters, fill=25, font=ImageFont.load_default(size))
    serial = f"SN {random.integers(10**6):06d}"
    draw.text((x + 8, y + 31), serial, fill=25, font=ImageFont.load_default(14))
    left, bar = x + 8, 0
    while left < x + wide - 14:
        bar = int(of_lot.integers(1, 5))
        draw.rectangle((left, y + 54, left + bar - 1, y + high - 8), fill=25)
        left += bar + int(of_lot.integers(1, 5))
    return np.asarray(picture.convert("RGB"))


def scratched(pixels: Pixels, seed: int) -> Pixels:
    """Return a part with a scratch of 4 x 36 pixels, one half of it in the region."""
    random = np.random.default_rng([seed, 9])
    changed = pixels.copy()
    # Its middle is on the lower edge of the region.
    x, y = int(random.integers(300, 440)), 130 - 18
    changed[y : y + 36, x : x + 4] = 60
    return changed


def main() -> dict[str, Any]:
    """Return the figures, and draw the picture of the documentation."""
    references = [part(number, 0) for number in range(IMAGES)]
    names = [f"{number}.png" for number in range(IMAGES)]
    good = [part(1000 + number, 1 + number) for number in range(IMAGES)]
    same_lot = [part(1000 + number, 0) for number in range(IMAGES)]
    halves = [scratched(image, seed) for seed, image in enumerate(good)]
    figures: dict[str, Any] = {}
    pictures: list[Image.Image] = []
    with tempfile.TemporaryDirectory() as home, Workspace(home=Path(home)) as workspace:
        for seen, closely in SEEN.items():
            for title, regions in BANKS.items():
                settings = make_fit_settings(**closely, **regions)
                bank = learn(workspace, references, settings, names=names)
                sets = {"good": good, "same lot": same_lot, "half": halves}
                judged = {name: _judged(workspace, bank, images) for name, images in sets.items()}
                figures[f"{seen}, {title}"] = {
                    "threshold": round(bank.threshold.value or 0.0, 3),
                    "patches learned": bank.patches,
                    "false alarms, same lot": _fails(judged["same lot"]),
                    "false alarms, other lots": _fails(judged["good"]),
                    "scratch half inside": _fails(judged["half"]),
                    "half inside, outlined": sum(map(_outlined, judged["half"])),
                }
                print(f"{seen}, {title}: {figures[f'{seen}, {title}']}", flush=True)
                if seen == "tiles":
                    pictures.append(heatmap_of(good[3], judged["good"][3], f"good, {title}"))
                if seen == "tiles" and regions:
                    pictures.append(heatmap_of(halves[5], judged["half"][5], "scratched"))
    _stack(pictures).save(ROOT / "docs" / "images" / "regions.png", optimize=True)
    return figures


def _judged(workspace: Workspace, bank: LearnedBank, images: Sequence[Pixels]) -> list[Judgement]:
    judge = Judge(bank.features, bank.settings, bank.calibration)
    extractor = workspace.extractor(bank.settings.extractor)
    return [judge(extractor.extract_one(image).patches, WIDTH, HEIGHT) for image in images]


def _fails(judged: Sequence[Judgement]) -> int:
    return sum(judgement.verdict == "fail" for judgement in judged)


def _outlined(judgement: Judgement) -> bool:
    """Return whether a region is outlined at the lower edge of the region that is ignored."""
    return any(
        region.box_xyxy[1] <= 148 and region.box_xyxy[3] >= 130 and region.box_xyxy[2] >= 300
        for region in judgement.regions
    )


def _stack(pictures: Sequence[Image.Image]) -> Image.Image:
    wide = max(picture.width for picture in pictures)
    canvas = Image.new("RGB", (wide, sum(picture.height for picture in pictures)), "white")
    top = 0
    for picture in pictures:
        canvas.paste(picture, (0, top))
        top += picture.height
    return canvas.resize((wide * 3 // 4, top * 3 // 4), Image.Resampling.LANCZOS)
