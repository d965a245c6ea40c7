"""The results of `patchbank inspect` for people: a line or a paragraph for each image."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rich.text import Text

from patchbank.cli.output import answer, print_remarks
from patchbank.inspection.matches import Similar
from patchbank.inspection.verdicts import PASSES_WITH_REGION, Inspection
from patchbank.printable import counted, printable

_STYLES = {"pass": "green", "review": "yellow", "fail": "red"}
# Of the recorded defects that an image is like, with details.
_MOST_DEFECTS = 3
# Fails last, so that they stand at the end of the terminal.
_ORDER = {"pass": 0, "review": 1, "fail": 2}


@dataclass(frozen=True, slots=True)
class _Line:
    """What is kept of an inspection until it is printed: not its map, which may be large."""

    rank: tuple[int, float]
    heading: tuple[str, str]
    score: str
    share: str
    image: str
    where: str
    probable: str
    below: tuple[str, ...]


class VerdictList:
    """Collects inspections and prints them: passes in their order, fails last, the worst at last.

    Parameters
    ----------
    details
        Whether each is a paragraph: thresholds, p-value, regions, similar images. A single image
        always is.
    similar
        Whether the similar images are listed in any case.
    """

    def __init__(self, *, details: bool = False, similar: bool = False) -> None:
        self._details, self._similar = details, similar
        self._lines: list[_Line] = []
        self._first: tuple[str, ...] = ()
        self._verdicts: Counter[str] = Counter()
        self._limits: set[str] = set()
        self._heatmaps: set[str] = set()
        self._refused = self._outlined = 0

    def add(self, inspection: Inspection) -> None:
        """Add an inspection."""
        verdict = inspection.verdict
        details: tuple[str, ...] = ()
        if self._details or not self._lines:
            details = _details(inspection)
        if not self._lines:
            self._first = details
        self._verdicts[verdict] += 1
        self._limits.add(inspection.thresholds.describe())
        if inspection.heatmap is not None:
            self._heatmaps.add(str(inspection.heatmap.parent))
        self._outlined += PASSES_WITH_REGION in inspection.remarks
        below = details if self._details else ()
        if self._similar and not self._details:
            below = _similar_lines(inspection.similar)
        self._lines.append(
            _Line(
                (_ORDER[verdict], 0.0 if verdict == "pass" else inspection.score),
                (f"{verdict.upper():<6}", f"{_STYLES[verdict]} bold"),
                f"{inspection.score:#.4g}",
                inspection.times_the_limit,
                printable(inspection.image),
                "" if inspection.passed else inspection.position,
                str(inspection.probable_defect or ""),
                below,
            )
        )

    def add_refused(self) -> None:
        """Count an image that could not be judged."""
        self._refused += 1

    def print(self) -> None:
        """Print what was added, and a summary where it is more than one image."""
        lines = sorted(self._lines, key=lambda line: line.rank)
        if len(lines) == 1 and not self._refused:
            _print_paragraph(lines[0], self._first)
            return
        if self._details:
            for line in lines:
                _print_paragraph(line, line.below)
        else:
            _print_table(lines)
        if lines:
            answer().print(Text(self._summary(), style="bold"))
        if not self._details:
            for folder in self._heatmaps:
                answer().print(f"heatmaps: {folder}", markup=False)
        if self._outlined and not self._details:
            print_remarks(
                [
                    f"{counted(self._outlined, 'image')} "
                    f"{'passes' if self._outlined == 1 else 'pass'} although a region is outlined; "
                    "--details shows them; fit with --score max if small defects must fail"
                ]
            )

    def _summary(self) -> str:
        total = len(self._lines)
        failed, review = self._verdicts["fail"], self._verdicts["review"]
        if self._verdicts["pass"] == total:
            text = f"all {total:,} passed" if total > 1 else "1 passed"
        else:
            text = f"{failed:,} of {total:,} failed"
        if review:
            text += f", {review:,} to review"
        if len(self._limits) == 1:
            text += f" ({min(self._limits)})"
        if self._refused:
            text += f"; {counted(self._refused, 'more image')} could not be judged"
        return text


def print_verdict(inspection: Inspection) -> None:
    """Print an inspection in a line, as soon as it is judged."""
    verdict = inspection.verdict
    text = Text(f"{verdict.upper():<6}", style=f"{_STYLES[verdict]} bold")
    text.append(
        f"  {inspection.score:#.4g}  {inspection.times_the_limit}", style="not bold default"
    )
    where = "" if inspection.passed else inspection.position
    rest = (where, inspection.image, str(inspection.probable_defect or ""))
    text.append("".join(f"  {printable(part)}" for part in rest if part), style="not bold default")
    answer().print(text)


def _print_paragraph(line: _Line, details: tuple[str, ...]) -> None:
    console = answer()
    console.print(Text(*line.heading), line.image, markup=False)
    for text in details:
        console.print(f"  {text}", markup=False)


def _print_table(lines: list[_Line]) -> None:
    score, share, where = (
        max((len(getattr(line, name)) for line in lines), default=0)
        for name in ("score", "share", "where")
    )
    text = Text()
    for number, line in enumerate(lines):
        text.append("\n" if number else "")
        text.append(*line.heading)
        text.append(f"  {line.score:>{score}}  {line.share:>{share}}  ")
        text.append(f"{line.where:<{where}}  {line.image}" if where else line.image)
        if line.probable:
            text.append(f"  {printable(line.probable)}")
        for below in line.below:
            text.append(f"\n    {below}")
    # All at once: a thousand calls would take half a second.
    if lines:
        answer().print(text)


def _details(inspection: Inspection) -> tuple[str, ...]:
    lines = [
        f"score {inspection.score:.4f}, {inspection.thresholds.describe('.4f')}; "
        f"{inspection.rarity} (p-value {inspection.p_value:.3g})"
    ]
    if inspection.likeness_in_words:
        lines.append(f"score {printable(inspection.likeness_in_words)}")
    for region in inspection.regions:
        x0, y0, x1, y1 = region.box_xyxy
        lines.append(
            f"region x {x0}-{x1}, y {y0}-{y1}: {counted(region.area_pixels, 'pixel')} "
            f"({region.area_percent:.2f} %), peak {region.peak_score:.4f}"
        )
    if not inspection.passed and not inspection.regions:
        lines.append(
            "no region is outlined, because the map is nowhere above its threshold; it is highest "
            f"at {inspection.strongest_spot}"
        )
    if PASSES_WITH_REGION in inspection.remarks:
        lines.append(PASSES_WITH_REGION)
    if inspection.probable_defect is not None:
        lines.append(printable(str(inspection.probable_defect)))
    if inspection.heatmap is not None:
        lines.append(f"heatmap {printable(str(inspection.heatmap))}")
    defects = tuple(
        f"{match.similarity:7.4f}  {printable(match.name)}  (defect: {printable(match.describe())})"
        for match in inspection.similar_defects[:_MOST_DEFECTS]
    )
    return (*lines, *defects, *_similar_lines(inspection.similar))


def _similar_lines(similar: tuple[Similar, ...]) -> tuple[str, ...]:
    return tuple(
        f"{match.similarity:7.4f}  {printable(match.image)}{'  (itself)' if match.itself else ''}"
        for match in similar
    )
