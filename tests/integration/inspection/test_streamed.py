"""Learning in parts, with the real network on surfaces made by code."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.errors import NoImagesError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning import stream as streamed
from patchbank.inspection.learning.demands import Demands
from patchbank.inspection.learning.fit import fit, save
from patchbank.inspection.learning.gather import References
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.learning.stream import StreamedFit, learn_streamed
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.sources import checked_names
from patchbank.inspection.timing import Stopwatch
from patchbank.inspection.workspace import Workspace
from patchbank.memory.budget import Parts
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.progress import Progress, silent
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor
from tests.fixtures.surfaces import Surfaces, brushed

SETTINGS = make_fit_settings(image_size=96, coreset_ratio=0.05)
PARTS = Parts(count=4, images=7, kept_ratio=0.1)


def in_parts(
    workspace: Workspace, paths: list[Path], *, progress: Progress = silent, parts: Parts = PARTS
) -> StreamedFit:
    extractor = workspace.extractor(SETTINGS.extractor)
    names = checked_names(paths, None)
    rows, columns = extractor.grid_of(1, 1)
    most = rows * columns
    return learn_streamed(
        workspace,
        extractor,
        paths,
        names,
        None,
        most,
        SETTINGS,
        parts,
        Demands(),
        Stopwatch(),
        progress,
    )


def patches_of(extractor: Extractor, paths: list[Path]) -> npt.NDArray[np.float32]:
    found = [one for one in extractor.extract_many(paths) if isinstance(one, Extraction)]
    return np.stack([one.patches.reshape(-1, extractor.dimension) for one in found])


def test_entries_come_from_where_they_say_and_the_bound_is_true(
    workspace: Workspace, surfaces: Surfaces
) -> None:
    paths = sorted(surfaces.train.iterdir())
    result = in_parts(workspace, paths)
    assert [image.name for image in result.references.images] == checked_names(paths, None)
    extractor = workspace.extractor(SETTINGS.extractor)
    patches = patches_of(extractor, paths)
    assert (patches[result.patch_image, result.position] == result.features).all()
    assert len(result.features) == round(0.05 * patches.shape[0] * patches.shape[1])
    assert result.streaming.parts == 4

    rows = patches.reshape(-1, extractor.dimension)
    true_radius = float(NeighbourIndex(result.features).nearest(rows).distances.max())
    assert true_radius <= result.streaming.radius_bound
    # All images were read again, so that the radius is not only bounded but known.
    assert result.covering_radius == pytest.approx(true_radius, rel=1e-6)

    whole = learn(workspace, paths, SETTINGS)
    assert whole.streaming is None
    np.testing.assert_allclose(
        result.embeddings.mean(axis=0), whole.content.embedding_mean, rtol=1e-4
    )
    # Scores of images that the bank does not know, within what a coarser bank changes.
    scores = result.scores.of_image(len(paths))
    assert np.corrcoef(scores, whole.scores)[0, 1] > 0.5
    assert np.median(scores) == pytest.approx(np.median(whole.scores), rel=0.1)


def test_the_result_depends_on_nothing_else(workspace: Workspace, surfaces: Surfaces) -> None:
    paths = sorted(surfaces.train.iterdir())
    first, second = in_parts(workspace, paths), in_parts(workspace, paths)
    assert (first.features == second.features).all()
    assert (first.scores.score == second.scores.score).all()
    assert first.streaming == second.streaming


def test_copies_and_unusable_images_are_refused_under_their_names(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    originals = sorted(surfaces.train.iterdir())[:8]
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    copies = [tmp_path / f"copy-{path.name}" for path in originals]
    for path, copy in zip(originals, copies, strict=True):
        copy.write_bytes(path.read_bytes())
    paths = [*originals, broken, *copies]
    result = in_parts(workspace, paths)
    # Whatever order they were read in, the first of two that are the same is used.
    assert [image.name for image in result.references.images] == checked_names(originals, None)
    assert [image.origin for image in result.references.images] == [
        str(path.absolute()) for path in originals
    ]
    refused = result.references.refused
    assert [one.image for one in refused] == checked_names([broken, *copies], None)
    assert all("used once" in one.error for one in refused[1:])
    assert len(result.embeddings) == len(result.scores) == 8


def test_a_sample_calibrates_where_there_are_very_many(
    workspace: Workspace, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "CALIBRATION_IMAGES", 10)
    paths = sorted(surfaces.train.iterdir())
    result = in_parts(workspace, paths)
    assert len(result.scores) == 10
    assert result.scores.counts.all()
    # Not every image was measured: the bank's radius is the bound.
    assert result.covering_radius == result.streaming.radius_bound
    assert result.streaming.radius_seen < result.streaming.radius_bound


def test_an_image_that_changes_meanwhile_is_left_out_of_the_calibration(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    paths = []
    for path in sorted(surfaces.train.iterdir())[:6]:
        paths.append(tmp_path / path.name)
        paths[-1].write_bytes(path.read_bytes())

    def meddle(stage: str, done: int, total: int) -> None:
        if stage == "put back":
            paths[0].unlink(missing_ok=True)
            Image.fromarray(brushed(999)).save(paths[1])

    result = in_parts(workspace, paths, progress=meddle, parts=Parts(2, 3, 0.1))
    assert sorted(result.scores.image) == [2, 3, 4, 5]

    def remove(stage: str, done: int, total: int) -> None:
        if stage == "put back":
            for path in paths:
                path.unlink(missing_ok=True)

    Image.fromarray(brushed(998)).save(paths[0])
    with pytest.raises(NoImagesError, match="could be read again"):
        in_parts(workspace, paths, progress=remove, parts=Parts(2, 3, 0.1))
    with pytest.raises(NoImagesError, match="at least 2"):
        in_parts(workspace, paths)


@pytest.mark.parametrize(
    "last", ["features", "coresets of parts", "coreset", "put back", "calibrate"]
)
def test_every_stage_can_be_interrupted(
    workspace: Workspace, surfaces: Surfaces, last: str
) -> None:
    def interrupt(stage: str, done: int, total: int) -> None:
        assert 0 <= done <= total
        if stage == last:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        in_parts(workspace, sorted(surfaces.train.iterdir()), progress=interrupt)


def test_references_keep_the_order_of_their_admission(surfaces: Surfaces) -> None:
    paths = sorted(surfaces.train.iterdir())[:3]
    references = References(paths, ["a", "b", "c"])
    with Extractor(SETTINGS.extractor) as extractor:
        for number in (2, 0):
            (result,) = extractor.extract_many([paths[number]])
            assert references.admit(number, result)
        (twin,) = extractor.extract_many([paths[2]])
    assert not references.admit(1, twin)
    assert [image.name for image in references.images] == ["b", "a"]
    assert [one.image for one in references.refused] == ["c"]


def test_a_streamed_bank_is_stored_and_judges(
    workspace: Workspace, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "CALIBRATION_IMAGES", 20)
    # As if memory ended here: the plan of a machine on which 24 small images are too many.
    monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: PARTS)
    paths = sorted(surfaces.train.iterdir())
    bank = learn(workspace, paths, SETTINGS)
    assert bank.streaming is not None
    assert save(workspace, "brushed", bank) == 1
    stored = workspace.database.banks.active("brushed")
    assert (stored.content.features == bank.content.features).all()
    assert (stored.content.patch_image == bank.content.patch_image).all()
    assert np.isnan(stored.content.scores.of_image(24)).sum() == 4
    inspector = Inspector(workspace, "brushed")
    verdicts = [inspector.inspect(path).verdict for path in surfaces.scratched.iterdir()]
    assert verdicts == ["fail"] * len(verdicts)
    good = [inspector.inspect(path).verdict for path in surfaces.good.iterdir()]
    assert good.count("fail") <= 2


@pytest.fixture
def contaminated(surfaces: Surfaces) -> list[Path]:
    """24 good surfaces, and two scratched ones between them."""
    good, scratched = sorted(surfaces.train.iterdir()), sorted(surfaces.scratched.iterdir())
    return [*good[:9], scratched[0], *good[9:], scratched[1]]


def test_a_streamed_fit_is_screened(
    workspace: Workspace, contaminated: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: PARTS)
    plain = fit(workspace, "plain", contaminated, SETTINGS)
    assert plain.bank.streaming is not None
    report = fit(workspace, "brushed", contaminated, SETTINGS, screen=True)
    assert report.bank.streaming is not None
    assert report.screening is not None
    left_out = {image["name"] for image in report.screening.images()}
    assert left_out == {str(contaminated[9]), str(contaminated[25])}
    assert report.screening.unscored == 0
    # The bank is that of the good images, fitted in parts by themselves.
    good = [path for path in contaminated if str(path) not in left_out]
    clean = fit(workspace, "clean", good, SETTINGS).bank
    assert (report.bank.features == clean.features).all()
    assert report.bank.threshold.value == clean.threshold.value < plain.bank.threshold.value
    content = workspace.database.banks.active("brushed").content
    assert {image.name for image in content.images}.isdisjoint(left_out)


def test_screening_says_of_how_many_images_a_streamed_fit_has_no_score(
    workspace: Workspace, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: PARTS)
    monkeypatch.setattr(streamed, "CALIBRATION_IMAGES", 20)
    paths = sorted(surfaces.train.iterdir())
    report = fit(workspace, "brushed", paths, SETTINGS, screen=True)
    assert report.screening is not None
    assert report.screening.unscored == 4
    said = next(text for text in report.bank.remarks if text.startswith("screening"))
    assert said.endswith(
        "; 4 images of this streamed fit have no score and could be left out only by looking "
        "unlike the others"
    )
    document = report.to_json()["screening"]
    assert document["unscored"] == 4
    assert 0 < document["false_alarm_rate_if_good"] < 1


_FIT = """
import json, resource, sys, patchbank
from pathlib import Path
folder, home, url, limit = sys.argv[1:]
with patchbank.open("many", home=home, database_url=url) as bank:
    bank.fit(folder, coreset_ratio=0.02, memory_limit=limit)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
