"""The HTML page of an evaluation: one file and a folder of pictures beside it, nothing else."""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.errors import MissingExtraError
from patchbank.files import LARGEST_TEXT, read_regular
from patchbank.memory.calibration import Thresholds
from patchbank.metrics import ImageMetrics, PixelMetrics, Rates
from patchbank.printable import printable
from patchbank.reports.evaluation_charts import write_evaluation_charts
from patchbank.reports.explain import explain
from patchbank.reports.pictures import SimilarImage
from patchbank.reports.writing import replace_text, writing_report
from patchbank.vision.own_pictures import own_mark

if TYPE_CHECKING:
    from jinja2 import Template

PAGE_NAME = "index.html"
# Each writing makes its own folder, so that the page in place keeps its pictures until the new page
# replaces it in one step.
_PICTURES = re.compile(r"pictures-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One judged image of a gallery, with the picture `heatmap_picture` made of it."""

    name: str
    kind: str
    verdict: str
    score: float
    picture: Image.Image
    p_value: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class PassEvidence:
    """An image that passes and the known-good images most like it, most similar first."""

    case: Case
    similar: Sequence[SimilarImage]


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationPage:
    """What the page of an evaluation shows.

    Attributes
    ----------
    title, lead
        Heading, and what was evaluated in a sentence or two.
    images, rates, pixels
        The figures; `pixels` where masks exist.
    thresholds
        Of the image score.
    good_scores, anomalous_scores
        (n,) and (m,) scores of the images judged.
    requested_false_alarm_rate
        The rate the threshold was set for, 0 to 1.
    misses, false_alarms, finds
        Anomalous images that pass, lowest score first; good ones that fail, highest first;
        anomalous ones that fail, highest first.
    evidence
        An image that passes, with its similar images.
    facts
        Name and value of what a reader needs to repeat this: data set, split, settings, times.
    warnings
        What was odd, one line each.
    credits
        Licence and citation of the images.
    """

    title: str
    lead: str
    images: ImageMetrics
    rates: Rates
    thresholds: Thresholds
    good_scores: npt.NDArray[np.floating]
    anomalous_scores: npt.NDArray[np.floating]
    pixels: PixelMetrics | None = None
    requested_false_alarm_rate: float | None = None
    misses: Sequence[Case] = ()
    false_alarms: Sequence[Case] = ()
    finds: Sequence[Case] = ()
    evidence: PassEvidence | None = None
    facts: Sequence[tuple[str, str]] = ()
    warnings: Sequence[str] = ()
    credits: Sequence[str] = field(default=())

    def __post_init__(self) -> None:
        expected = (self.images.good, self.images.anomalous)
        actual = (len(self.good_scores), len(self.anomalous_scores))
        if expected != actual:
            raise ValueError(f"expected {expected} good and anomalous scores, got {actual}")


def write_evaluation_page(folder: str | Path, page: EvaluationPage) -> Path:
    """Write ``index.html`` and its pictures into a folder and return the path of the page.

    A page already there is replaced in one step, and stays whole when the writing is interrupted.

    Raises
    ------
    MissingExtraError
        If the extra `report` is not installed.
    DiskFullError, ReportError
        If the folder cannot be written.
    """
    target = Path(folder)
    pictures = target / f"pictures-{secrets.token_hex(6)}"
    index = target / PAGE_NAME
    try:
        with writing_report(folder):
            pictures.mkdir(parents=True)
            text = _Writer(pictures).html(page)
            replaced = _pictures_of(index)
            replace_text(index, text)
    except BaseException:
        shutil.rmtree(pictures, ignore_errors=True)
        raise
    for old in replaced:
        shutil.rmtree(target / old, ignore_errors=True)
    return index


def _pictures_of(index: Path) -> set[str]:
    """Return the picture folders an earlier page of ours refers to."""
    if not index.is_file():
        return set()
    text = read_regular(index, LARGEST_TEXT).decode("utf-8", "replace")
    return set(_PICTURES.findall(text))


def template(name: str) -> Template:
    """Return a page's template; what it shows is escaped.

    Raises
    ------
    MissingExtraError
        If the extra `report` is not installed.
    """
    try:
        import jinja2
    except ImportError:
        raise MissingExtraError(
            "the report needs jinja2; run: pip install 'patchbank[report]'"
        ) from None
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("patchbank.reports"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        # Markup is a string of another class.
        finalize=lambda value: printable(value) if type(value) is str else value,
    )
    return environment.get_template(name)


class _Writer:
    """Writes the pictures of one page, under names of its own: those of images are not trusted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def html(self, page: EvaluationPage) -> str:
        return template("evaluation.html.j2").render(
            page=page,
            rows=explain(page.images, page.rates, page.pixels, page.requested_false_alarm_rate),
            charts=self._charts(page),
            evidence=self._evidence(page.evidence),
            galleries=[
                self._gallery(
                    "miss",
                    "Worst misses",
                    "Anomalous images that pass, lowest score first.",
                    page.misses,
                ),
                self._gallery(
                    "false-alarm",
                    "Worst false alarms",
                    "Good images that fail, highest score first.",
                    page.false_alarms,
                ),
                self._gallery(
                    "find",
                    "Clearest finds",
                    "Anomalous images that fail, highest score first.",
                    page.finds,
                ),
            ],
        )

    def _gallery(self, stem: str, title: str, text: str, cases: Sequence[Case]) -> dict[str, Any]:
        shown = [self._case(f"{stem}-{number}", case) for number, case in enumerate(cases, 1)]
        return {"title": title, "text": text, "cases": shown}

    def _case(self, stem: str, case: Case) -> dict[str, Any]:
        note = f"score {case.score:.4g}"
        if case.p_value is not None:
            note += f", p-value {case.p_value:.3f}"
        return {
            "file": self._save(stem, case.picture),
            "width": case.picture.width,
            "height": case.picture.height,
            "name": case.name,
            "kind": case.kind,
            "verdict": case.verdict,
            "note": note,
            "alt": f"{case.name} beside its anomaly map; verdict {case.verdict}, "
            f"score {case.score:.4g}",
        }

    def _evidence(self, evidence: PassEvidence | None) -> dict[str, Any] | None:
        if evidence is None:
            return None
        return {
            "case": self._case("pass", evidence.case),
            "similar": [
                {
                    "file": self._save(f"similar-{number}", Image.fromarray(image.pixels)),
                    "name": image.name,
                    "short_name": image.name.rsplit("/", 1)[-1],
                    "similarity": f"{image.similarity:.4f}",
                    "alt": f"known-good image {image.name}, similarity {image.similarity:.4f}",
                }
                for number, image in enumerate(evidence.similar, 1)
            ],
        }

    def _charts(self, page: EvaluationPage) -> list[dict[str, str]]:
        drawn = write_evaluation_charts(
            self._folder,
            page.images,
            page.rates,
            page.thresholds,
            page.pixels,
            page.good_scores,
            page.anomalous_scores,
        )
        return [
            {
                "light": self._link(self._folder / chart.light),
                "dark": self._link(self._folder / chart.dark),
                "alt": chart.alt,
                "caption": chart.caption,
            }
            for chart in drawn
        ]

    def _save(self, stem: str, picture: Image.Image) -> str:
        file = self._folder / f"{stem}.png"
        picture.save(file, compress_level=4, **own_mark(".png"))
        return self._link(file)

    def _link(self, file: Path) -> str:
        return f"{self._folder.name}/{file.name}"
