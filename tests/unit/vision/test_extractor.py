from __future__ import annotations

import io
import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from patchbank.errors import ParameterError, UnknownBackboneError, UnknownLayerError
from patchbank.vision import extractor_settings, runtime
from patchbank.vision.decoded_image import ImageLimits, ImageSource
from patchbank.vision.extraction import Extraction, Features, Refusal
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings

SMALL = ExtractorSettings(image_size=64)
RANDOM = np.random.default_rng(0)


def pictures(count: int, side: int = 80) -> list[npt.NDArray[np.uint8]]:
    """Smooth random colour pictures."""
    coarse = RANDOM.integers(0, 256, (count, 8, 8, 3), np.uint8)
    return [
        np.asarray(Image.fromarray(one).resize((side + i, side))) for i, one in enumerate(coarse)
    ]


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture(scope="module")
def extractor() -> Iterator[Extractor]:
    with Extractor(SMALL, threads=2) as one:
        yield one


class TestSettings:
    def test_round_trip(self) -> None:
        for settings in (
            ExtractorSettings(),
            ExtractorSettings("efficientnet-lite1", ("blocks.9", "blocks.2"), 256, 224, 5, "bf16"),
        ):
            text = json.dumps(settings.to_json())
            again = ExtractorSettings.from_json(json.loads(text))
            assert again == settings
            assert again.fingerprint() == settings.fingerprint()
            assert hash(again) == hash(settings)

    def test_unknown_settings_are_of_a_newer_version(self) -> None:
        with pytest.raises(ParameterError, match="unknown extractor setting rotation; upgrade"):
            ExtractorSettings.from_json({**SMALL.to_json(), "rotation": 90})

    def test_order_of_layers_does_not_matter(self) -> None:
        one = ExtractorSettings(layers=("blocks.10", "blocks.4"))
        assert one == ExtractorSettings()
        assert one.fingerprint() == ExtractorSettings().fingerprint()

    def test_every_setting_changes_the_fingerprint(self, monkeypatch: pytest.MonkeyPatch) -> None:
        others = [
            ExtractorSettings(backbone="efficientnet-lite1", layers=("blocks.4", "blocks.10")),
            ExtractorSettings(layers=("blocks.4",)),
            ExtractorSettings(image_size=225),
            ExtractorSettings(center_crop=192),
            ExtractorSettings(pooling=1),
            ExtractorSettings(precision="bf16"),
            ExtractorSettings(resize_precision="float32"),
        ]
        fingerprints = {one.fingerprint() for one in [ExtractorSettings(), *others]}
        monkeypatch.setattr(extractor_settings, "FEATURES_VERSION", 0)
        fingerprints.add(ExtractorSettings().fingerprint())
        assert len(fingerprints) == len(others) + 2
        assert all(len(fingerprint) == 64 for fingerprint in fingerprints)

    @pytest.mark.parametrize(
        ("values", "error"),
        [
            ({"backbone": "resnet"}, UnknownBackboneError),
            ({"layers": ("layer2",)}, UnknownLayerError),
            ({"image_size": 8}, ParameterError),
            ({"center_crop": 300}, ParameterError),
            ({"pooling": 2}, ParameterError),
            ({"pooling": 11}, ParameterError),
            ({"pooling": 3.0}, ParameterError),
            ({"precision": "int3"}, ParameterError),
        ],
    )
    def test_bad_values(self, values: dict[str, Any], error: type[Exception]) -> None:
        with pytest.raises(error) as caught:
            ExtractorSettings(**values)
        assert len(str(caught.value).splitlines()) == 1


def test_shapes(extractor: Extractor) -> None:
    features = extractor.extract(pictures(3))
    assert features.patches.shape == (3, 8, 8, 152)
    assert features.embeddings.shape == (3, extractor.embedding_dimension) == (3, 608)
    assert features.patches.dtype == features.embeddings.dtype == np.float32
    assert len(features) == 3
    assert len(extractor.extract([])) == 0


