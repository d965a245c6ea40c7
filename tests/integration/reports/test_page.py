"""The page of an evaluation, in a real browser, from real images."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from patchbank.datasets.demo import demo_split
from patchbank.datasets.samples import Sample
from patchbank.errors import DiskFullError, MissingExtraError, ReportError
from patchbank.memory.calibration import Thresholds
from patchbank.metrics import PixelScores, image_metrics, rates_at
from patchbank.reports.page import Case, EvaluationPage, PassEvidence, write_evaluation_page
from patchbank.reports.pictures import SimilarImage, heatmap_picture
from tests.fixtures.browser import opened_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<img src=x onerror=\"document.title='broken'\">&amp;'" + "long/" * 60 + "1.png"


def read(sample: Sample) -> npt.NDArray[np.uint8]:
    with Image.open(sample.path) as image:
        return np.asarray(image.convert("RGB"))


class Oddness:
    """How far each pixel is from what it is on good cells: a simple map, but of real defects."""

    def __init__(self, good: list[Sample]) -> None:
        levels = np.stack([self._level(read(sample)) for sample in good])
        self._mean, self._deviation = levels.mean(axis=0), levels.std(axis=0) + 0.02
        self.threshold = float(np.quantile([self.score(read(sample)) for sample in good], 0.9))

    def map(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        odd = np.abs(self._level(pixels) - self._mean) / self._deviation
        return np.asarray(gaussian_filter(odd, 4), dtype=np.float32)

    def score(self, pixels: npt.NDArray[np.uint8]) -> float:
        return float(np.quantile(self.map(pixels), 0.99))

    def judged(self, sample: Sample, name: str) -> Case:
        pixels = read(sample)
        score = self.score(pixels)
        verdict = "fail" if score > self.threshold else "pass"
        picture = heatmap_picture(
            pixels,
            self.map(pixels),
            verdict=verdict,
            score=score,
            thresholds=Thresholds(self.threshold, self.threshold),
            map_threshold=self.threshold,
            name=name,
        )
        return Case(name, sample.kind, verdict, score, picture, p_value=0.25)

    @staticmethod
    def _level(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        grey = pixels[..., 0].astype(np.float32)
        return np.asarray(grey / grey.mean(), dtype=np.float32)


@pytest.fixture(scope="module")
def page() -> EvaluationPage:
    """Thirty real cells, judged by how odd their pixels are."""
    split = demo_split("mono")
    odd = Oddness(list(split.train[:30]))
    good = [sample for sample in split.test if sample.label == "good"][:20]
    bad = [sample for sample in split.test if sample.label == "anomalous"][:10]
    cases = [odd.judged(sample, sample.name) for sample in (*good, *bad)]
    scores = np.array([case.score for case in cases])
    labels = np.array([sample.label == "anomalous" for sample in (*good, *bad)])
    pixels = PixelScores()
    mask = np.zeros((300, 300), dtype=np.bool_)
    mask[100:150, 90:200] = True
    pixels.add(odd.map(read(bad[0])), mask)
    similar = [
        SimilarImage(sample.name, 0.99 - number / 100, read(sample))
        for number, sample in enumerate(split.train[:10])
    ]
    return EvaluationPage(
        title="Solar cells: cell-mono",
        lead="What was learned from good cells, and how well it tells cracked ones.",
        images=image_metrics(labels, scores),
        rates=rates_at(labels, scores, odd.threshold),
        thresholds=Thresholds(odd.threshold, odd.threshold),
        pixels=pixels.metrics(),
        good_scores=scores[~labels],
        anomalous_scores=scores[labels],
        requested_false_alarm_rate=0.01,
        misses=[],
        false_alarms=[odd.judged(good[0], HOSTILE)],
        finds=[case for case in cases[20:] if case.verdict == "fail"][:3],
        evidence=PassEvidence(next(c for c in cases[:20] if c.verdict == "pass"), similar),
        facts=[("data set", "ELPV"), ("x" * 80, "y" * 300)],
        warnings=[HOSTILE],
        credits=["ELPV data set, CC BY-NC-SA 4.0"],
    )


@pytest.fixture(scope="module")
def small(page: EvaluationPage) -> EvaluationPage:
    """A page that is written quickly."""
    return replace(page, finds=(), evidence=None, pixels=None)


@pytest.fixture(scope="module")
def written(page: EvaluationPage, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_evaluation_page(tmp_path_factory.mktemp("a report") / "näme #1 %20", page)


@pytest.fixture(params=[(1400, "light"), (1400, "dark"), (400, "light")])
def opened(request: Any, written: Path, browser: Browser) -> Iterator[tuple[Any, list[str]]]:
    """The page at a width and a colour scheme, and what went wrong while it loaded."""
    width, scheme = request.param
    with opened_page(browser, written, width, scheme) as lent:
        yield lent


def test_the_page_loads_whole(opened: tuple[Any, list[str]], page: EvaluationPage) -> None:
    tab, problems = opened
    assert problems == []
    assert tab.title() == page.title
    shown = tab.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt, i.currentSrc])")
    assert len(shown) == 4 + 1 + 10 + 3 + 1
    assert all(width > 0 for width, _, _ in shown)
    assert all(len(alt) > 10 for _, alt, _ in shown)
    dark = tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    charts = [source for _, _, source in shown if source.endswith(".svg")]
    assert all(source.endswith(f"-{'dark' if dark else 'light'}.svg") for source in charts)


def test_nothing_overflows_sideways(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    wide, inner = tab.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
    outside = tab.evaluate(
        """[...document.querySelectorAll('body *')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .filter(e => !e.closest('.scroll')).map(e => e.tagName + '.' + e.className)"""
    )
    assert outside == []


def test_text_stands_out_from_its_background(opened: tuple[Any, list[str]]) -> None:
    """WCAG's contrast ratio of every text is at least 4.5 to 1."""
    tab, _ = opened
    pairs = tab.evaluate(
        """() => {
            const solid = e => { for (; e; e = e.parentElement) {
                const c = getComputedStyle(e).backgroundColor;
                if (c !== 'rgba(0, 0, 0, 0)') return c; } return 'rgb(255, 255, 255)'; };
            return [...document.querySelectorAll('h1,h2,p,th,td,dt,dd,li,span,a,figcaption')]
                .filter(e => e.innerText.trim())
                .map(e => [getComputedStyle(e).color, solid(e), e.tagName + e.className]); }"""
    )
    assert len(pairs) > 50
    for ink, ground, element in pairs:
        bright, dim = sorted((luminance(ink), luminance(ground)), reverse=True)
        assert (bright + 0.05) / (dim + 0.05) >= 4.5, (element, ink, ground)


def luminance(colour: str) -> float:
    channels = np.array([float(value) for value in re.findall(r"[\d.]+", colour)[:3]]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ np.array([0.2126, 0.7152, 0.0722]))


def test_names_are_text_and_never_markup(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    assert tab.title() != "broken"
    assert HOSTILE in tab.locator("ul.warnings").inner_text()
    assert tab.locator("script").count() == 0


def test_figures_are_those_given(written: Path, page: EvaluationPage) -> None:
    text = written.read_text(encoding="utf-8")
    assert f"{page.images.image_auroc:.4f}" in text
    assert page.rates.recall is not None
    assert f"({page.rates.recall.count} of {page.rates.recall.total})" in text
    assert page.pixels is not None
    assert f"{page.pixels.aupro:.4f}" in text
    assert text.count("<p>None.</p>") == 1  # no misses were given


def test_a_test_without_anomalies_makes_a_page(tmp_path: Path) -> None:
    scores = np.array([1.0, 2.0, 3.0])
    only_good = EvaluationPage(
        title="good only",
        lead="",
        images=image_metrics([False] * 3, scores),
        rates=rates_at([False] * 3, scores, 2.5),
        thresholds=Thresholds(2.5, 2.5),
        good_scores=scores,
        anomalous_scores=np.array([]),
    )
    text = write_evaluation_page(tmp_path, only_good).read_text(encoding="utf-8")
    assert "not known" in text
    assert text.count("<picture>") == 1


def test_names_cannot_turn_the_page_s_text(small: EvaluationPage, tmp_path: Path) -> None:
    turned = replace(small, title="\u202egnp.ssap\n", warnings=("a\u2028b <b>",))
    text = write_evaluation_page(tmp_path, turned).read_text(encoding="utf-8")
    assert "<title>\\u202egnp.ssap\\n</title>" in text
    assert "a\\u2028b &lt;b&gt;" in text


def test_a_page_is_replaced_and_other_files_stay(small: EvaluationPage, tmp_path: Path) -> None:
    (tmp_path / "heatmaps").mkdir()
    (tmp_path / "heatmaps" / "mine.png").write_bytes(b"mine")
    first = write_evaluation_page(tmp_path, small)
    before = {path.name for path in tmp_path.iterdir()}
    assert write_evaluation_page(tmp_path, small) == first
    after = {path.name for path in tmp_path.iterdir()}
    assert len(before) == len(after) == 3
    assert before & after == {"index.html", "heatmaps"}
    links = re.findall(r'(?:src|srcset|href)="(pictures-[^"]+)"', first.read_text("utf-8"))
    assert len(links) == 3 * 2 + 2
    assert all((tmp_path / link).is_file() for link in links)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (KeyboardInterrupt(), KeyboardInterrupt),
        (OSError(errno.ENOSPC, "No space left on device"), DiskFullError),
        (OSError(errno.EACCES, "Permission denied"), ReportError),
    ],
)
def test_an_interrupted_writing_leaves_the_page_in_place(
    small: EvaluationPage,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    expected: type[BaseException],
) -> None:
    index = write_evaluation_page(tmp_path, small)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    save = Image.Image.save

    def fail_at_a_picture(picture: Image.Image, file: Path, **options: Any) -> None:
        if file.name.startswith("false-alarm"):
            raise fault
        save(picture, file, **options)

    monkeypatch.setattr(Image.Image, "save", fail_at_a_picture)
    with pytest.raises(expected):
        write_evaluation_page(tmp_path, small)
    assert index.is_file()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_a_folder_that_is_a_file_is_refused(page: EvaluationPage, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ReportError, match="taken"):
        write_evaluation_page(tmp_path / "taken", page)


def test_without_jinja2_the_command_to_install_it_is_named(
    page: EvaluationPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"patchbank\[report\]"):
        write_evaluation_page(tmp_path / "report", page)


def test_scores_that_do_not_fit_the_figures_are_refused(page: EvaluationPage) -> None:
    with pytest.raises(ValueError, match="expected"):
        EvaluationPage(
            title="",
            lead="",
            images=page.images,
            rates=page.rates,
            thresholds=page.thresholds,
            good_scores=page.good_scores[:-1],
            anomalous_scores=page.anomalous_scores,
        )
