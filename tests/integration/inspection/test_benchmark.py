"""A benchmark of two small categories: what it keeps, what it does again, what its page shows."""

from __future__ import annotations

import csv
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from patchbank.datasets.marker import image_marker, write_marker
from patchbank.datasets.samples import CategorySamples, Sample
from patchbank.errors import DatasetError, ParameterError, ReportError
from patchbank.inspection.measuring import benchmark as module
from patchbank.inspection.measuring import sections
from patchbank.inspection.measuring.benchmark import Benchmark
from patchbank.inspection.measuring.benchmark_results import CategoryResult
from patchbank.inspection.measuring.evaluate import evaluate_category
from patchbank.inspection.measuring.figures import FIGURES, Failed
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.workspace import Workspace
from tests.fixtures.browser import opened_page
from tests.fixtures.surfaces import Surfaces, brushed

if TYPE_CHECKING:
    from playwright.sync_api import Browser

HOSTILE = "<img src=x>"


@pytest.fixture(scope="module")
def workspace(graphs_home: Path) -> Iterator[Workspace]:
    with Workspace(home=graphs_home) as opened:
        yield opened


@pytest.fixture(scope="module")
def root(surfaces: Surfaces, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sound categories, one of MVTec AD's names, and one whose train images are texts."""
    folder = tmp_path_factory.mktemp("set")
    for name in ("tile", HOSTILE, "z-broken"):
        shutil.copytree(surfaces.root / "brushed", folder / name)
    (folder / "tile" / "test" / "scratch" / "text.png").write_text("no picture")
    for file in (folder / "z-broken" / "train" / "good").iterdir():
        file.write_text("no picture")
    return folder


def make(workspace: Workspace, root: Path, folder: Path, *names: str, **options: Any) -> Benchmark:
    restart, limit = options.pop("restart", False), options.pop("aupro_limit", None)
    return Benchmark(
        workspace,
        root,
        names or None,
        make_fit_settings(image_size=96, **options),
        folder,
        restart=restart,
        aupro_limit=limit,
    )


@pytest.fixture(scope="module")
def done(workspace: Workspace, root: Path, tmp_path_factory: pytest.TempPathFactory) -> Benchmark:
    made = make(workspace, root, tmp_path_factory.mktemp("out") / "näme #1 %20")
    assert [type(one) for one in made.run()] == [CategoryResult, CategoryResult, Failed]
    return made


@pytest.fixture
def copied(done: Benchmark, tmp_path: Path) -> Path:
    """What the benchmark left, for a test to change."""
    return Path(shutil.copytree(done.report.folder, tmp_path / "out"))


def test_results_are_saved_as_json_and_csv(done: Benchmark) -> None:
    document = json.loads((done.report.folder / "results.json").read_text("utf-8"))
    by_name = {one["category"]: one for one in document["categories"]}
    assert set(by_name) == {"tile", HOSTILE}
    assert [one["category"] for one in document["failed"]] == ["z-broken"]
    assert document["average"]["image_auroc"] == by_name["tile"]["image_auroc"] == 1.0
    assert document["synthetic"] is False
    assert document["versions"]["patchbank"]
    assert by_name["tile"]["fit_seconds"] > 0
    assert by_name["tile"]["milliseconds_per_image"] > 0
    titles = [one["title"] for one in by_name["tile"]["published"]]
    assert "PatchCore's authors" in titles
    assert by_name[HOSTILE]["published"] == []
    with (done.report.folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["category"] for row in rows] == [HOSTILE, *["tile"] * 4, "average"]
    authors = next(row for row in rows if row["source"] == "PatchCore's authors")
    assert float(authors["image_auroc"]) == 0.9949
    assert authors["average_precision"] == ""
    with (done.report.folder / done.report.results[1].place / "images.csv").open(
        encoding="utf-8"
    ) as file:
        images = list(csv.DictReader(file))
    assert len(images) == 16
    assert {row["label"] for row in images} == {"good", "anomalous"}


def test_what_is_done_is_not_done_again(
    workspace: Workspace, root: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: object, **options: object) -> None:
        raise AssertionError("fitted again")

    before = {path: path.stat().st_mtime_ns for path in (copied / "categories").rglob("*")}
    monkeypatch.setattr(module, "evaluate_category", refuse)
    again = make(workspace, root, copied, "tile", HOSTILE)
    assert all(isinstance(one, CategoryResult) and one.kept for one in again.run())
    assert {path: path.stat().st_mtime_ns for path in (copied / "categories").rglob("*")} == before
    assert again.report.page.read_text("utf-8").count("result of an earlier run") == 2
    saved = json.loads((copied / "results.json").read_text("utf-8"))
    assert all(one["kept_from_before"] for one in saved["categories"])
    assert again.report.results[0].evaluation.value("image_auroc") == 1.0
    assert any("text.png" in one for one in again.report.results[0].evaluation.remarks)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"coreset_ratio": 0.2}, "settings"),
        ({"ignore_box": ["0,0,20,20"]}, "settings, fingerprint"),
        ({"aupro_limit": 0.05}, "AUPRO limit"),
        ({"restart": True}, ""),
    ],
)
def test_a_changed_setting_has_it_done_again(
    workspace: Workspace, root: Path, copied: Path, change: dict[str, Any], reason: str
) -> None:
    made = make(workspace, root, copied, "tile", **change)
    (result,) = made.run()
    assert isinstance(result, CategoryResult)
    assert ("inspected: not " in made.report.measured()) == ("ignore_box" in change)
    assert not result.kept
    assert result.again == (f"changed since the earlier run: {reason}" if reason else "")
    # Published figures for AUPRO are up to the usual limit, 0.3.
    assert ("aupro" in dict(result.published[0][1])) == ("aupro_limit" not in change)
    (kept,) = make(workspace, root, copied, "tile", **{**change, "restart": False}).run()
    assert isinstance(kept, CategoryResult)
    assert kept.kept


