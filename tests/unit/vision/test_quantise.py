from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
import psutil
import pytest

from patchbank.errors import MissingExtraError, ParameterError, QuantisationError
from patchbank.vision import quantise as module
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantise import quantise
from patchbank.vision.quantised import QuantisedGraph
from tests.fixtures.quantised import INT8

pytestmark = pytest.mark.slow

Pictures = list[npt.NDArray[np.uint8]]

_AGAIN = """
import sys
from pathlib import Path
import numpy as np
from patchbank.vision.quantise import quantise
from tests.fixtures.quantised import INT8
graph = quantise(INT8, np.load(sys.argv[1]), threads=1)
Path(sys.argv[2]).write_bytes(graph.to_bytes())
"""

_FEATURES = """
import sys
from pathlib import Path
for name in ("nncf", "onnx"):
    sys.modules[name] = None  # whoever judges may not have them
import numpy as np
from patchbank.vision.extractor import Extractor
from patchbank.vision.quantised import QuantisedGraph
from tests.fixtures.quantised import INT8
graph = QuantisedGraph.from_bytes(Path(sys.argv[1]).read_bytes())
features = Extractor(INT8, quantised=graph, threads=1).extract([np.load(sys.argv[2])])
np.save(sys.argv[3], features.patches[0])
"""


def run(code: str, *arguments: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run code in a process that knows `tests` and `patchbank`."""
    root = Path(__file__).parents[3]
    paths = os.pathsep.join([str(root), *filter(None, sys.path)])
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": paths, **environment},
    )


def relative(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_features_are_near_those_in_f32(quantised: QuantisedGraph, cells: Pictures) -> None:
    exact = Extractor(ExtractorSettings(image_size=96)).extract(cells)
    found = Extractor(INT8, quantised=quantised).extract(cells)
    # Also of the four cells that the ranges were not taken from. Wrongly joined, it would be 1.
    assert 0.01 < relative(found.patches[12:], exact.patches[12:]) < 0.3
    assert 0.01 < relative(found.embeddings[12:], exact.embeddings[12:]) < 0.3
    assert len(quantised.to_bytes()) < 2_000_000


def test_features_depend_on_the_image_alone(quantised: QuantisedGraph, cells: Pictures) -> None:
    together = Extractor(INT8, quantised=quantised, threads=2).extract(cells)
    single = Extractor(INT8, quantised=quantised, threads=1)
    for index in (0, 7, 15):
        alone = single.extract([cells[index]])
        assert np.array_equal(alone.patches[0], together.patches[index])
        assert np.array_equal(alone.embeddings[0], together.embeddings[index])


def test_the_same_images_give_the_same_graph_and_nothing_is_reported(
    quantised: QuantisedGraph, squares: npt.NDArray[np.uint8], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    np.save(tmp_path / "images.npy", squares)
    done = run(_AGAIN, tmp_path / "images.npy", tmp_path / "graph", HOME=str(home))
    assert done.stdout == done.stderr == ""
    assert list(home.iterdir()) == []
    assert (tmp_path / "graph").read_bytes() == quantised.to_bytes()


def test_the_graph_belongs_to_the_fingerprint(quantised: QuantisedGraph) -> None:
    other = QuantisedGraph(quantised.description, quantised.weights[:-1] + b"\x07")
    fingerprints = {
        ExtractorSettings(image_size=96).fingerprint(),
        INT8.fingerprint(quantised.sha256),
        INT8.fingerprint(other.sha256),
    }
    assert len(fingerprints) == 3
    extractor = Extractor(INT8, quantised=quantised)
    assert extractor.fingerprint == INT8.fingerprint(quantised.sha256)
    assert extractor.describe()["graph_sha256"] == quantised.sha256


def test_a_graph_survives_as_bytes(quantised: QuantisedGraph) -> None:
    content = quantised.to_bytes()
    again = QuantisedGraph.from_bytes(content)
    assert again == quantised
    assert again.sha256 == quantised.sha256
    for damaged in (b"", content[:5], content[:-1], b"\xff" * 20, content + b"x"):
        assert QuantisedGraph.from_bytes(damaged).sha256 != quantised.sha256


def test_int8_and_a_graph_go_together(quantised: QuantisedGraph) -> None:
    with pytest.raises(ParameterError, match="precision int8: int8 needs a quantised graph"):
        Extractor(INT8)
    with pytest.raises(ParameterError, match="precision f32"):
        Extractor(ExtractorSettings(image_size=96), quantised=quantised)


@pytest.mark.parametrize("instructions", ["ALL", "AVX2", "AVX512_CORE"])
def test_other_processors_compute_the_same(
    quantised: QuantisedGraph, cells: Pictures, tmp_path: Path, instructions: str
) -> None:
    """With VNNI or without: OpenVINO's oneDNN can be told to do without the newer instructions."""
    graph, image, found = tmp_path / "graph", tmp_path / "image.npy", tmp_path / "found.npy"
    graph.write_bytes(quantised.to_bytes())
    np.save(image, cells[0])
    run(_FEATURES, graph, image, found, ONEDNN_MAX_CPU_ISA=instructions)
    expected = Extractor(INT8, quantised=quantised, threads=1).extract([cells[0]])
    features = np.load(found)
    if "amx_int8" in Path("/proc/cpuinfo").read_text() and instructions != "ALL":
        # Tiles round otherwise than vectors do; what differs is a step of the quantisation.
        assert np.abs(features - expected.patches[0]).max() < 0.03 * np.abs(features).max()
    else:
        assert np.array_equal(features, expected.patches[0])


def test_without_nncf(monkeypatch: pytest.MonkeyPatch, squares: npt.NDArray[np.uint8]) -> None:
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'patchbank\[int8\]'"):
        quantise(INT8, squares)


def test_what_nncf_cannot_do_is_one_line(squares: npt.NDArray[np.uint8]) -> None:
    with pytest.raises(QuantisationError, match="fit with precision f32") as caught:
        quantise(INT8, squares[:, :50])
    assert len(str(caught.value).splitlines()) == 1


def test_a_process_that_does_not_even_start_is_one_line(
    squares: npt.NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the installation is damaged. It reads nothing, and not all fits into the pipe.
    monkeypatch.setattr(module, "_WORKER", "patchbank.vision.no_such_module")
    with pytest.raises(QuantisationError, match=r"quantised: .*no_such_module.*; fit with"):
        quantise(INT8, squares)


def test_an_interruption_leaves_no_process(squares: npt.NDArray[np.uint8]) -> None:
    calls = []

    def interrupt(stage: str, done: int, total: int) -> None:
        calls.append((stage, done, total))
        if done == 3:
            raise KeyboardInterrupt

    before = set(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt):
        quantise(INT8, squares, progress=interrupt)
    assert calls == [("quantise", done, 12) for done in (1, 2, 3)]
    assert set(psutil.Process().children()) <= before
