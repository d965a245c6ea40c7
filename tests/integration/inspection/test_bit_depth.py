"""Cameras of 12 bits in files of 16: recognised over the set, said, and kept with the bank."""

from __future__ import annotations

import contextlib
import io
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

import patchbank
from patchbank.api import Bank
from patchbank.errors import ImageError, NoImagesError
from patchbank.inspection.judging.defects import add_defects
from patchbank.inspection.measuring.evaluate import evaluate
from patchbank.inspection.measuring.figures import Evaluation
from patchbank.inspection.settings import make_fit_settings
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.budget import Parts
from tests.fixtures.commands import Run
from tests.fixtures.sixteen_bits import png, tiff
from tests.fixtures.surfaces import Surfaces

Values = npt.NDArray[np.uint16]


@pytest.fixture
def opened(database_url: str, graphs_home: Path) -> Iterator[Callable[[str], Bank]]:
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(
            patchbank.open(name, home=graphs_home, database_url=database_url)
        )


def in_bits(pixels: npt.NDArray[np.uint8], depth: int) -> Values:
    """Return the values of a camera of that depth that saw these pixels."""
    values: Values = np.rint(pixels / 255 * (2**depth - 1)).astype(np.uint16)
    return values


def pixels_of(folder: Path) -> list[npt.NDArray[np.uint8]]:
    return [np.asarray(Image.open(path)) for path in sorted(folder.iterdir())]


def grey_png(values: Values) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values[:, :, 0]).save(buffer, "PNG")
    return buffer.getvalue()


WAYS: dict[str, Callable[[Values], bytes | Values | Image.Image]] = {
    "grey.png": grey_png,
    "colour.png": png,
    "grey.tif": lambda values: tiff(values[:, :, :1], compressed=True),
    "colour.tif": lambda values: tiff(values, order=">"),
    "array": lambda values: values,
    "grey array": lambda values: values[:, :, 0],
    "pillow": lambda values: Image.fromarray(values[:, :, 0]),
}


@pytest.mark.parametrize(
    ("way", "depth"), [*((way, 12) for way in WAYS), ("colour.png", 10), ("array", 14)]
)
def test_a_lesser_depth_is_recognised_said_and_kept(
    opened: Callable[[str], Bank], surfaces: Surfaces, way: str, depth: int
) -> None:
    """The bank is the one that eight bits make, to a grey value's rounding."""
    write = WAYS[way]
    values = [in_bits(one, depth) for one in pixels_of(surfaces.train)]
    for one in values:
        one[0, 0] = 2**depth - 1  # a camera's values end there; 10 bits are taken for 12 otherwise
    bank = opened("camera").fit([write(one) for one in values], image_size=64)
    assert bank.last_fit is not None
    report = bank.last_fit.to_json()
    assert report["extractor"]["bit_depth"] == depth
    told = [one for one in report["remarks"] if "of 16 bits" in one]
    assert len(told) == 1
    assert told[0].startswith("24 images of 16 bits hold values up to ")
    assert f"treated as {depth}-bit images ({2**depth - 1:,} is white)" in told[0]
    assert "--bit-depth (16" in told[0]
    plain = [one.copy() for one in pixels_of(surfaces.train)]
    for pixels in plain:
        pixels[0, 0] = 255
    eight = opened("eight").fit(plain, image_size=64)
    # Another process, which was told nothing.
    again = opened("camera")
    for pixels in (pixels_of(surfaces.scratched)[0], pixels_of(surfaces.good)[0]):
        expected, found = eight.inspect(pixels), again.inspect(write(in_bits(pixels, depth)))
        assert found.verdict == expected.verdict
        assert found.score == pytest.approx(expected.score, rel=1e-5)
    beyond = in_bits(pixels_of(surfaces.good)[1], depth)
    beyond[5, 5] = 2**depth
    with pytest.raises(
        ImageError, match=rf"values up to {2**depth}, but .*--bit-depth {depth + 2}"
    ):
        again.inspect(write(beyond))
    held_out = [write(in_bits(one, depth)) for one in pixels_of(surfaces.good)]
    report_of = again.calibrate(
        held_out, names=[f"held-out/{number}" for number in range(8)], force=True
    )
    assert report_of.images == 8


def test_eight_bits_in_sixteen(opened: Callable[[str], Bank], surfaces: Surfaces) -> None:
    good = [one.astype(np.uint16) for one in pixels_of(surfaces.train)]
    bank = opened("camera").fit(good, image_size=64)
    eight = opened("eight").fit(pixels_of(surfaces.train), image_size=64)
    assert bank.last_fit is not None
    assert eight.last_fit is not None
    assert bank.last_fit.bank.settings.extractor.bit_depth == 8
    assert bank.last_fit.bank.threshold == eight.last_fit.bank.threshold
    assert not any("of 16 bits" in one for one in eight.last_fit.bank.remarks)


