"""Banks that change between the steps of an inspection."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

import patchbank
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.workspace import Workspace
from tests.fixtures.surfaces import Surfaces, brushed


@pytest.fixture
def bank(graphs_home: Path, database_url: str) -> Iterator[patchbank.Bank]:
    with patchbank.open("brushed", home=graphs_home, database_url=database_url) as opened:
        yield opened


def test_a_bank_learned_anew_in_the_middle_judges_the_rest(
    workspace: Workspace, bank: patchbank.Bank, surfaces: Surfaces, tmp_path: Path
) -> None:
    bank.fit(surfaces.train, image_size=96)
    paths = []
    for number in range(80):
        paths.append(tmp_path / f"{number:03}.png")
        Image.fromarray(brushed(1000 + number)).save(paths[-1])
    results = []
    for number, result in enumerate(
        Inspector(workspace, "brushed").inspect_many(paths, heatmaps=None)
    ):
        results.append(result)
        if number == 3:
            bank.fit(surfaces.train, image_size=64)
            paths[-1].unlink()
    *judged, lost = results
    assert len(results) == 80
    assert isinstance(lost, patchbank.Refused)
    assert "079.png" in lost.error
    sizes = []
    for path, one in zip(paths, judged, strict=False):
        assert isinstance(one, patchbank.Inspection)
        assert one.image == path.as_posix()
        assert len(one.similar) == 10
        sizes.append(one.anomaly_map.shape[0])
    # First the old bank's, then the new one's, and recorded under the bank that judged.
    assert sizes == sorted(sizes, reverse=True)
    assert set(sizes) == {96, 64}
    recorded = {
        one.image_name: one for one in workspace.database.inspections.recent("brushed", 200)
    }
    assert len(recorded) == len(judged)
    for one in judged:
        assert isinstance(one, patchbank.Inspection)
        assert recorded[one.image].bank_version == one.bank_version
        assert recorded[one.image].score == one.score


def test_many_threads_may_use_one_bank_while_it_is_refitted(
    bank: patchbank.Bank, surfaces: Surfaces, tmp_path: Path
) -> None:
    bank.fit(surfaces.train, image_size=96)
    image = surfaces.scratched / "000.png"
    versions: set[int] = set()
    stop = threading.Event()

    def inspect() -> None:
        while not stop.is_set():
            inspection = bank.inspect(image, heatmaps=tmp_path)
            assert inspection.verdict == "fail"
            assert len(inspection.similar) == 10
            versions.add(inspection.bank_version)

    with ThreadPoolExecutor(3) as threads:
        running = [threads.submit(inspect) for _ in range(3)]
        with patchbank.open(
            "brushed", home=bank._workspace.home, database_url=bank._workspace.database_url
        ) as other:
            for seed in range(3):
                other.fit(surfaces.train, image_size=96, seed=seed)
        stop.set()
        for one in running:
            one.result()
    assert len(versions) >= 2
    assert [path.suffix for path in tmp_path.iterdir()] == [".png"]


def test_fewer_than_no_similar_image_cannot_be_asked_for(
    bank: patchbank.Bank, surfaces: Surfaces
) -> None:
    bank.fit(surfaces.train, image_size=96)
    with pytest.raises(patchbank.PatchbankError, match="top"):
        bank.inspect(surfaces.good / "000.png", top=-1)


def test_mistakes_of_names_are_said_before_any_work(
    bank: patchbank.Bank, surfaces: Surfaces
) -> None:
    images = sorted(surfaces.train.iterdir())[:3]
    for names in (["a", "b"], ["a", "b", "a"], ["a", "b", ""], ["a", "b", "c\0"]):
        with pytest.raises(patchbank.PatchbankError, match="name"):
            bank.fit(images, names=names)
    for wrong in (images[0].read_bytes(), brushed(0), Image.fromarray(brushed(0))):
        with pytest.raises(patchbank.PatchbankError, match="a single image was given"):
            bank.fit(wrong)  # type: ignore[arg-type]
    assert not bank.fitted
    # One path given twice is one image.
    report = bank.fit([*images, images[0]], image_size=96, force=True).last_fit
    assert report is not None
    assert len(report.bank.images) == 3
