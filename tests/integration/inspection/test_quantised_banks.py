"""Banks in int8: the quantised graph is made, stored, read and removed with its bank."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from patchbank.errors import ExtractorMismatchError, NoImagesError
from patchbank.inspection.judging.inspect import Inspector
from patchbank.inspection.learning import quantise as module
from patchbank.inspection.learning.fit import fit, save
from patchbank.inspection.learning.learn import learn
from patchbank.inspection.learning.quantise import quantised_graph
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.workspace import Workspace
from patchbank.memory.budget import Parts
from patchbank.progress import silent
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.fixtures.commands import Run
from tests.fixtures.surfaces import Surfaces

# Of few layers, because the bias of each is corrected; `test_the_command_line` uses all.
EXACT = FitSettings(ExtractorSettings(layers=("blocks.2", "blocks.4"), image_size=96))
INT8 = replace(EXACT.extractor, precision="int8")
SETTINGS = FitSettings(INT8)

# A machine that only judges has no NNCF.
_INSPECT = """
import json, sys
sys.modules["nncf"] = None
import patchbank
home, url, *images = sys.argv[1:]
with patchbank.open("int8", home=home, database_url=url) as bank:
    print(json.dumps([[one.verdict, one.score] for one in map(bank.inspect, images)]))
"""


def few(surfaces: Surfaces, count: int = 12) -> list[ImageSource]:
    return [*sorted(surfaces.train.iterdir())[:count]]


def graphs(workspace: Workspace) -> list[tuple[str, int]]:
    """Return category and generation of each graph that is stored."""
    with workspace.database.connection() as connection:
        return connection.execute(
            "select name, generation from quantised_graph join category using (category_id) "
            "order by 2"
        ).fetchall()


def change(workspace: Workspace, statement: bytes) -> None:
    with workspace.database.connection() as connection:
        connection.execute(statement)


@pytest.mark.slow
def test_a_bank_in_int8_judges_alike_in_every_process(
    workspace: Workspace, database_url: str, surfaces: Surfaces
) -> None:
    fit(workspace, "f32", few(surfaces), EXACT)
    stages: list[str] = []
    report = fit(
        workspace,
        "int8",
        few(surfaces),
        SETTINGS,
        progress=lambda stage, done, total: stages.append(stage),
    )
    assert list(dict.fromkeys(stages))[:3] == ["sample", "quantise", "features"]
    assert report.to_json()["timings_s"]["quantise"] > 0
    assert report.bank.quantised is not None
    assert graphs(workspace) == [("int8", 1)]
    images = [surfaces.good / "000.png", surfaces.scratched / "000.png"]
    here = [Inspector(workspace, "int8").inspect(image) for image in images]
    assert here[1].verdict == "fail"
    command = [sys.executable, "-c", _INSPECT, str(workspace.home), database_url]
    done = subprocess.run([*command, *map(str, images)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [[one.verdict, one.score] for one in here]

    # The bank beside it has no part in this, whatever happens.
    before = Inspector(workspace, "f32").inspect(images[1]).score
    change(workspace, b"update quantised_graph set content = content || '\\x00'")
    with pytest.raises(
        ExtractorMismatchError, match="bank version 1: its quantised graph is damaged; fit"
    ):
        Inspector(workspace, "int8")
    change(workspace, b"delete from quantised_graph")
    with pytest.raises(
        ExtractorMismatchError, match="bank version 1: its quantised graph is missing; fit"
    ):
        Inspector(workspace, "int8")
    assert Inspector(workspace, "f32").inspect(images[1]).score == before

    # A new fit repairs it, and one in f32 needs no graph; both keep what the version before had.
    inspector = Inspector(workspace, "f32")
    assert fit(workspace, "int8", few(surfaces), SETTINGS).bank_version == 2
    again = Inspector(workspace, "int8").inspect(images[1])
    assert (again.score, again.bank_version) == (here[1].score, 2)
    fit(workspace, "int8", few(surfaces), EXACT)
    assert graphs(workspace) == [("int8", 2)]
    assert Inspector(workspace, "int8").inspect(images[1]).score == before
    assert inspector.inspect(images[1]).score == before
    workspace.database.categories.remove("int8")
    assert graphs(workspace) == []


def test_an_interruption_leaves_the_bank_before(workspace: Workspace, surfaces: Surfaces) -> None:
    fit(workspace, "brushed", few(surfaces), EXACT)
    for last in ("sample", "quantise"):

        def interrupt(stage: str, done: int, total: int, last: str = last) -> None:
            assert 0 < done <= total
            if stage == last and done == 2:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            fit(workspace, "brushed", few(surfaces), SETTINGS, progress=interrupt)
    assert workspace.database.banks.active_version("brushed") == 1
    assert graphs(workspace) == []


def test_a_streamed_fit_quantises_too(
    workspace: Workspace, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if memory ended here: the plan of a machine on which these small images are too many.
    monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: Parts(2, 6, 0.1))
    bank = learn(workspace, few(surfaces), SETTINGS)
    assert bank.streaming is not None
    assert bank.quantised is not None
    save(workspace, "brushed", bank)
    inspection = Inspector(workspace, "brushed").inspect(surfaces.scratched / "000.png")
    assert inspection.verdict == "fail"


def test_the_sample_is_spread_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    assert module._spread(3, 224) == [0, 1, 2]
    assert module._spread(0, 224) == []
    many = module._spread(1000, 224)
    assert (len(many), many[0], many[-1]) == (module.SAMPLE_IMAGES, 0, 999)
    assert set(np.diff(many)) <= {5, 6}
    assert len(module._spread(1000, 2048)) == 8


def test_images_that_cannot_be_used_are_left_out(
    workspace: Workspace, surfaces: Surfaces, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    good = few(surfaces, 4)
    names = ["0", "1", "2", "3", "4"]
    calls: list[tuple[str, int, int]] = []
    quantised_graph(workspace, INT8, [broken, *good], names, lambda *call: calls.append(call))
    assert [call for call in calls if call[0] == "sample"][-1] == ("sample", 5, 5)
    assert [call for call in calls if call[0] == "quantise"][-1] == ("quantise", 4, 4)
    with pytest.raises(NoImagesError, match=r"no image of 2 can be used to quantise.*broken\.png"):
        quantised_graph(workspace, INT8, [broken, broken], names[:2], silent)


@pytest.mark.slow
def test_the_command_line(
    patchbank: Run, surfaces: Surfaces, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--image-size", "96", "--precision", "int8")
    outcome = patchbank("fit", "brushed", surfaces.train, *options)
    assert outcome.code == 0, outcome.err
    assert all(line.startswith("remark ") for line in outcome.err.splitlines())
    lines = {line.split(maxsplit=1)[0]: line for line in outcome.out.splitlines()}
    assert "efficientnet-lite0 in int8" in lines["extractor"]
    assert "quantise" in lines["seconds"]
    assert patchbank("inspect", "brushed", surfaces.scratched / "000.png").code == 1
    assert len(patchbank("show", "brushed", "--json").document["extractor"]["graph_sha256"]) == 64
    evaluated = patchbank("evaluate", surfaces.root, *options, "--json")
    assert evaluated.code == 0, evaluated.err
    assert evaluated.documents[0]["image_auroc"] == 1.0
    assert len(patchbank("categories", "--json").documents) == 1

    monkeypatch.setitem(sys.modules, "nncf", None)
    for command in (("fit", "other", surfaces.train), ("evaluate", surfaces.root)):
        outcome = patchbank(*command, *options)
        assert outcome.code == 2
        assert "pip install 'patchbank[int8]'" in outcome.complaint
        assert outcome.out == ""