@pytest.mark.parametrize(
    ("brightest", "depth"),
    [
        (65535, 16),
        (20_000, 16),
        (16_383, 14),
        (4_096, 14),
        (4_095, 12),
        (1_100, 12),
        (1_023, 10),
        (901, 12),
        (255, 8),
    ],
)
def test_the_brightest_of_all_images_decides(
    opened: Callable[[str], Bank], surfaces: Surfaces, brightest: int, depth: int
) -> None:
    pixels = pixels_of(surfaces.train)[:6]
    most = max(int(one.max()) for one in pixels)
    good = [(one.astype(np.float64) * brightest * 0.6 / most).astype(np.uint16) for one in pixels]
    good[4] = np.rint(pixels[4] / pixels[4].max() * brightest).astype(np.uint16)
    bank = opened("camera").fit(good, image_size=64)
    assert bank.last_fit is not None
    found = bank.last_fit.bank
    assert found.settings.extractor.bit_depth == depth
    told = [one for one in found.remarks if "of 16 bits" in one]
    assert len(told) == (depth < 16)
    assert depth == 16 or f"up to {brightest:,} of 65,535: treated as {depth}-bit images" in told[0]


def told_of(bank: Bank) -> list[str]:
    assert bank.last_fit is not None
    return [one for one in bank.last_fit.bank.remarks if "of 16 bits" in one]


def depth_of(bank: Bank) -> int | None:
    assert bank.last_fit is not None
    return bank.last_fit.bank.settings.extractor.bit_depth


@pytest.mark.parametrize("beyond", [65535, 4200])
def test_one_image_with_values_beyond_does_not_decide_for_all(
    opened: Callable[[str], Bank], surfaces: Surfaces, beyond: int
) -> None:
    good = [in_bits(one, 12) for one in pixels_of(surfaces.train)]
    good[3][:3, :3] = beyond
    bank = opened("camera").fit(good, names=[f"{i}.png" for i in range(24)], image_size=64)
    assert depth_of(bank) == 12
    assert bank.last_fit is not None
    assert [one.image for one in bank.last_fit.bank.refused] == ["3.png"]
    taken, exception = told_of(bank)
    assert taken.startswith("23 images of 16 bits hold values up to ")
    assert exception.startswith(
        f"1 of 24 images of 16 bits refused for values beyond 12 bits: 3.png ({beyond:,}); check"
    )


@pytest.mark.parametrize("reverse", [False, True])
def test_two_modes_in_one_set_are_said(
    opened: Callable[[str], Bank], surfaces: Surfaces, reverse: bool
) -> None:
    pixels = pixels_of(surfaces.train)
    good = [in_bits(one, 16 if number < 12 else 12) for number, one in enumerate(pixels)]
    bank = opened("camera").fit(good[::-1] if reverse else good, image_size=64)
    assert depth_of(bank) == 16
    (told,) = told_of(bank)
    assert told.startswith("12 of 24 images of 16 bits end at ")
    assert "nearly black compared with the others" in told


