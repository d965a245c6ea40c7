"""A benchmark with several seeds: mean, spread, what is kept, and the tables as text."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from patchbank.errors import ParameterError, ReportError
from patchbank.inspection.measuring import benchmark as module
from patchbank.inspection.measuring.benchmark import Benchmark
from patchbank.inspection.measuring.benchmark_results import CategoryResult
from patchbank.inspection.measuring.evaluate import evaluate_category
from patchbank.inspection.measuring.figures import FIGURES
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from tests.fixtures.surfaces import Surfaces

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def workspace(graphs_home: Path) -> Iterator[Workspace]:
    with Workspace(home=graphs_home) as opened:
        yield opened


@pytest.fixture(scope="module")
def root(surfaces: Surfaces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two categories of MVTec AD's names; half of the good test images count as faint defects."""
    folder = tmp_path_factory.mktemp("set")
    for name in ("tile", "wood"):
        shutil.copytree(surfaces.root / "brushed", folder / name)
        test = folder / name / "test"
        (test / "faint_50%").mkdir()
        for number in range(4):
            file = f"{number:03}.png"
            shutil.move(test / "good" / file, test / "faint_50%" / file)
    return folder


def make(
    workspace: Workspace, root: Path, folder: Path, *seeds: int, names: tuple[str, ...] = ()
) -> Benchmark:
    # Of few patches, the first one matters.
    settings = make_fit_settings(image_size=96, coreset_ratio=0.01)
    return Benchmark(workspace, root, names or None, settings, folder, seeds=seeds)


def results(benchmark: Benchmark) -> list[CategoryResult]:
    done = list(benchmark.run())
    assert all(isinstance(result, CategoryResult) for result in done)
    return [result for result in done if isinstance(result, CategoryResult)]