status = Path("/proc/self/status")
if status.exists():
    # On Linux ru_maxrss starts at what the parent had when it made this process.
    peak = next(int(line.split()[1]) for line in status.open() if line.startswith("VmHWM"))
peak *= 1 if sys.platform == "darwin" else 1024
print(json.dumps({**bank.last_fit.to_json(), "peak": peak}))
"""


@pytest.mark.slow
def test_a_fit_stays_under_its_limit(
    workspace: Workspace, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(300):
        Image.fromarray(brushed(number)).save(tmp_path / f"{number:03}.png")

    # As users start it: NumPy's threads take memory too.
    environment = {k: v for k, v in os.environ.items() if k != "OPENBLAS_NUM_THREADS"}

    def fit(limit: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-c", _FIT, str(tmp_path), str(workspace.home), database_url, limit],
            capture_output=True,
            text=True,
            env=environment,
        )

    # The first fit after an installation compiles, which takes memory of its own.
    monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: PARTS)
    learn(workspace, sorted(tmp_path.iterdir())[:24], make_fit_settings())
    refused = fit("100MB").stderr.splitlines()[-1]
    found = re.search(r"use --memory-limit (\d+)MB or more", refused)
    assert found is not None, refused
    # The remedy works, and little more memory does not yet hold all patches at once.
    outcome = fit(f"{found[1]}MB")
    assert outcome.returncode == 0, outcome.stderr
    document: dict[str, Any] = json.loads(outcome.stdout)
    assert document["streamed"] is True
    assert document["streaming"]["parts"] > 1
    assert document["streaming"]["radius_seen"] <= document["streaming"]["radius_bound"]
    assert document["peak"] <= int(found[1]) * 1e6
    assert document["bank_size"] == round(0.02 * 300 * 784)