def test_features_without_pooling_average_to_the_embedding() -> None:
    settings = ExtractorSettings(layers=("blocks.4",), image_size=64, pooling=1)
    features = Extractor(settings, threads=1).extract(pictures(2))
    quarters = features.patches.reshape(2, 2, 4, 2, 4, 40).mean(axis=(2, 4))
    embeddings = quarters.transpose(0, 3, 1, 2).reshape(2, -1)
    assert np.allclose(embeddings, features.embeddings, rtol=1e-4, atol=1e-5)


def test_an_image_has_the_same_features_alone_and_among_others(extractor: Extractor) -> None:
    images = pictures(9)
    together = extractor.extract(images)
    assert np.ptp(together.embeddings, axis=0).max() > 0.1
    single = Extractor(SMALL, threads=1)
    for index, image in enumerate(images):
        for alone in (extractor.extract([image]), single.extract([image])):
            assert np.array_equal(alone.patches[0], together.patches[index])
            assert np.array_equal(alone.embeddings[0], together.embeddings[index])


def test_threads_may_share_an_extractor(extractor: Extractor) -> None:
    images = pictures(12)
    expected = extractor.extract(images)

    def work(index: int) -> Features:
        return extractor.extract([images[index]] if index % 2 else images[index : index + 2])

    with ThreadPoolExecutor(6) as pool:
        for index, result in enumerate(pool.map(work, list(range(12)) * 3)):
            assert np.array_equal(result.patches[0], expected.patches[index % 12])


@pytest.mark.slow
def test_threads_may_start_a_process_together() -> None:
    """The first inferences of a process, at once, must not wait for each other for ever."""
    code = """
import faulthandler, sys, threading
faulthandler.dump_traceback_later(60, exit=True)  # a thread that waits holds the interpreter lock
import numpy as np
from patchbank.vision.extractor import Extractor, ExtractorSettings
graph, workers = Extractor(ExtractorSettings(image_size=64), threads=4)._many()
together = threading.Barrier(4)
sys.setswitchinterval(1e-6)  # without the remedy, half of such processes hang
def work():
    together.wait()
    with graph.run(np.zeros((64, 64, 3), np.uint8)) as (patches, embedding):
        assert patches.shape == (1, 8, 8, 152)
for future in [workers.submit(work) for _ in range(4)]:
    future.result()
"""
    for _ in range(5):
        subprocess.run([sys.executable, "-c", code], check=True)


def test_f32_is_not_computed_in_bfloat16(extractor: Extractor) -> None:
    images = pictures(2)
    features = extractor.extract(images).patches
    if "BF16" not in runtime._capabilities():
        # Nothing to confuse it with; that bf16 is refused then, the next test shows.
        return
    coarse = Extractor(ExtractorSettings(image_size=64, precision="bf16")).extract(images).patches
    assert 1e-4 < np.linalg.norm(coarse - features) / np.linalg.norm(features) < 0.1


def test_bf16_is_refused_where_the_processor_lacks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtime, "_capabilities", lambda: ["FP32"])
    with pytest.raises(ParameterError, match="bf16 needs AVX-512"):
        Extractor(ExtractorSettings(precision="bf16"))


def test_crop_looks_at_the_centre_only() -> None:
    settings = ExtractorSettings(image_size=96, center_crop=64)
    cropped = Extractor(settings, threads=1)
    image = pictures(1, 96)[0][:, :96].copy()
    before = cropped.extract([image])
    image[:16] = image[80:] = image[:, :16] = image[:, 80:] = 0
    after = cropped.extract([image])
    assert cropped.grid == (8, 8)
    assert np.array_equal(before.patches, after.patches)


def test_describe_is_json(extractor: Extractor) -> None:
    described = json.loads(json.dumps(extractor.describe()))
    assert described["fingerprint"] == extractor.fingerprint
    assert described["licence"] == "Apache-2.0"
    assert described["dimension"] == 152


def test_negative_threads() -> None:
    with pytest.raises(ParameterError, match="threads is -1"):
        Extractor(SMALL, threads=-1)


