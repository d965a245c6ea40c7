"""The page of an evaluation, in a real browser, from real images."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets.demo import demo_split
from patchbank.errors import DiskFullError, MissingExtraError, ReportError
from patchbank.inspection.measuring.figures import FIGURES, Evaluation
from patchbank.inspection.measuring.sections import section_of
from patchbank.memory.calibration import Thresholds
from patchbank.metrics import ImageMetrics, PixelScores, Rates, image_metrics, rates_at
from patchbank.reports.colours import colour_table
from patchbank.reports.evaluation_charts import write_evaluation_charts
from patchbank.reports.galleries import (
    Gallery,
    ShownCase,
    charts_to_json,
    write_evidence,
    write_galleries,
)
from patchbank.reports.page import EvaluationPage, new_pictures, write_page
from patchbank.reports.pictures import SimilarImage
from tests.fixtures.browser import comes_true, opened_page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<img src=x onerror=\"document.title='broken'\">&amp;'" + "long/" * 60 + "1.png"
THRESHOLD = 2.0


def evaluation(images: ImageMetrics, rates: Rates, **values: float | None) -> Evaluation:
    """Return figures of a category as an evaluation would."""
    alarms, recall = rates.false_alarm_rate, rates.recall
    known = {
        "image_auroc": images.image_auroc,
        "average_precision": images.average_precision,
        "f1_max": images.f1_max,
        "false_alarm_rate": None if alarms is None else alarms.value,
        "recall": None if recall is None else recall.value,
        **values,
    }
    return Evaluation(
        category="cell-mono",
        values={figure.key: known.get(figure.key) for figure in FIGURES},
        facts={
            **Thresholds(THRESHOLD, THRESHOLD).to_json(),
            "requested_false_alarm_rate": 0.01,
            "false_alarm_rate_interval": None if alarms is None else [alarms.low, alarms.high],
            "recall_interval": None if recall is None else [recall.low, recall.high],
            "train_images": 30,
            "test_good": images.good,
            "test_anomalous": images.anomalous,
            "bank_size": 1_000,
            "kinds": [
                {
                    "kind": kind,
                    "images": 5,
                    "failed": failed,
                    "recall": failed / 5,
                    "recall_interval": [failed / 10, 1.0],
                    "image_auroc": 0.75,
                }
                for kind, failed in (("crack", 4), (HOSTILE, 2))
            ],
        },
        remarks=(HOSTILE,),
    )


def cases(mask: bool) -> list[ShownCase]:
    """Return some real cells with their darkness as anomaly maps."""
    shown = []
    known = (("good", "fail"), ("anomalous", "pass"), ("anomalous", "fail"))
    for sample, (label, verdict) in zip(demo_split("mono").test[:3], known, strict=True):
        with Image.open(sample.path) as image:
            pixels = np.asarray(image.convert("RGB"))
        dark = (255 - pixels[..., 0].astype(np.float32)) / np.float32(64)
        spot = np.zeros(dark.shape, np.bool_)
        spot[100:150, 90:200] = True
        shown.append(
            ShownCase(
                name=HOSTILE, kind="crack", verdict=verdict, score=2.5,
                rarity="of 3 good parts none scored this high", pixels=pixels,
                anomaly_map=dark, mask=spot if mask else None,
                region_peaks=(3.25, 2.5, 2.25, 2.125), label=label,
            )
        )  # fmt: skip
    return shown


def write(folder: Path, *, small: bool = False, title: str = "Solar cells") -> Path:
    """Write a page of 20 good and 10 anomalous images into a folder."""
    scores = np.concatenate([np.linspace(0, 2.1, 20), np.linspace(1, 4, 10)])
    labels = np.arange(30) >= 20
    images, rates = image_metrics(labels, scores), rates_at(labels, scores, THRESHOLD)
    pixels = PixelScores()
    shown = cases(mask=True)
    assert shown[0].mask is not None
    pixels.add(shown[0].anomaly_map, shown[0].mask)
    found = pixels.metrics()
    with new_pictures(folder) as pictures:
        charts = write_evaluation_charts(
            pictures, images, rates, Thresholds(THRESHOLD, THRESHOLD), found, scores[~labels],
            scores[labels],
        )  # fmt: skip
        galleries = [Gallery("best", "Clearest finds", "", shown[:1] if small else shown)]
        evidence = None
        if not small:
            similar = [SimilarImage(HOSTILE, 0.9, case.pixels) for case in shown]
            evidence = write_evidence(pictures, cases(mask=False)[0], similar, THRESHOLD)
        section = section_of(
            evaluation(images, rates, aupro=found.aupro),
            pictures.name,
            {
                "map_threshold": THRESHOLD,
                "charts": charts_to_json(charts),
                "galleries": write_galleries(pictures, galleries, THRESHOLD),
            },
            evidence=evidence,
        )
        page = EvaluationPage(
            title=title,
            lead="What was learned from good cells, and how well it tells cracked ones.",
            sections=[section],
            facts=[("data set", "ELPV"), ("x" * 80, "y" * 300)],
            credits=["ELPV data set, CC BY-NC-SA 4.0"],
        )
        return write_page(folder, page)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("a report") / "näme #1 %20")


@pytest.fixture(params=[(1400, "light"), (1400, "dark"), (400, "light")])
def opened(request: Any, written: Path, browser: Browser) -> Iterator[tuple[Any, list[str]]]:
    """Return the page at a width and a colour scheme, and the errors while it loaded."""
    width, scheme = request.param
    with opened_page(browser, written, width, scheme) as lent:
        yield lent


def test_the_page_loads_whole(opened: tuple[Any, list[str]]) -> None:
    tab, problems = opened
    assert problems == []
    assert tab.title() == "Solar cells"
    shown = tab.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt, i.currentSrc])")
    assert len(shown) == 4 + 3 * 4 + 3 + 3
    assert all(width > 0 for width, _, _ in shown)
    assert all(len(alt) > 8 for _, alt, _ in shown)
    dark = tab.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    charts = [source for _, _, source in shown if source.endswith(".svg")]
    assert all(source.endswith(f"-{'dark' if dark else 'light'}.svg") for source in charts)


def test_paper_is_white_on_a_dark_screen_too(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    tab.emulate_media(media="print")
    try:
        assert tab.evaluate("getComputedStyle(document.body).color") == "rgb(28, 32, 38)"
        assert tab.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
        # The browser changes the pictures in its own time.
        assert comes_true(
            tab, "[...document.images].every(i => !i.currentSrc.endsWith('-dark.svg'))"
        )
    finally:
        tab.emulate_media(media="screen")


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


def test_figures_are_those_given(written: Path) -> None:
    text = written.read_text(encoding="utf-8")
    assert "5.0 % (1 of 20)" in text
    assert "the interval includes it" in text
    assert "60.0 % (6 of 10)" in text
    assert "Chance is 0.333 here." in text
    assert text.count("What it means") == 1


def test_maps_are_shown_with_their_colours_and_the_peaks_of_their_regions(
    opened: tuple[Any, list[str]],
) -> None:
    tab, _ = opened
    bar = tab.locator(".scale-bar")
    assert bar.inner_text().split() == ["0.8", "2", "3.2"]
    colours = bar.locator("div").evaluate("bar => getComputedStyle(bar).backgroundImage")
    table = colour_table()
    for end in (0, -1):
        assert "rgb({}, {}, {})".format(*table[end]) in colours
    assert bar.locator("div").evaluate("bar => bar.offsetWidth") > 200
    outcomes = tab.locator(".case .verdict").all_inner_texts()
    assert outcomes == ["FALSE ALARM", "FALSE ALARM", "MISSED", "FAIL"]
    assert "pass" not in (tab.locator(".case .verdict").nth(2).get_attribute("class") or "")
    caption = " ".join(tab.locator(".case .caption").last.inner_text().split())
    assert caption.endswith(
        "of 3 good parts none scored this high, peaks of the regions 3.25, 2.5, 2.25 …"
    )


def test_each_kind_of_defect_has_a_row(opened: tuple[Any, list[str]]) -> None:
    tab, _ = opened
    table = tab.get_by_label("Figures by kind of defect")
    rows = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
    assert rows[0] == ["crack", "4 of 5", "0.8000", "40.0 to 100.0 %", "0.7500"]
    assert rows[1] == [HOSTILE, "2 of 5", "0.4000", "20.0 to 100.0 %", "0.7500"]


def test_a_test_without_anomalies_has_no_recall() -> None:
    scores = np.array([1.0, 2.0, 3.0])
    images, rates = image_metrics([False] * 3, scores), rates_at([False] * 3, scores, THRESHOLD)
    section = section_of(
        evaluation(images, rates), "cells", {"map_threshold": 1, "charts": [], "galleries": []}
    )
    figures = {row.name: row.value for row in section.figures}
    assert figures == {"false alarms": "33.3 % (1 of 3)", "recall": "not known"}


def test_misses_are_said_with_their_interval_and_how_many_go_to_review() -> None:
    anomalous = [False] * 3 + [True] * 4
    scores = [1.0, 1.0, 1.0, 9.0, 9.0, 9.0, 1.0]
    found = evaluation(image_metrics(anomalous, scores), rates_at(anomalous, scores, THRESHOLD))
    found.facts["review_anomalous"] = 1
    pictures = {"map_threshold": 1, "charts": [], "galleries": []}
    (meaning,) = (
        row.meaning for row in section_of(found, "cells", pictures).figures if row.name == "recall"
    )
    # Clopper and Pearson's interval of 1 of 4.
    assert meaning.endswith("Missed: 25.0 % (0.6 to 80.6 %). Of these 1, 1 go to review.")


def test_names_cannot_turn_the_page_s_text(tmp_path: Path) -> None:
    text = write(tmp_path, small=True, title="\u202egnp.ssap\n<b>").read_text(encoding="utf-8")
    assert "<title>\\u202egnp.ssap\\n&lt;b&gt;</title>" in text


def test_a_page_is_replaced_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "heatmaps").mkdir()
    (tmp_path / "heatmaps" / "mine.png").write_bytes(b"mine")
    first = write(tmp_path, small=True)
    before = {path.name for path in tmp_path.iterdir()}
    assert write(tmp_path, small=True) == first
    after = {path.name for path in tmp_path.iterdir()}
    assert len(before) == len(after) == 3
    assert before & after == {"index.html", "heatmaps"}
    links = re.findall(r'(?:src|srcset|href)="(pictures-[^"]+)"', first.read_text("utf-8"))
    assert len(links) == 4 * 2 + 4 * 2
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
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: BaseException,
    expected: type[BaseException],
) -> None:
    index = write(tmp_path, small=True)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    save = Image.Image.save

    def fail_at_a_picture(picture: Image.Image, file: Path, **options: Any) -> None:
        if file.name.startswith("best-1-map"):
            raise fault
        save(picture, file, **options)

    monkeypatch.setattr(Image.Image, "save", fail_at_a_picture)
    with pytest.raises(expected):
        write(tmp_path, small=True)
    assert index.is_file()
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(ReportError, match="taken"):
        write(tmp_path / "taken", small=True)


def test_without_jinja2_the_command_to_install_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtraError, match=r"patchbank\[report\]"):
        write_page(tmp_path, EvaluationPage("", "", sections=(), facts=()))
