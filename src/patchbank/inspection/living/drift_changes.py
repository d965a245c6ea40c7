"""What changed, and how, in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchbank.inspection.living.drift_series import SERIES, Floats, Trail, zones
from patchbank.memory.drift import Change, Detection

# Alarms so many images apart are of one change.
_APART: Final = 10
# A change lasts where no more images came since its last alarm than this times those of an alarm.
_PATIENCE: Final = 3
_LEAST_PATIENCE: Final = 30
# A series changed beside the first one where chance would rarely make it differ as much.
_SURE: Final = 1e-4
# Images before a change that it is compared with, the last ones.
_BEFORE: Final = 2000
# Less of the patches is not said to be unlike the references at a position.
_LEAST_SHARE: Final = 0.05
# Zones that changed as much as this share of the one that changed most are named.
_NEARLY: Final = 0.7
_ROWS: Final = ("upper", "middle", "lower")
_COLUMNS: Final = ("left", "centre", "right")


@dataclass(frozen=True, slots=True)
class Effect:
    """How a series changed: its medians before and after, and both in words.

    `series` is ``score`` (as a share of the limit), ``brightness``, ``sharpness`` or ``outside``
    (the share of patches farther from the bank than the covering radius). `within` is whether the
    median is still in the range of 90 % of the references; None where that is not known.
    """

    series: str
    before: float | None
    after: float | None
    text: str
    within: bool | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, eq=False)
class DriftChange:
    """A change of what is inspected.

    Attributes
    ----------
    begin, found, end
        Indices of the inspections about where it began, where there was enough evidence, and where
        there was for the last time.
    begun_at, found_at, ended_at
        When that was; `ended_at` is None while the change lasts.
    begun_with
        The image about where it began.
    effects
        What changed, first what gave most of the evidence.
    """

    begin: int
    found: int
    end: int
    begun_at: datetime
    found_at: datetime
    ended_at: datetime | None
    begun_with: str
    effects: tuple[Effect, ...]

    @property
    def lasts(self) -> bool:
        """Whether the last inspections still show it."""
        return self.ended_at is None

    @property
    def times(self) -> str:
        """When it was, in words."""
        begun = moment_in_words(self.begun_at)
        if self.ended_at is None:
            return f"since about {begun}"
        same_day = self.ended_at.date() == self.begun_at.date()
        ended = moment_in_words(self.ended_at)
        return f"from about {begun} to about {ended[-5:] if same_day else ended}"

    @property
    def text(self) -> str:
        """What changed, in words."""
        text = "; ".join(effect.text for effect in self.effects)
        known = [effect.within for effect in self.effects if effect.within is not None]
        if known and all(known):
            text += " (still within the range of the references)"
        return text

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "begun_at": self.begun_at.isoformat(),
            "found_at": self.found_at.isoformat(),
            "ended_at": None if self.ended_at is None else self.ended_at.isoformat(),
            "lasts": self.lasts,
            "begun_with": self.begun_with,
            "images": self.end + 1 - self.begin,
            "images_until_found": self.found + 1 - self.begin,
            "effects": [effect.to_json() for effect in self.effects],
            "text": self.text,
        }


def moment_in_words(moment: datetime) -> str:
    """Return a local time to the minute."""
    return f"{moment.astimezone():%Y-%m-%d %H:%M}"


def changes_of(
    trail: Trail, references: Mapping[str, Floats], detection: Detection
) -> tuple[DriftChange, ...]:
    """Return the changes that alarms tell of; one change may have raised many."""
    joined: list[list[Change]] = []
    for alarm in detection.changes:
        if joined and alarm.begin - joined[-1][-1].alarm <= _APART:
            joined[-1].append(alarm)
        else:
            joined.append([alarm])
    return tuple(_change(trail, references, alarms) for alarms in joined)


def _change(
    trail: Trail, references: Mapping[str, Floats], alarms: Sequence[Change]
) -> DriftChange:
    first, last = alarms[0], alarms[-1]
    longest = max(alarm.alarm + 1 - alarm.begin for alarm in alarms)
    since = len(trail) - 1 - last.alarm
    lasts = since <= max(_LEAST_PATIENCE, _PATIENCE * longest)
    end = len(trail) - 1 if lasts else last.alarm
    return DriftChange(
        begin=first.begin,
        found=first.alarm,
        end=end,
        begun_at=trail.rows[first.begin].inspected_at,
        found_at=trail.rows[first.alarm].inspected_at,
        ended_at=None if lasts else trail.rows[last.alarm].inspected_at,
        begun_with=trail.rows[first.begin].image_name,
        effects=_effects(trail, references, first, end),
    )


def _effects(
    trail: Trail, references: Mapping[str, Floats], first: Change, end: int
) -> tuple[Effect, ...]:
    from scipy.stats import mannwhitneyu

    after = slice(first.begin, end + 1)
    before = slice(max(0, first.begin - _BEFORE), first.begin)
    effects = []
    order = sorted(SERIES, key=lambda name: -first.evidence.get(name, 0.0))
    for name in order:
        values = trail.values[name]
        new = values[after][~np.isnan(values[after])]
        old = np.concatenate([values[before][~np.isnan(values[before])], references[name]])
        if not len(new) or not len(old):
            continue
        if name == order[0] or mannwhitneyu(old, new).pvalue < _SURE:
            effect = _effect(trail, name, before, after, old, new)
            effects.append(replace(effect, within=_within(references[name], new)))
    return tuple(effects)


def _within(references: Floats, new: Floats) -> bool | None:
    if not len(references):
        return None
    low, high = np.quantile(references, (0.05, 0.95))
    return bool(low <= np.median(new) <= high)


def _effect(
    trail: Trail, name: str, before: slice, after: slice, old: Floats, new: Floats
) -> Effect:
    if name == "score":
        return _score_effect(trail, before, after, bool(np.median(new) > np.median(old)))
    was, now = float(np.median(old)), float(np.median(new))
    if name == "outside":
        where = _where(trail, before, after)
        more = "more" if now >= was else "fewer"
        text = f"{more} patches are unlike the references: {_percent(now)}, before {_percent(was)}"
        return Effect(name, was, now, f"{text}{where}")
    words = {"brightness": ("brighter", "darker"), "sharpness": ("sharper", "less sharp")}[name]
    share = now / was - 1 if was > 0 else 0.0
    if abs(share) < 0.005:
        # The spread changed, or the image froze.
        spread = _spread(new), _spread(old)
        which = "more" if spread[0] > spread[1] else "less"
        return Effect(name, was, now, f"the {name} varies {which} than before")
    return Effect(name, was, now, f"images are {_percent(abs(share))} {words[share < 0]}")


def _score_effect(trail: Trail, before: slice, after: slice, higher: bool) -> Effect:
    shares = trail.shares_of_limit
    now, was = _median(shares[after]), _median(shares[before])
    text = f"scores are {'higher' if higher else 'lower'}"
    if now is not None:
        text += f": {now:.2f} times the limit in the median"
        text += f", before {was:.2f}" if was is not None else ""
    failed, earlier = (trail.not_passed[part] for part in (after, before))
    text += f"; {_percent(float(failed.mean()))} of the images do not pass"
    if len(earlier):
        text += f", before {_percent(float(earlier.mean()))}"
    return Effect("score", was, now, text)


def _where(trail: Trail, before: slice, after: slice) -> str:
    """Return in which parts of the image patches changed; nothing if nearly everywhere."""
    now, was = trail.map_outside(after), trail.map_outside(before)
    if now is None:
        return ""
    difference = zones(now if was is None else now - was)
    most = float(difference.max())
    chosen = difference >= max(_NEARLY * most, _LEAST_SHARE)
    if most < _LEAST_SHARE or chosen.sum() > 4:
        return ""
    return f", most in the {' and the '.join(zone_names(chosen, difference))}"


def zone_names(chosen: NDArray[np.bool_], difference: NDArray[np.float64]) -> list[str]:
    """Return the names of chosen zones, (3, 3), the most different first; whole sides as such."""
    for number, name in enumerate(_ROWS):
        if chosen[number].all() and chosen.sum() == chosen.shape[1]:
            return [f"{name} part"]
    for number, name in enumerate(_COLUMNS):
        if chosen[:, number].all() and chosen.sum() == chosen.shape[0]:
            return ["vertical centre" if name == "centre" else f"{name} part"]
    order = np.argsort(-difference, axis=None)
    names = []
    for row, column in zip(*np.unravel_index(order, chosen.shape), strict=True):
        if chosen[row, column]:
            name = f"{_ROWS[row]} {_COLUMNS[column]}"
            names.append("centre" if name == "middle centre" else name)
    return names


def _median(values: Floats) -> float | None:
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else None


def _spread(values: Floats) -> float:
    low, high = np.quantile(values, (0.25, 0.75))
    return float(high - low)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.0995 or not share else f"{100 * share:.1f} %"