@pytest.mark.parametrize("fault", ["image changed", "mask changed", "damaged", "picture gone"])
def test_what_does_not_hold_any_more_is_done_again(
    workspace: Workspace, surfaces: Surfaces, done: Benchmark, copied: Path, root: Path, fault: str
) -> None:
    place = copied / next(
        one.place for one in done.report.results if one.evaluation.category == "tile"
    )
    touched = None
    if fault == "image changed":
        touched = root / "tile" / "test" / "good" / "000.png"
    elif fault == "mask changed":
        touched = root / "tile" / "ground_truth" / "scratch" / "000_mask.png"
    elif fault == "damaged":
        (place / "result.json").write_text('{"identity":')
    else:
        (place / "roc-light.svg").unlink()
    state = None if touched is None else touched.stat()
    if touched is not None:
        os.utime(touched, ns=(1, 1))
    try:
        (result,) = make(workspace, root, copied, "tile").run()
    finally:
        if touched is not None and state is not None:
            os.utime(touched, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert isinstance(result, CategoryResult)
    assert not result.kept
    assert result.again
    assert (place / "roc-light.svg").is_file()
    assert sorted(path.name for path in copied.iterdir()) == sorted(
        path.name for path in done.report.folder.iterdir()
    )


def test_an_interrupted_category_leaves_what_was_kept(
    workspace: Workspace, root: Path, copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = sorted(path.relative_to(copied) for path in copied.rglob("*"))

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sections, "write_galleries", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(make(workspace, root, copied, "tile", restart=True).run())
    assert sorted(path.relative_to(copied) for path in copied.rglob("*")) == before
    monkeypatch.undo()
    (result,) = make(workspace, root, copied, "tile").run()
    assert isinstance(result, CategoryResult)
    assert result.kept


def test_synthetic_images_are_labelled_and_have_no_published_figures(
    workspace: Workspace, root: Path, tmp_path: Path
) -> None:
    shutil.copytree(root / "tile", tmp_path / "set" / "tile")
    write_marker(tmp_path / "set", {})
    made = make(workspace, tmp_path / "set", tmp_path / "out")
    (result,) = made.run()
    assert isinstance(result, CategoryResult)
    assert result.evaluation.label == "tile (synthetic)"
    assert made.report.average().label == "average (synthetic)"
    assert result.to_json()["synthetic"] is True
    assert result.published == ()
    text = made.report.page.read_text("utf-8")
    assert "drawn by code" in text
    assert "Published" not in text
    assert text.count("tile (synthetic)") == 2
    csv_text = (made.report.folder / "results.csv").read_text("utf-8")
    assert "PatchCore" not in csv_text
    assert csv_text.count("synthetic images") == 2


def test_a_synthetic_category_beside_a_real_one_has_no_published_figures(
    workspace: Workspace, root: Path, tmp_path: Path
) -> None:
    """Copied from its set, it is known by its images."""
    for name in ("tile", "wood"):
        shutil.copytree(root / "tile", tmp_path / "set" / name)
    for file in (tmp_path / "set" / "wood" / "test").rglob("0*.png"):
        Image.open(file).save(file, pnginfo=image_marker())
    made = make(workspace, tmp_path / "set", tmp_path / "out")
    tile, wood = made.run()
    assert isinstance(tile, CategoryResult)
    assert isinstance(wood, CategoryResult)
    assert [one.evaluation.label for one in (tile, wood)] == ["tile", "wood (synthetic)"]
    assert len(tile.published) == 3
    assert wood.published == ()
    with (tmp_path / "out" / "results.csv").open(encoding="utf-8", newline="") as file_:
        sources = [row["source"] for row in csv.DictReader(file_) if row["category"] == "wood"]
    assert sources == ["patchbank, synthetic images"]


@pytest.fixture
def private(surfaces: Surfaces, tmp_path: Path) -> Path:
    """A manifest with images that have no label, whose names differ by little."""
    folder = tmp_path / "set"
    shutil.copytree(surfaces.train, folder / "train")
    for number, name in enumerate(("test/000.png", "test/000.tif", "../test/000.png")):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(brushed(100 + number)).save(folder / name)
    lines = [f"train/{file.name},good,train" for file in sorted((folder / "train").iterdir())]
    lines += ["test/000.png,unknown,test", "test/000.tif,unknown,test"]
    lines += ["../test/000.png,unknown,test"]
    (folder / "can.csv").write_text("\n".join(["path,label,split", *lines]) + "\n")
    return folder / "can.csv"


def private_benchmark(
    workspace: Workspace, private: Path, folder: Path, **options: Any
) -> Benchmark:
    settings = make_fit_settings(image_size=96, **options)
    return Benchmark(workspace, private, None, settings, folder, dataset="manifest")


def test_each_image_without_a_label_has_a_map_of_its_own(
    workspace: Workspace, private: Path, tmp_path: Path
) -> None:
    (result,) = private_benchmark(workspace, private, tmp_path / "out").run()
    assert isinstance(result, CategoryResult)
    assert result.score_maps == 3
    maps = sorted((tmp_path / "out").rglob("*.tiff"))
    assert len(maps) == 3
    assert len({np.asarray(Image.open(path)).tobytes() for path in maps}) == 3
    assert all(path.is_relative_to(tmp_path / "out" / result.place / "maps") for path in maps)


def test_an_interrupt_leaves_the_maps_that_were_kept(
    workspace: Workspace, private: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The maps of other settings are not taken for those of the settings kept."""
    out = tmp_path / "out"
    list(private_benchmark(workspace, private, out).run())
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(sections, "write_galleries", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(private_benchmark(workspace, private, out, coreset_ratio=0.02).run())
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    monkeypatch.undo()
    (result,) = private_benchmark(workspace, private, out).run()
    assert isinstance(result, CategoryResult)
    assert result.kept


def test_labelled_images_get_maps_where_all_are_asked_for(
    workspace: Workspace, root: Path, copied: Path
) -> None:
    settings = make_fit_settings(image_size=96)

    def run(*, all_maps: bool) -> CategoryResult:
        made = Benchmark(workspace, root, ["tile"], settings, copied, all_maps=all_maps)
        (result,) = made.run()
        assert isinstance(result, CategoryResult)
        return result

    first = run(all_maps=True)
    assert first.again == "changed since the earlier run: all maps"
    assert first.score_maps == 16
    maps = copied / first.place / "maps" / "tile" / "test"
    assert len(list(maps.rglob("*.tiff"))) == 16
    with Image.open(maps / "scratch" / "003.tiff") as found:
        scores = np.asarray(found)
    with Image.open(root / "tile" / "ground_truth" / "scratch" / "003_mask.png") as found:
        mask = np.asarray(found) > 0
    assert scores[mask].mean() > 1.2 * scores[~mask].mean()
    # Who does not ask for them takes a result that has them.
    assert run(all_maps=True).kept
    assert run(all_maps=False).kept
    assert (maps / "good" / "000.tiff").is_file()


def test_two_benchmarks_do_not_write_to_one_folder(
    workspace: Workspace, root: Path, copied: Path
) -> None:
    left = copied / "categories" / ".tile-0.0123abcd.draft"
    left.mkdir()
    first = make(workspace, root, copied, "tile", HOSTILE).run()
    next(first)
    assert not left.exists()
    with pytest.raises(
        ReportError, match=r"another benchmark is writing to .*; wait until it ends"
    ):
        next(make(workspace, root, copied, "tile").run())
    list(first)
    (result,) = make(workspace, root, copied, "tile").run()
    assert isinstance(result, CategoryResult)


def test_a_mask_that_marks_nothing_is_a_remark(
    workspace: Workspace, root: Path, tmp_path: Path
) -> None:
    """Its image would count as good pixels, and the defect in it as false alarms."""
    shutil.copytree(root / "tile", tmp_path / "set" / "tile")
    mask = tmp_path / "set" / "tile" / "ground_truth" / "scratch" / "003_mask.png"
    Image.fromarray(np.zeros((96, 96), dtype=np.uint8)).save(mask)
    (black,) = make(workspace, tmp_path / "set", tmp_path / "out").run()
    assert isinstance(black, CategoryResult)
    (remark,) = [one for one in black.evaluation.remarks if "003_mask.png" in one]
    assert remark.startswith("tile/test/scratch/003.png is not counted in the pixel figures: mask")
    (tmp_path / "set" / "tile" / "test" / "scratch" / "003.png").unlink()
    mask.unlink()
    (without,) = make(workspace, tmp_path / "set", tmp_path / "out").run()
    assert isinstance(without, CategoryResult)
    for figure in ("pixel_auroc", "aupro"):
        assert black.evaluation.value(figure) == without.evaluation.value(figure)


def test_images_without_a_label_get_a_map(workspace: Workspace, tmp_path: Path) -> None:
    """All of a private test set, or a part of a test set."""
    samples = []
    for number in range(14):
        path = tmp_path / f"{number}.png"
        Image.fromarray(brushed(number, scratched=number == 13)).save(path)
        split, kind = ("train", "good") if number < 12 else ("test", "private")
        label = "good" if number < 12 else "unknown"
        samples.append(Sample(path, f"can/{split}/{number}.png", label, kind, split))  # type: ignore[arg-type]
    written = {}
    found = evaluate_category(
        workspace,
        CategorySamples("can", tuple(samples[:12]), tuple(samples[12:])),
        make_fit_settings(image_size=96),
        write_map=lambda sample, scores: written.update({sample.name: scores}),
    )
    assert sorted(written) == ["can/test/12.png", "can/test/13.png"]
    assert all(one.shape == (96, 96) for one in written.values())
    assert written["can/test/13.png"].max() > 1.5 * written["can/test/12.png"].max()
    summary = found.summary()
    assert summary.value("image_auroc") is None
    assert summary.value("recall") is None
    assert summary.facts["test_unlabelled"] == 2


def test_a_name_that_is_not_utf8_is_kept_and_found(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    name = os.fsdecode(b"bad\xff")
    shutil.copytree(surfaces.root / "brushed", tmp_path / "set" / name)
    first = make(workspace, tmp_path / "set", tmp_path / "out")
    again = make(workspace, tmp_path / "set", tmp_path / "out")
    for made, kept in ((first, False), (again, True)):
        (result,) = made.run()
        assert isinstance(result, CategoryResult)
        assert result.kept is kept
        assert result.evaluation.category == name
    assert r"bad\udcff" in again.report.page.read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"aupro_limit": 0.0}, ParameterError),
        ({"names": ("tyle",)}, DatasetError),
    ],
)
def test_mistakes_are_found_before_anything_is_written(
    workspace: Workspace,
    root: Path,
    tmp_path: Path,
    options: dict[str, Any],
    error: type[Exception],
) -> None:
    names = options.pop("names", ())
    with pytest.raises(error):
        make(workspace, root, tmp_path / "out", *names, **options)
    assert not (tmp_path / "out").exists()


@pytest.fixture(params=[(1400, "light"), (1400, "dark"), (400, "light")])
def opened(request: Any, done: Benchmark, browser: Browser) -> Iterator[tuple[Any, list[str]]]:
    """The page at a width and a colour scheme, and what went wrong while it loaded."""
    width, scheme = request.param
    with opened_page(browser, done.report.page, width, scheme) as lent:
        yield lent


def test_the_page_loads_whole_and_fits(opened: tuple[Any, list[str]], done: Benchmark) -> None:
    tab, problems = opened
    assert problems == []
    shown = tab.evaluate("[...document.images].map(i => [i.naturalWidth, i.alt, i.currentSrc])")
    # Four charts; four cases of three kinds with four pictures, the good ones without a mask.
    assert len(shown) == 2 * (4 + 4 * (4 + 4 + 3))
    assert all(width > 0 and alt for width, alt, _ in shown)
    wide, inner = tab.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert wide <= inner
    outside = tab.evaluate(
        """[...document.querySelectorAll('body *')]
            .filter(e => e.getBoundingClientRect().right > innerWidth + 1)
            .filter(e => !e.closest('.scroll')).map(e => e.tagName + '.' + e.className)"""
    )
    assert outside == []
    panels = tab.locator(".panels").first.evaluate(
        "e => new Set([...e.children].map(c => Math.round(c.getBoundingClientRect().top))).size"
    )
    assert panels == (1 if inner > 1000 else 2)


def test_the_table_leads_to_the_sections(opened: tuple[Any, list[str]], done: Benchmark) -> None:
    tab, _ = opened
    rows = tab.locator("table.numbers tbody tr")
    assert rows.count() == 2 + 3 + 1
    assert tab.locator("tr.published").count() == 3
    assert rows.first.locator("td").count() == len(FIGURES)
    assert HOSTILE in tab.locator("h2").all_inner_texts()
    assert tab.locator("script").count() == 0
    tab.get_by_role("link", name="tile", exact=True).click()
    place = done.report.results[1].place.rsplit("/", 1)[-1]
    assert tab.url.endswith(f"#{place}")
    assert tab.locator(f"#{place} h2").inner_text() == "tile"
    sources = tab.locator("li", has_text="patchcore-inspection").first.inner_text()
    assert "arXiv 2106.08265" in sources
    assert "z-broken" in tab.get_by_label("Failures").inner_text()


def test_the_overlay_shows_where_the_mask_is(done: Benchmark) -> None:
    """Of the clearest find: the map is brightest inside the mask."""
    folder = done.report.folder / done.report.results[0].place
    panels = done.report.results[0].page["galleries"][2]["cases"][0]["panels"]
    mask = np.asarray(Image.open(folder / panels["mask"]).convert("L")) > 127
    brightness = np.asarray(Image.open(folder / panels["map"]).convert("L"), dtype=np.float64)
    assert brightness[mask].mean() > brightness[~mask].mean() + 40
