"""What trying settings on a category's images found, and the setting that follows."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from patchbank.inspection.measuring.candidates import CHOSEN, IN_USE, Candidate
from patchbank.inspection.measuring.held_out import CONTRASTS, DefectTrial, Images, Judged
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.verdicts import Refused
from patchbank.metrics import Proportion
from patchbank.printable import counted

#: Always said with the figures.
SYNTHETIC = (
    "The defects are synthetic: small dots and scratches drawn by code into good images. The "
    "figures compare settings; they do not say how many of your real defects will be found."
)

# Settings whose shares differ by no more are as good as each other.
AS_GOOD = 0.02
# About as quick as the quickest: up to so many times its milliseconds.
_AS_QUICK = 1.2
# Where no setting finds this share of the defects, what is located says more.
_FEW = 0.1


@dataclass(frozen=True, eq=False)
class ShownDefect:
    """A crop of the map around a defect, by one of the settings.

    Attributes
    ----------
    box
        Of the crop, x0, y0, x1, y1 in pixels of the image.
    anomaly_map
        float32, of the crop's size; NaN where the image was not inspected.
    located, fails
        Whether the map is strongest at the defect, and whether the image fails.
    """

    judged: Judged
    box: tuple[int, int, int, int]
    anomaly_map: npt.NDArray[np.float32]
    located: bool
    fails: bool

    @property
    def outcome(self) -> str:
        """What became of the defect, in few words."""
        if self.located:
            return "found" if self.fails else "located, but passes"
        return "fails elsewhere" if self.fails else "missed"


@dataclass(frozen=True, eq=False)
class Tried:
    """Settings, and what came of them.

    Attributes
    ----------
    patches
        Of an image of the usual size.
    bank_size
        Rows of the bank.
    milliseconds, reading_ms
        From decoded image to verdict and map, one image at a time, as a budget counts; and of
        reading its file. Medians.
    false_alarms
        The held-out images that fail as they are.
    guaranteed_rate
        The share of good images that may fail, by the threshold's promise.
    found, located, fails
        int (sizes, contrasts): defects at which the map of their image is strongest, and which make
        it fail: both, the first, the second.
    held_out
        How many images got each defect.
    """

    candidate: Candidate
    patches: int
    bank_size: int
    milliseconds: float
    reading_ms: float
    false_alarms: Proportion
    guaranteed_rate: float
    found: npt.NDArray[np.int64]
    located: npt.NDArray[np.int64]
    fails: npt.NDArray[np.int64]
    held_out: int
    fit_seconds: float
    map_threshold: float
    remarks: tuple[str, ...] = ()
    shown: tuple[ShownDefect, ...] = ()

    @property
    def found_share(self) -> float:
        """The share of defects that are found."""
        return float(self.found.sum()) / (self.held_out * self.found.size)

    @property
    def located_share(self) -> float:
        """The share of defects at which the map is strongest, whatever the verdict."""
        return float(self.located.sum()) / (self.held_out * self.located.size)

    @property
    def keeps_rate(self) -> bool:
        """Whether the false alarms seen agree with the rate that the threshold promises."""
        return self.false_alarms.low <= self.guaranteed_rate


@dataclass(frozen=True, eq=False, repr=False)
class TuneReport:
    """What a trial of settings found.

    Attributes
    ----------
    paths
        The images as they were given, for the command line; empty for images in memory.
    tried
        The settings, quickest first.
    left_out
        Settings that were not tried, and why, a line each.
    page
        The page, if one was asked for.
    """

    category: str
    paths: tuple[str, ...]
    settings: FitSettings
    learned: Images
    trial: DefectTrial
    refused: tuple[Refused, ...]
    tried: tuple[Tried, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    seconds: float
    page: Path | None = None
    shown: tuple[Judged, ...] = field(default=())

    def __repr__(self) -> str:
        tried = counted(len(self.tried), "setting")
        return f"<TuneReport of {self.category!r}: {tried} tried; {self.recommendation()}>"

    @property
    def reading_ms(self) -> float:
        """About how long reading a file takes, in milliseconds."""
        return float(np.median([item.reading_ms for item in self.tried]))

    @property
    def few_found(self) -> bool:
        """Whether the thresholds let nearly all defects pass, so that they say little."""
        return max(item.found_share for item in self.tried) < _FEW

    @property
    def recommended(self) -> Tried:
        """The setting that finds most within the budget and keeps the rate.

        Of those as good, the one that locates most; of those as good, what fit chooses if it is
        about as quick, else the quickest. The quickest setting if all are over the budget.
        """
        budget = self.settings.budget_ms
        within = [item for item in self.tried if item.milliseconds <= budget]
        if not within:
            return min(self.tried, key=lambda item: item.milliseconds)
        within = [item for item in within if item.keeps_rate] or within
        for share in (attrgetter("found_share"), attrgetter("located_share")):
            best = max(map(share, within))
            within = [item for item in within if share(item) >= best - AS_GOOD]
        quickest = min(within, key=lambda item: item.milliseconds)
        return next(
            (
                item
                for item in within
                if CHOSEN in item.candidate.marks
                and item.milliseconds <= _AS_QUICK * quickest.milliseconds
            ),
            quickest,
        )

    @property
    def within_budget(self) -> bool:
        """Whether the recommended setting is within the budget."""
        return self.recommended.milliseconds <= self.settings.budget_ms

    @property
    def command(self) -> str | None:
        """The command line of the recommended setting; None if it can only be kept in use."""
        options = self.recommended.candidate.options
        if options is None:
            return None
        return fit_command(self.category, self.paths, options)

    def recommendation(self) -> str:
        """Return what is recommended, and why, in a sentence."""
        item = self.recommended
        budget = f"{self.settings.budget_ms:,.0f} ms"
        if not self.within_budget:
            return (
                f"{item.candidate.title}: the quickest, as no setting is within the budget of "
                f"{budget}"
            )
        most = f"finds {100 * item.found_share:.0f} % of the synthetic defects"
        if self.few_found:
            most = f"locates {100 * item.located_share:.0f} % of the synthetic defects"
        text = f"{item.candidate.title}: {most} in {item.milliseconds:.0f} ms (budget {budget})"
        if alarms := item.false_alarms.count:
            fail = "fails" if alarms == 1 else "fail"
            text += f"; {alarms} of {item.false_alarms.total} good images {fail}, too"
        if IN_USE in item.candidate.marks:
            text += "; it is in use now"
        return text

    def caution(self) -> str:
        """Return why to compare with what a fit chooses; empty where that is recommended."""
        marks = self.recommended.candidate.marks
        chosen = [item for item in self.tried if CHOSEN in item.candidate.marks]
        if CHOSEN in marks or not chosen:
            return ""
        layers = chosen[0].candidate.settings.extractor.layers
        deeper = layers[-1] not in self.recommended.candidate.settings.extractor.layers
        without = f", which {layers[-1]} sees," if deeper else ""
        return (
            "before you use these settings, compare them with those that fit chooses on images of "
            "real defects (patchbank evaluate): cracks, missing parts and what is in the wrong "
            f"place{without} are not among the synthetic defects"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        return {
            "category": self.category,
            "synthetic": True,
            "note": SYNTHETIC,
            "images_learned": len(self.learned),
            "images_held_out": len(self.trial.images),
            "refused": [refusal.to_json() for refusal in self.refused],
            "false_alarm_rate": self.settings.false_alarm_rate,
            "budget_ms": self.settings.budget_ms,
            "seed": self.settings.seed,
            "defect_sizes": list(self.trial.sizes),
            "defect_contrasts": [{"name": name, "share": share} for name, share in CONTRASTS],
            "settings": [self._row(item) for item in self.tried],
            "left_out": list(self.left_out),
            "recommended": self.tried.index(self.recommended),
            "recommendation": self.recommendation(),
            "caution": self.caution(),
            "command": self.command,
            "remarks": list(self.remarks),
            "seconds": round(self.seconds, 3),
            "report": None if self.page is None else str(self.page),
        }

    def _row(self, item: Tried) -> dict[str, Any]:
        settings = item.candidate.settings
        alarms = item.false_alarms
        by_size = [
            {
                "size": size,
                "contrast": name,
                "defects": item.held_out,
                "found": int(item.found[row, column]),
                "located": int(item.located[row, column]),
                "fails": int(item.fails[row, column]),
            }
            for row, size in enumerate(self.trial.sizes)
            for column, (name, _) in enumerate(CONTRASTS)
        ]
        return {
            "title": item.candidate.title,
            "marks": list(item.candidate.marks),
            "extractor": settings.extractor.to_json(),
            "settings": settings.to_json(),
            "fit_options": item.candidate.options,
            "patches": item.patches,
            "bank_size": item.bank_size,
            "milliseconds": round(item.milliseconds, 3),
            "reading_ms": round(item.reading_ms, 3),
            "within_budget": item.milliseconds <= self.settings.budget_ms,
            "false_alarms": alarms.count,
            "false_alarm_rate_interval": [alarms.low, alarms.high],
            "found": item.found_share,
            "located": item.located_share,
            "by_defect": by_size,
            "fit_seconds": round(item.fit_seconds, 3),
            "remarks": list(item.remarks),
        }


def fit_command(category: str, paths: Sequence[str], options: Mapping[str, Any]) -> str:
    """Return the command line of a fit with options named as in `Bank.fit`."""
    # A path must not look like an option.
    found = [f"./{path}" if path.startswith("-") else path for path in paths]
    line = ["patchbank", "fit", category, *(found or ["GOOD_IMAGES"])]
    for name, value in options.items():
        flag = "score" if name == "image_score" else name.replace("_", "-")
        if name == "layers":
            value = ",".join(value)
        for item in value if isinstance(value, list) else [value]:
            text = f"{item:.15g}" if isinstance(item, float) else str(item)
            line += [f"--{flag}={text}"] if text.startswith("-") else [f"--{flag}", text]
    return shlex.join(line)