class TestStream:
    def test_order_refusals_and_progress(self, extractor: Extractor, tmp_path: Path) -> None:
        images = pictures(10)
        sources: list[ImageSource] = [png(one) for one in images]
        sources[3] = tmp_path / "missing.png"
        sources[7] = png(np.zeros((200, 200, 3), np.uint8))
        calls: list[tuple[str, int, int]] = []
        results = list(
            extractor.extract_many(
                sources,
                limits=ImageLimits(max_pixels=100 * 100),
                thumbnail_side=32,
                stage="reading",
                progress=lambda *call: calls.append(call),
            )
        )
        assert calls == [("reading", done, 10) for done in range(1, 11)]
        expected = extractor.extract(images)
        for index, result in enumerate(results):
            assert result.source is sources[index]
            if index in (3, 7):
                assert isinstance(result, Refusal)
                assert str(result.error)
                continue
            assert isinstance(result, Extraction)
            assert np.array_equal(result.patches, expected.patches[index])
            assert np.array_equal(result.embedding, expected.embeddings[index])
            assert np.array_equal(result.image.pixels, images[index])
            assert set(result.timings_ms) == {"decode", "preprocess", "network"}
            with Image.open(io.BytesIO(result.thumbnail)) as small:
                assert max(small.size) == 32

    def test_sources_are_drawn_as_needed(self, extractor: Extractor) -> None:
        drawn = 0
        image = pictures(1)[0]

        def endless() -> Iterator[npt.NDArray[np.uint8]]:
            nonlocal drawn
            while True:
                drawn += 1
                yield image

        totals: list[int] = []
        stream = extractor.extract_many(
            endless(), progress=lambda stage, done, total: totals.append(total)
        )
        for _ in range(20):
            next(stream)
        assert drawn <= 20 + 4
        assert totals == list(range(1, 21))
        stream.close()

    def test_an_interruption_passes_and_leaves_the_extractor_usable(
        self, extractor: Extractor
    ) -> None:
        images = pictures(8)

        def interrupt(stage: str, done: int, total: int) -> None:
            if done == 3:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            list(extractor.extract_many(images, progress=interrupt))
        assert len(list(extractor.extract_many(images))) == 8

    def test_after_close(self) -> None:
        one = Extractor(SMALL, threads=2)
        assert len(list(one.extract_many(pictures(3)))) == 3
        before = threading.active_count()
        one.close()
        assert threading.active_count() == before - 2
        assert len(list(one.extract_many(pictures(3)))) == 3
        one.close()


def cached_features(folder: Path) -> bytes:
    """Run in another process."""
    image = np.arange(80 * 80 * 3, dtype=np.uint8).reshape(80, 80, 3)
    return Extractor(SMALL, threads=1, cache_folder=folder).extract([image]).patches.tobytes()