@pytest.fixture(scope="module")
def done(workspace: Workspace, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    made = make(workspace, root, tmp_path_factory.mktemp("out"), *SEEDS)
    assert [(item.evaluation.category, item.seed) for item in results(made)] == [
        (name, seed) for name in ("tile", "wood") for seed in SEEDS
    ]
    return made


def test_figures_have_a_mean_and_a_spread(done: Benchmark) -> None:
    document = json.loads((done.report.folder / "results.json").read_text("utf-8"))
    assert document["seeds"] == [0, 1, 2]
    tile, wood = document["categories"]
    assert [run["seed"] for run in tile["runs"]] == tile["seeds"] == [0, 1, 2]
    for key in ("image_auroc", "average_precision", "pixel_auroc", "aupro"):
        values = [run[key] for run in tile["runs"]]
        assert tile[key] == pytest.approx(np.mean(values))
        assert tile["spread"][key] == pytest.approx(np.std(values, ddof=1))
        by_seed = [
            (tile["runs"][number][key] + wood["runs"][number][key]) / 2 for number in range(3)
        ]
        assert document["average"][key] == pytest.approx(np.mean(by_seed))
        assert document["average"]["spread"][key] == pytest.approx(np.std(by_seed, ddof=1))
    assert tile["spread"]["image_auroc"] > 0  # the seeds do make a difference here
    faint, scratch = tile["kinds"]
    assert faint["kind"] == "faint_50%"
    areas = [run["kinds"][0]["image_auroc"] for run in tile["runs"]]
    assert faint["image_auroc"] == pytest.approx(np.mean(areas))
    assert faint["spread"]["image_auroc"] == pytest.approx(np.std(areas, ddof=1))
    assert (scratch["images"], scratch["failed"], scratch["spread"]["failed"]) == (8, 8, 0)


def test_published_means_are_over_the_same_categories(done: Benchmark) -> None:
    document = json.loads((done.report.folder / "results.json").read_text("utf-8"))
    authors = document["average"]["published"][0]
    assert authors["title"] == "PatchCore's authors"
    assert authors["image_auroc"] == pytest.approx((0.9949 + 0.9912) / 2)
    with (done.report.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["source"] for row in rows if row["category"] == "tile"][:5] == [
        *(f"patchbank, seed {seed}" for seed in SEEDS),
        "patchbank, mean of 3 seeds",
        "patchbank, standard deviation over 3 seeds",
    ]
    assert rows[-3]["source"] == "PatchCore's authors"
    assert rows[-3]["category"] == "average"
    assert float(rows[-3]["image_auroc"]) == authors["image_auroc"]


def test_each_text_names_network_settings_and_sources(done: Benchmark) -> None:
    area = FIGURES[0]
    tile = done.report.summaries()[0].evaluation
    shown = area.text(tile.value(area.key), tile.spread[area.key])
    assert "±" in shown
    page, markdown, latex = (
        (done.report.folder / name).read_text("utf-8")
        for name in ("index.html", "results.md", "results.tex")
    )
    for text in (page, markdown, latex):
        assert "efficientnet-lite0, layers " in text
        assert "96 pixels, f32, coreset 1 %, score top8, requested false-alarm" in text
        assert "seeds 0, 1, 2; mean ± standard deviation over the seeds" in text
        assert "same 2 of 15 categories" in text
        assert "arXiv 2106.08265" in text
    assert f"| tile | patchbank, efficientnet-lite0 | {shown} |" in markdown
    in_latex = shown.replace("±", r"$\pm$")
    assert f"tile & patchbank, efficientnet-lite0 & {in_latex} &" in latex
    assert r"faint\_50\%" in latex
    assert r"faint\_50%" in markdown
    for name in ("results.md", "results.tex", "results.csv", "results.json"):
        assert f'<a href="{name}">' in page
    assert page.count("<h3>By seed</h3>") == 2


def test_seeds_that_are_kept_are_not_done_again(
    workspace: Workspace,
    root: Path,
    done: Benchmark,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After an interrupt in the second category, and where one more seed is asked for."""
    out = tmp_path / "out"
    shutil.copytree(done.report.folder, out)
    shutil.rmtree(out / done.report.results[-1].place)
    asked: list[int] = []

    def counted(*arguments: Any, **options: Any) -> Any:
        asked.append(arguments[2].seed)
        return evaluate_category(*arguments, **options)

    monkeypatch.setattr(module, "evaluate_category", counted)
    assert [item.kept for item in results(make(workspace, root, out, *SEEDS))] == [True] * 5 + [
        False
    ]
    assert asked == [2]
    (one,) = results(make(workspace, root, out, 1, names=("tile",)))
    assert one.kept
    assert one.evaluation.values == done.report.results[1].evaluation.values


def test_an_interrupt_leaves_what_is_done_in_the_report(
    workspace: Workspace, root: Path, tmp_path: Path
) -> None:
    benchmark = make(workspace, root, tmp_path / "out", 3, 4)
    # The rest is dropped with the iterator, and the folder is free again.
    for _, _result in zip(range(3), benchmark.run(), strict=False):
        pass
    for name in ("index.html", "results.md", "results.tex"):
        assert "1 of 2 seeds" in (tmp_path / "out" / name).read_text("utf-8")
    document = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert [one.get("seeds", one.get("seed")) for one in document["categories"]] == [[3, 4], 3]
    assert "spread" not in document["average"]  # one seed alone is complete


@pytest.mark.parametrize(
    ("seeds", "message"), [((1, 2, 1), "seed 1 is given twice"), ((), "seeds: none given")]
)
def test_seeds_must_differ(
    workspace: Workspace, root: Path, tmp_path: Path, seeds: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        make(workspace, root, tmp_path / "out", *seeds)
    assert not (tmp_path / "out").exists()


def test_a_folder_with_other_files_is_refused(
    workspace: Workspace, root: Path, tmp_path: Path
) -> None:
    (tmp_path / "index.html").write_text("my page")
    with pytest.raises(ReportError, match=r"not a benchmark's, such as index.html; give a new or"):
        make(workspace, root, tmp_path, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["index.html"]
