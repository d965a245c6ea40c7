"""What a study of parts with known answer found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, TextIO

from patchbank.datasets.study import StudyImage
from patchbank.inspection.verdicts import Refused, share_of_limit
from patchbank.memory.calibration import Thresholds, Verdict
from patchbank.metrics import Proportion
from patchbank.metrics.agreement import (
    BOUNDS,
    Agreement,
    Criterion,
    Decisions,
    agreement_of,
    kappa_in_words,
    reading,
    reading_of_interval,
)
from patchbank.printable import counted
from patchbank.spreadsheets import SafeWriter

#: What the usual study has: AIAG, "Measurement Systems Analysis", 4th edition.
USUAL_PARTS: Final = 50
USUAL_REPEATS: Final = 3

#: How a verdict counts, always said with the figures.
REVIEW_COUNTS = (
    "review counts as not passed: of a good part as a false alarm, of a defective one as found"
)


@dataclass(frozen=True, slots=True, eq=False)
class StudyVerdict:
    """The verdict on an image of a study; `score` and `p_value` as in an inspection."""

    image: StudyImage
    verdict: Verdict
    score: float
    p_value: float

    @property
    def rejected(self) -> bool:
        """Whether it did not pass."""
        return self.verdict != "pass"

    @property
    def right(self) -> bool:
        """Whether the decision is that of the known answer."""
        return self.rejected == self.image.defective


@dataclass(frozen=True, slots=True, eq=False)
class StudyPart:
    """A part of known answer, and the verdicts on its images."""

    name: str
    answer: str
    verdicts: tuple[StudyVerdict, ...]

    @property
    def defective(self) -> bool:
        """The known answer."""
        return self.verdicts[0].image.defective

    @property
    def decisions(self) -> Decisions:
        """The decisions on its images."""
        return Decisions(self.defective, tuple(item.rejected for item in self.verdicts))

    @property
    def outcome(self) -> str:
        """``right``, ``missed``, ``false alarm``; or ``unstable`` if its decisions differ."""
        if not self.decisions.consistent:
            return "unstable"
        if self.verdicts[0].right:
            return "right"
        return "missed" if self.defective else "false alarm"

    def span(self, thresholds: Thresholds) -> str:
        """Return its scores, lowest and highest, as multiples of the limit, in words."""
        scores = [item.score for item in self.verdicts]
        low, high = min(scores), max(scores)
        if not thresholds.fail_above > 0:
            return f"scores {low:.4g} to {high:.4g}"
        ends = dict.fromkeys(share_of_limit(score, thresholds.fail_above) for score in (low, high))
        return f"{' to '.join(ends)} times the limit"


@dataclass(frozen=True, slots=True)
class StudyFigure:
    """A figure of a study as text.

    Attributes
    ----------
    interval
        Its 95 % interval; empty for a kappa.
    reading
        How it is usually read.
    """

    key: str
    title: str
    value: str
    count: str
    interval: str
    reading: str
    meaning: str


@dataclass(frozen=True, eq=False, repr=False)
class CheckReport:
    """What a study found; see `patchbank.Bank.check`.

    Attributes
    ----------
    parts
        In the order of the study.
    left_out
        Why images are not in the figures, a line each.
    recorded
        Whether the inspections were recorded.
    page
        The page, if one was asked for.
    """

    category: str
    bank_version: int
    thresholds: Thresholds
    parts: tuple[StudyPart, ...]
    agreement: Agreement
    told_by: str
    refused: tuple[Refused, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    recorded: bool
    seconds: float
    page: Path | None = None

    def __repr__(self) -> str:
        figures = ", ".join(
            f"{figure.title} {figure.value}" for figure in self.figures() if figure.value
        )
        return f"<CheckReport of {self.category!r}: {counted(len(self.parts), 'part')}; {figures}>"

    @property
    def verdicts(self) -> list[StudyVerdict]:
        """The verdicts on all images, part by part."""
        return [verdict for part in self.parts for verdict in part.verdicts]

    @property
    def conspicuous(self) -> list[StudyPart]:
        """The parts that are unstable, missed or falsely rejected, the unstable ones first."""
        order = ("unstable", "missed", "false alarm")
        found = [part for part in self.parts if part.outcome in order]
        return sorted(found, key=lambda part: order.index(part.outcome))

    def parts_with(self, outcome: str) -> list[str]:
        """Return the names of the parts with an outcome."""
        return [part.name for part in self.parts if part.outcome == outcome]

    def to_review(self, *, defective: bool) -> int:
        """Return how many images of good or of defective parts are to be reviewed by a person."""
        return sum(
            item.verdict == "review" and item.image.defective is defective for item in self.verdicts
        )

    def figures(self) -> list[StudyFigure]:
        """Return the figures as text, in the order in which they are read."""
        found = self.agreement
        return [
            _share(
                "effectiveness", "agreement with the answers", found.effectiveness, "part",
                "Parts of which every image got the right decision (effectiveness).",
                "effectiveness",
            ),
            _share(
                "repeatability", "agreement with itself", found.repeatability, "part",
                "Parts with several images that all got the same decision, right or wrong.",
            ),
            _share(
                "miss_rate", "misses", found.miss_rate, "image",
                "Images of defective parts that pass.", "miss_rate",
            ),
            _share(
                "missed_parts", "defective parts missed", found.missed_parts, "part",
                "Defective parts of which at least one image passes.",
            ),
            _share(
                "false_alarm_rate", "false alarms", found.false_alarm_rate, "image",
                "Images of good parts that do not pass.", "false_alarm_rate",
            ),
            _share(
                "false_alarm_parts", "good parts rejected", found.false_alarm_parts, "part",
                "Good parts of which at least one image does not pass.",
            ),
            _kappa(
                "kappa_standard", "kappa with the answers", found.kappa_standard,
                "Cohen's kappa of decisions and answers: agreement beyond chance.",
            ),
            _kappa(
                "kappa_repeats", "kappa between repeats", found.kappa_repeats,
                "Fleiss' kappa of the decisions on the images of a part.",
            ),
        ]  # fmt: skip

    def headline(self) -> str:
        """Return what was judged, in a line."""
        good = sum(not part.defective for part in self.parts)
        return (
            f"{self.category}: {counted(good, 'good part')} and "
            f"{counted(len(self.parts) - good, 'defective part')}, "
            f"{counted(len(self.verdicts), 'image')}; bank version {self.bank_version}, "
            f"{self.thresholds.describe()}"
        )

    def review_in_words(self) -> str:
        """Return how many images go to review, and how they count."""
        good, defective = self.to_review(defective=False), self.to_review(defective=True)
        return (
            f"to review: {counted(good, 'image')} of good parts, {defective} of defective ones; "
            f"{REVIEW_COUNTS}"
        )

    def conspicuous_in_words(self) -> list[str]:
        """Return a line for each part that is unstable, missed or falsely rejected."""
        return [
            f"{part.outcome}: {part.name} ({part.answer}): "
            f"{', '.join(item.verdict for item in part.verdicts)}; {part.span(self.thresholds)}"
            for part in self.conspicuous
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        found = self.agreement
        shares = {
            name: _share_json(getattr(found, name), name)
            for name in (
                "effectiveness",
                "correct",
                "repeatability",
                "miss_rate",
                "missed_parts",
                "false_alarm_rate",
                "false_alarm_parts",
            )
        }
        return {
            "category": self.category,
            "bank_version": self.bank_version,
            **self.thresholds.to_json(),
            "good_parts": sum(not part.defective for part in self.parts),
            "defective_parts": sum(part.defective for part in self.parts),
            "images": len(self.verdicts),
            "parts_told_by": self.told_by,
            **shares,
            "kappa_standard": _kappa_json(found.kappa_standard),
            "kappa_repeats": _kappa_json(found.kappa_repeats),
            "review_good": self.to_review(defective=False),
            "review_defective": self.to_review(defective=True),
            "unstable": self.parts_with("unstable"),
            "missed": self.parts_with("missed"),
            "false_alarms": self.parts_with("false alarm"),
            "parts": [
                {
                    "part": part.name,
                    "answer": part.answer,
                    "outcome": part.outcome,
                    "images": [
                        {
                            "image": item.image.name,
                            "verdict": item.verdict,
                            "score": item.score,
                            "p_value": item.p_value,
                        }
                        for item in part.verdicts
                    ],
                }
                for part in self.parts
            ],
            "in_words": {
                "headline": self.headline(),
                "figures": [asdict(figure) for figure in self.figures()],
                "bounds": bounds_in_words(),
                "review": self.review_in_words(),
                "conspicuous": self.conspicuous_in_words(),
            },
            "refused": [refusal.to_json() for refusal in self.refused],
            "left_out": list(self.left_out),
            "remarks": list(self.remarks),
            "recorded": self.recorded,
            "seconds": round(self.seconds, 3),
            "report": None if self.page is None else str(self.page),
        }

    def write_csv(self, file: TextIO) -> None:
        """Write a heading and a line for each image, part by part."""
        writer = SafeWriter(file)
        writer.writerow(
            ("part", "answer", "repeat", "image", "verdict", "right", "part_outcome", "score",
             "pass_below", "fail_above", "p_value", "category", "bank_version")
        )  # fmt: skip
        for part in self.parts:
            writer.writerows(
                (part.name, part.answer, number, item.image.name, item.verdict,
                 "yes" if item.right else "no", part.outcome, item.score,
                 self.thresholds.pass_below, self.thresholds.fail_above, item.p_value,
                 self.category, self.bank_version)
                for number, item in enumerate(part.verdicts, 1)
            )  # fmt: skip


def parts_of(verdicts: Sequence[StudyVerdict]) -> tuple[StudyPart, ...]:
    """Return the parts that images belong to, in the order in which they begin."""
    by_part: dict[str, list[StudyVerdict]] = {}
    for item in verdicts:
        by_part.setdefault(item.image.part, []).append(item)
    return tuple(
        StudyPart(name, found[0].image.answer, tuple(found)) for name, found in by_part.items()
    )


def agreement_of_parts(parts: Sequence[StudyPart]) -> Agreement:
    """Return the figures of parts."""
    return agreement_of([part.decisions for part in parts])


def percent(share: float) -> str:
    """Return a share in per cent, as text."""
    return f"{100 * share:.1f} %"


def _share(
    key: str,
    title: str,
    found: Proportion | None,
    noun: str,
    meaning: str,
    criterion: Criterion | None = None,
) -> StudyFigure:
    if found is None:
        return StudyFigure(key, title, "", f"no such {noun}", "", "", meaning)
    words = ""
    if criterion is not None:
        words = reading(criterion, found.value)
        if (worse := reading_of_interval(criterion, found)) != words:
            words += f", by the interval perhaps {worse}"
    return StudyFigure(
        key,
        title,
        percent(found.value),
        f"{found.count} of {counted(found.total, noun)}",
        f"{100 * found.low:.1f} to {percent(found.high)}",
        words,
        meaning,
    )


def bounds_in_words() -> str:
    """Return what the manual asks of the figures."""
    asked = [
        f"{title} {side} {100 * acceptable:g} %, marginal {side} {100 * marginal:g} %"
        for (acceptable, marginal), title, side in zip(
            BOUNDS.values(),
            ("agreement with the answers", "misses", "false alarms"),
            ("from", "up to", "up to"),
            strict=True,
        )
    ]
    return f"acceptable (AIAG): {'; '.join(asked)}"


def _kappa(key: str, title: str, kappa: float | None, meaning: str) -> StudyFigure:
    if kappa is None:
        return StudyFigure(key, title, "", "not defined", "", "", meaning)
    return StudyFigure(key, title, f"{kappa:.2f}", "", "", kappa_in_words(kappa), meaning)


def _share_json(found: Proportion | None, name: str) -> dict[str, Any] | None:
    if found is None:
        return None
    document: dict[str, Any] = {
        "value": found.value,
        "count": found.count,
        "total": found.total,
        "interval": [found.low, found.high],
    }
    if name in BOUNDS:
        document["reading"] = reading(name, found.value)
        document["reading_of_interval"] = reading_of_interval(name, found)
    return document


def _kappa_json(kappa: float | None) -> dict[str, Any] | None:
    return None if kappa is None else {"value": kappa, "reading": kappa_in_words(kappa)}
