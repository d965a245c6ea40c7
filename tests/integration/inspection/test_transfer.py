"""Banks that go from one database to another by a file."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import patchbank
from patchbank.api import Bank
from patchbank.errors import BankFileError, CategoryExistsError
from patchbank.inspection.judging.index import build_index, indexes_of
from patchbank.inspection.workspace import Workspace
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantised import QuantisedGraph
from tests.fixtures.bank_files import (
    as_format_1,
    document_of,
    rewritten,
    with_image,
    with_numbers,
)
from tests.fixtures.surfaces import Surfaces


@pytest.fixture
def bank(
    database_url: str, graphs_home: Path, surfaces: Surfaces, tmp_path: Path
) -> Iterator[Bank]:
    """A fitted bank whose images are files of this test alone."""
    images = tmp_path / "images"
    shutil.copytree(surfaces.train, images)
    with patchbank.open("brushed", home=graphs_home, database_url=database_url) as opened:
        yield opened.fit(images, image_size=64, image_score="reweighted")


@pytest.fixture
def take_in(database_url: str, graphs_home: Path) -> Iterator[Callable[..., Bank]]:
    with contextlib.ExitStack() as stack:

        def imported(file: Path, category: str | None = "other", **options: Any) -> Bank:
            return stack.enter_context(
                patchbank.import_bank(
                    file, category, home=graphs_home, database_url=database_url, **options
                )
            )

        yield imported


def test_an_imported_bank_judges_as_the_exported_one_to_the_bit(
    bank: Bank, take_in: Callable[..., Bank], surfaces: Surfaces, tmp_path: Path
) -> None:
    file = tmp_path / "brushed.bank"
    report = bank.export(file)
    assert report.images == 24
    assert report.file_bytes == file.stat().st_size
    other = take_in(file)
    images = [*sorted(surfaces.scratched.iterdir()), *sorted(surfaces.good.iterdir())]
    for mine, theirs in zip(bank.inspect_many(images), other.inspect_many(images), strict=True):
        one, two = mine.to_json(), theirs.to_json()
        assert {one["verdict"], two["verdict"]} <= {"pass", "fail"}
        for name in ("category", "inspection_id", "inspected_at", "timings_ms"):
            del one[name], two[name]
        assert one == two
        assert np.array_equal(mine.anomaly_map, theirs.anomaly_map)  # type: ignore[union-attr]
    again = tmp_path / "again.bank"
    other.export(again)
    parts = [zipfile.ZipFile(one).read("bank.safetensors") for one in (file, again)]
    assert parts[0] == parts[1]


def test_a_quantised_graph_goes_along(
    bank: Bank, take_in: Callable[..., Bank], surfaces: Surfaces, tmp_path: Path
) -> None:
    file = tmp_path / "brushed.bank"
    bank.fit(sorted(surfaces.train.iterdir())[:8], image_size=64, precision="int8")
    bank.export(file)
    assert "quantised-graph.bin" in zipfile.ZipFile(file).namelist()
    other = take_in(file)
    for image in sorted(surfaces.scratched.iterdir())[:2]:
        mine, theirs = bank.inspect(image), other.inspect(image)
        assert (mine.score, mine.p_value) == (theirs.score, theirs.p_value)


@pytest.mark.parametrize("graph", [b"", b"nonsense", bytes(8) + b"<net>"])
def test_a_hostile_int8_graph_is_refused_in_one_line(
    bank: Bank, take_in: Callable[..., Bank], tmp_path: Path, graph: bytes
) -> None:
    file = tmp_path / "brushed.bank"
    bank.export(file)
    content = file.read_bytes()
    _, extractor = _extractor_of(content)
    digest = QuantisedGraph.from_bytes(graph).sha256
    settings = ExtractorSettings(image_size=64, precision="int8")
    extractor |= {**settings.to_json(), "graph_sha256": digest}
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = json.loads(archive.read("bank.json"))["parts"]
    parts["quantised-graph.bin"] = hashlib.sha256(graph).hexdigest()
    fingerprint = settings.fingerprint(digest)
    forged = rewritten(content, extractor=extractor, extractor_fingerprint=fingerprint, parts=parts)
    file.write_bytes(forged)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("quantised-graph.bin", graph)
    with pytest.raises(patchbank.PatchbankError) as caught:
        take_in(file)
    said = str(caught.value)
    assert said.startswith(f"{file}: its int8 graph: cannot be run")
    assert "\n" not in said


def test_a_file_that_is_there_is_left_alone(bank: Bank, tmp_path: Path) -> None:
    file = tmp_path / "brushed.bank"
    file.write_text("mine")
    with pytest.raises(BankFileError, match="already exists; give another name, or use --force"):
        bank.export(file)
    assert file.read_text() == "mine"
    bank.export(file, force=True)
    first = file.read_bytes()
    bank.export(file, force=True)
    assert file.read_bytes() == first
    assert sorted(one.name for one in tmp_path.iterdir()) == ["brushed.bank", "images"]


def test_a_category_that_is_there_is_left_alone(
    bank: Bank,
    take_in: Callable[..., Bank],
    tmp_path: Path,
    database_url: str,
    graphs_home: Path,
) -> None:
    file = tmp_path / "brushed.bank"
    bank.export(file)
    with pytest.raises(CategoryExistsError, match="'brushed' already has a bank"):
        take_in(file, None)
    # An index is built again for the bank that takes the place of the one before.
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        build_index(workspace, "brushed", metric="l2")
        replaced = take_in(file, None, replace=True)
        (index,) = indexes_of(workspace, "brushed")
    assert (index.generation, index.metric) == (2, "l2")
    assert replaced.category == "brushed"
    assert replaced.inspect(tmp_path / "images" / "000.png").bank_version == 2


def test_images_go_along(bank: Bank, take_in: Callable[..., Bank], tmp_path: Path) -> None:
    file, folder = tmp_path / "brushed.bank", tmp_path / "unpacked"
    assert bank.export(file, with_images=True).image_files == 24
    other = take_in(file, images=folder)
    learned = sorted((tmp_path / "images").iterdir())
    unpacked = sorted(folder.iterdir())
    assert [one.name for one in unpacked] == [f"{index:06}.png" for index in range(24)]
    assert [one.read_bytes() for one in unpacked] == [one.read_bytes() for one in learned]
    again = tmp_path / "again.bank"
    assert other.export(again, with_images=True).image_files == 24
    with pytest.raises(patchbank.PatchbankError, match="give a new folder"):
        take_in(file, "third", images=folder)
    # What fails in the database leaves no images behind.
    with pytest.raises(CategoryExistsError):
        take_in(file, images=tmp_path / "more")
    assert not (tmp_path / "more").exists()
    assert not list(tmp_path.glob(".*"))


def test_images_that_are_gone_or_changed_cannot_go_along(bank: Bank, tmp_path: Path) -> None:
    file, image = tmp_path / "brushed.bank", tmp_path / "images" / "003.png"
    content = image.read_bytes()
    image.write_bytes(content + b"!")
    with pytest.raises(BankFileError, match=r"003\.png: has changed since the fit"):
        bank.export(file, with_images=True)
    image.unlink()
    with pytest.raises(BankFileError, match=r"003\.png: no such file or directory; restore it"):
        bank.export(file, with_images=True)
    assert not file.exists()


def test_where_no_file_can_be_is_said_by_its_name(bank: Bank, tmp_path: Path) -> None:
    with pytest.raises(BankFileError) as raised:
        bank.export(tmp_path / "none" / "brushed.bank")
    folder = tmp_path / "none"
    complaint = f"{folder}/brushed.bank: there is no folder {folder}; create it first"
    assert str(raised.value) == complaint
    for force in (False, True):
        with pytest.raises(BankFileError, match="images: is a folder; give a file name"):
            bank.export(tmp_path / "images", force=force)
    with pytest.raises(
        BankFileError, match=r"bank cannot be written to .*: file name too long; give"
    ):
        bank.export(tmp_path / f"{'x' * 251}.bank")
    assert [one.name for one in tmp_path.iterdir()] == ["images"]


def test_a_name_that_is_not_utf_8_is_found_again(
    bank: Bank, take_in: Callable[..., Bank], tmp_path: Path
) -> None:
    images = tmp_path / os.fsdecode(b"odd\xfe")
    (tmp_path / "images").rename(images)
    (images / "003.png").rename(images / os.fsdecode(b"bad\xff.png"))
    bank.fit(images, image_size=64)
    file = tmp_path / "brushed.bank"
    assert bank.export(file, with_images=True).image_files == 24
    # So does a file whose name has those characters themselves.
    (images / "004.png").rename(images / r"literal\xff.png")
    bank.fit(images, image_size=64)
    assert bank.export(file, force=True, with_images=True).image_files == 24
    found = bank.search(name=str(images / os.fsdecode(b"bad\xff.png")))
    assert found.matches[0].name.endswith(r"odd\xfe/bad\xff.png")


def test_files_that_are_damaged_or_foreign_are_refused_in_one_line(
    bank: Bank, take_in: Callable[..., Bank], tmp_path: Path
) -> None:
    file = tmp_path / "brushed.bank"
    bank.export(file)
    good = file.read_bytes()
    fingerprint, extractor = _extractor_of(good)
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 1
    compressed = io.BytesIO()
    with zipfile.ZipFile(compressed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bank.json", b"{}" + b" " * 1_000_000)
    empty = io.BytesIO()
    zipfile.ZipFile(empty, "w").close()
    cases = {
        "is not a bank file, or is damaged": b"not an archive",
        "is not a bank file; give a file": empty.getvalue(),
        "is not a bank file, or is damaged (File is not": good[: len(good) // 2],
        "is compressed or encrypted": compressed.getvalue(),
        "damaged": bytes(flipped),
        "its format_version is 5, not 1, 2, 3 or 4; upgrade patchbank": rewritten(
            good, format_version=5
        ),
        "its format is 'x'": rewritten(good, format="x"),
        "was written by a newer patchbank (surprise is not as expected": rewritten(
            good, surprise=1
        ),
        "differs); export again": rewritten(good, parts={"bank.safetensors": "0" * 64}),
        "was made with another version of the feature code": rewritten(
            good, extractor_fingerprint="0" * 64
        ),
        "was made with other weights of efficientnet-lite0": rewritten(
            good, extractor_fingerprint="0" * 64, extractor={**extractor, "weights_sha256": "0"}
        ),
        "add the same file again with: patchbank backbone add resnet2000": rewritten(
            good, extractor={**extractor, "backbone": "resnet2000"}
        ),
        "was made by a newer patchbank": rewritten(good, settings={"patience": 3}),
        "damaged ('map_maxima')": rewritten(as_format_1(good), calibration={"scores": []}),
    }
    assert len(fingerprint) == 64
    for message, content in cases.items():
        file.write_bytes(content)
        with pytest.raises(patchbank.PatchbankError) as caught:
            take_in(file)
        said = str(caught.value)
        assert message in said
        assert said.startswith(f"{file}: ")
        assert "\n" not in said
    with pytest.raises(BankFileError, match="no such file"):
        take_in(tmp_path / "nowhere.bank")
    file.write_bytes(good)
    with pytest.raises(
        BankFileError, match="contains no images; export it again with --with-images"
    ):
        take_in(file, images=tmp_path / "unpacked")
    assert not take_in(file).inspect(tmp_path / "images" / "000.png").heatmap


def test_values_that_make_no_sense_are_damage_whatever_the_digests(
    bank: Bank, take_in: Callable[..., Bank], tmp_path: Path
) -> None:
    file = tmp_path / "brushed.bank"
    bank.export(file)
    good = file.read_bytes()
    _, extractor = _extractor_of(good)
    old = as_format_1(good)
    cases = {
        "damaged (coreset_ratio is 0.0,": rewritten(good, coreset_ratio=0.0),
        "damaged (coreset_ratio is 1.5,": rewritten(good, coreset_ratio=1.5),
        "damaged (coreset_ratio is nan": rewritten(good, coreset_ratio=float("nan")),
        "damaged (the extractor's grid is [8]": rewritten(
            good, extractor={**extractor, "grid": [8]}
        ),
        "damaged (the extractor's grid is [8, 0]": rewritten(
            good, extractor={**extractor, "grid": [8, 0]}
        ),
        "damaged (the extractor's grid is 'x'": rewritten(
            good, extractor={**extractor, "grid": "x"}
        ),
        "damaged (held_out is 'many'": rewritten(old, calibration={"held_out": "many"}),
        "damaged (held_out is 25": rewritten(old, calibration={"held_out": 25}),
        "damaged (held_out is -1": rewritten(old, calibration={"held_out": -1}),
        "damaged (label is 'anomalous'": with_image(good, label="anomalous"),
        "damaged (size is 0 x": with_image(good, width=0),
        "damaged (size is 64 x 99999999999": with_image(good, width=64, height=99999999999),
        "damaged (calibration scores must": with_numbers(old, scores=np.full(24, np.inf)),
        "damaged (calibration scores must be finite": with_numbers(good, score=np.full(24, np.inf)),
        "damaged (covering_radius is -1.0": with_numbers(good, covering_radius=np.array([-1.0])),
        "damaged (covering_radius is inf": with_numbers(good, covering_radius=np.array([np.inf])),
    }
    for message, content in cases.items():
        file.write_bytes(content)
        with pytest.raises(BankFileError) as caught:
            take_in(file)
        said = str(caught.value)
        assert message in said
        assert said.startswith(f"{file}: ")
        assert "\n" not in said
    file.write_bytes(with_numbers(good, covering_radius=np.array([np.nan])))
    take_in(file)


def test_a_file_of_the_first_format_gives_the_same_verdicts(
    bank: Bank, take_in: Callable[..., Bank], surfaces: Surfaces, tmp_path: Path
) -> None:
    file = tmp_path / "brushed.bank"
    bank.export(file)
    images = [*sorted(surfaces.good.iterdir())[:3], *sorted(surfaces.scratched.iterdir())[:3]]
    before = [bank.inspect(image) for image in images]
    file.write_bytes(as_format_1(file.read_bytes()))
    imported = take_in(file)
    for old, image in zip(before, images, strict=True):
        new = imported.inspect(image)
        assert (new.verdict, new.score, new.p_value) == (old.verdict, old.score, old.p_value)
        assert (new.thresholds, new.map_threshold) == (old.thresholds, old.map_threshold)
        assert new.regions == old.regions
    # It is written in the present format, and still names no image of its calibration.
    imported.export(file, force=True)
    assert document_of(file.read_bytes())["format_version"] == 2
    again = take_in(file, "again")
    assert again.inspect(images[0]).p_value == before[0].p_value


def _extractor_of(content: bytes) -> tuple[str, dict[str, Any]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        document = json.loads(archive.read("bank.json"))
    return document["extractor_fingerprint"], document["extractor"]