def test_a_bank_of_eight_bits_refuses_what_would_be_nearly_black(
    opened: Callable[[str], Bank],
    surfaces: Surfaces,
    tmp_path: Path,
    database_url: str,
    graphs_home: Path,
) -> None:
    bank = opened("eight").fit(pixels_of(surfaces.train), image_size=64)
    assert depth_of(bank) is None
    good = pixels_of(surfaces.good)
    says = r"values up to .* the bank has no 16-bit images; .*--bit-depth"
    for write in WAYS.values():
        for depth in (8, 10, 12, 14):
            with pytest.raises(ImageError, match=says):
                bank.inspect(write(in_bits(good[0], depth)))
    paths = [tmp_path / f"{number}.png" for number in range(len(good))]
    for path, pixels in zip(paths, good, strict=True):
        path.write_bytes(png(in_bits(pixels, 12)))
    with pytest.raises(ImageError, match=says):
        bank.search(paths[0])
    with pytest.raises(NoImagesError, match=says):
        bank.calibrate(paths, force=True)
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        added = add_defects(workspace, "eight", paths)
    assert (len(added.refused), added.names) == (8, ())
    # All 16 bits, and dark images of eight.
    assert bank.inspect(in_bits(good[0], 16)).verdict == "pass"
    assert bank.inspect(good[0] // 4).verdict == "fail"


def test_what_is_asked_for_is_done(
    patchbank: Run, surfaces: Surfaces, tmp_path: Path, database_url: str
) -> None:
    folder = tmp_path / "good"
    folder.mkdir()
    for number, pixels in enumerate(pixels_of(surfaces.train)):
        (folder / f"{number:02}.png").write_bytes(png(in_bits(pixels, 12)))
    shutil.copy(surfaces.train / "000.png", folder / "eight.png")
    size = ("--image-size", "64", "--max-refused", "100%", "--json")
    documents = {}
    for depth in ((), ("--bit-depth", "16"), ("--bit-depth", "14"), ("--bit-depth", "11")):
        outcome = patchbank("fit", "camera", folder, *size, *depth)
        assert outcome.code == (2 if "11" in depth else 0), outcome.err
        documents["".join(depth)] = outcome.documents[0] if outcome.documents else None
        if "11" in depth:
            assert "the bit depth set for these images, 11, only allows 2047" in outcome.err
    asked = {name: one["extractor"]["bit_depth"] for name, one in documents.items() if one}
    assert asked == {"": 12, "--bit-depth16": 16, "--bit-depth14": 14}
    told = {name: "of 16 bits" in str(one["remarks"]) for name, one in documents.items() if one}
    assert told == {"": True, "--bit-depth16": False, "--bit-depth14": False}
    outcome = patchbank("fit", "camera", folder, *size, "--bit-depth", "20")
    assert outcome.code == 2
    assert "bit depth is 20; give 8 to 16" in outcome.err


def test_in_parts_in_int8_and_by_a_file(
    opened: Callable[[str], Bank],
    surfaces: Surfaces,
    tmp_path: Path,
    database_url: str,
    graphs_home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    good = [in_bits(one, 12) for one in pixels_of(surfaces.train)]
    defect = in_bits(pixels_of(surfaces.scratched)[0], 12)
    bank = opened("camera").fit(good, image_size=64, precision="int8")
    assert bank.inspect(defect).verdict == "fail"
    parts = Parts(count=4, images=7, kept_ratio=0.5)
    monkeypatch.setattr("patchbank.inspection.learning.learn.plan_fit", lambda *_: parts)
    bank.fit(good, image_size=64)
    expected = bank.inspect(defect)
    assert expected.verdict == "fail"
    bank.export(tmp_path / "camera.bank")
    other = patchbank.import_bank(
        tmp_path / "camera.bank", "other", home=graphs_home, database_url=database_url
    )
    with other:
        assert other.inspect(defect).score == expected.score


def test_an_evaluation_uses_what_the_training_images_say(
    surfaces: Surfaces, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    root = tmp_path / "set"
    shutil.copytree(surfaces.root, root)
    for folder in ("train/good", "test/good", "test/scratch"):
        for path in (root / "brushed" / folder).iterdir():
            path.write_bytes(grey_png(in_bits(np.asarray(Image.open(path)), 12)))
    settings = make_fit_settings(image_size=64)
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        results = [
            next(iter(evaluate(workspace, one, None, settings))) for one in (surfaces.root, root)
        ]
    eight, twelve = (one for one in results if isinstance(one, Evaluation))
    assert twelve.facts["bit_depth"] == 12
    assert twelve.facts["fail_above"] == pytest.approx(eight.facts["fail_above"], rel=1e-4)
    for name in ("image_auroc", "pixel_auroc", "recall"):
        assert twelve.values[name] == pytest.approx(eight.values[name], abs=1e-3)
    assert any("treated as 12-bit images" in one for one in twelve.remarks)
    assert not isinstance(results[1], Refused)


def test_bright_defects_of_a_dark_camera_are_judged(
    surfaces: Surfaces, tmp_path: Path, database_url: str, graphs_home: Path
) -> None:
    """The training images end just at 10 bits, the defects at 12."""
    root = tmp_path / "set"
    shutil.copytree(surfaces.root, root)
    for folder, end in (("train/good", 1023), ("test/good", 1023), ("test/scratch", 4095)):
        for path in (root / "brushed" / folder).iterdir():
            pixels = np.asarray(Image.open(path)).astype(np.float64)
            values = np.rint(pixels / pixels.max() * end).astype(np.uint16)
            path.write_bytes(grey_png(values))
    settings = make_fit_settings(image_size=64)
    with Workspace(home=graphs_home, database_url=database_url) as workspace:
        found = next(iter(evaluate(workspace, root, None, settings)))
    assert isinstance(found, Evaluation)
    assert found.facts["bit_depth"] == 12
    assert (found.facts["test_anomalous"], found.facts["refused"]) == (8, 0)
    assert found.values["image_auroc"] == 1.0