class TestCache:
    def test_a_second_process_needs_neither_onnx_nor_weights(self, tmp_path: Path) -> None:
        Extractor(SMALL, cache_folder=tmp_path / "new")
        code = f"""
import sys
from pathlib import Path
from patchbank.vision.backbones.weights import PackagedWeights
def refuse(self):
    raise AssertionError("weights were read")
PackagedWeights.read = refuse
from patchbank.vision.extractor import Extractor, ExtractorSettings
Extractor(ExtractorSettings(image_size=64), cache_folder=Path({str(tmp_path / "new")!r}))
assert "onnx" not in sys.modules
"""
        subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)

    def test_it_gives_the_same_features(self, extractor: Extractor, tmp_path: Path) -> None:
        images = pictures(3)
        expected = extractor.extract(images)
        for _ in range(2):
            again = Extractor(SMALL, threads=2, cache_folder=tmp_path).extract(images)
            assert np.array_equal(again.patches, expected.patches)
        assert len(list(tmp_path.iterdir())) == 1

    @pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
    def test_a_damaged_file_is_written_anew(
        self, extractor: Extractor, tmp_path: Path, damage: str
    ) -> None:
        Extractor(SMALL, cache_folder=tmp_path)
        (path,) = tmp_path.iterdir()
        good = path.read_bytes()
        middle = len(good) // 2
        flipped = good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :]
        path.write_bytes({"cut": good[:-100], "flipped": flipped, "empty": b""}[damage])
        images = pictures(1)
        again = Extractor(SMALL, cache_folder=tmp_path).extract(images)
        assert np.array_equal(again.patches, extractor.extract(images).patches)
        assert runtime._read_cached(path) is not None

    def test_processes_may_share_it(self, tmp_path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        with context.Pool(3) as pool:
            results = pool.map(cached_features, [tmp_path] * 3)
        assert len(set(results)) == 1
        assert [path.suffix for path in tmp_path.iterdir()] == [".graph"]

    def test_a_folder_that_cannot_be_written_does_no_harm(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        one = Extractor(SMALL, cache_folder=tmp_path / "file" / "folder")
        assert len(one.extract(pictures(1))) == 1

    def test_graphs_that_nobody_used_for_long_are_removed(self, tmp_path: Path) -> None:
        Extractor(SMALL, cache_folder=tmp_path)
        (used,) = tmp_path.iterdir()
        unused = tmp_path / "of-a-bank-long-gone.graph"
        unused.touch()
        for path in (used, unused):
            os.utime(path, (0, 0))
        Extractor(SMALL, cache_folder=tmp_path)
        Extractor(ExtractorSettings(image_size=64, pooling=1), cache_folder=tmp_path)
        assert used.exists()
        assert not unused.exists()

    def test_settings_have_their_own_files(self, tmp_path: Path) -> None:
        for settings in (SMALL, ExtractorSettings(image_size=64, pooling=1)):
            Extractor(settings, cache_folder=tmp_path)
        assert len(list(tmp_path.iterdir())) == 2


def test_openvino_reports_no_usage(tmp_path: Path) -> None:
    """Nothing is written into the home folder and no connection is tried."""
    code = """
import socket, sys
def refuse(*arguments, **keywords):
    raise AssertionError("network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
from patchbank.vision.extractor import Extractor, ExtractorSettings
assert "openvino" not in sys.modules
Extractor(ExtractorSettings(image_size=64))
assert "openvino" in sys.modules
assert "openvino_telemetry" not in sys.modules
assert "openvino.tools.ovc" not in sys.modules
"""
    environment = {"HOME": str(tmp_path), "PATH": ""}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env=environment)
    assert list(tmp_path.iterdir()) == []


def test_openvino_can_still_convert_models_for_others(tmp_path: Path) -> None:
    code = """
import sys
from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.features import write_feature_graph
from patchbank.vision.extractor import Extractor, ExtractorSettings
Extractor(ExtractorSettings(image_size=64))
from pathlib import Path
Path("graph.onnx").write_bytes(
    write_feature_graph(get_backbone("efficientnet-lite0"), ("blocks.4",), 64, 3)
)
sys.modules["openvino_telemetry"] = None  # this test reports nothing either
import openvino
assert len(openvino.convert_model("graph.onnx").outputs) == 2
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


def test_features_check_themselves() -> None:
    with pytest.raises(ValueError, match="expected patches"):
        Features(np.zeros((2, 3, 3, 4), np.float32), np.zeros((1, 5), np.float32))


def test_features_change_only_with_their_version() -> None:
    """Banks of the past stay comparable.

    Where this fails after a change of code, features have changed: raise `FEATURES_VERSION`, and
    put the new figures here.
    """
    rows, columns = np.mgrid[0:90, 0:120]
    image = np.stack([rows * 2, columns * 2, (rows * columns) % 256], axis=2).astype(np.uint8)
    features = Extractor(ExtractorSettings(), threads=1).extract([image])
    assert extractor_settings.FEATURES_VERSION == 1
    figures = [
        np.linalg.norm(features.patches),
        *features.patches[0, 14, 3, [0, 39, 40, 151]],
        *features.embeddings[0, [0, 300, 607]],
    ]
    assert figures == pytest.approx(
        [
            1847.6318359375,
            3.684499979019165,
            0.5325999855995178,
            6.337800025939941,
            1.2879999876022339,
            -3.4249000549316406,
            -7.397500038146973,
            1.9124000072479248,
        ],
        rel=1e-3,
    )
