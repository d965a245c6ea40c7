"""Banks of the real Anomalib, taken over without an option where the file says all.

Image scores are held against Anomalib's own model computing in float64: its own float32 is further
from that than we are.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anomalib.pre_processing import PreProcessor
from PIL import Image
from torchvision.transforms.v2 import CenterCrop, Compose, Normalize, Resize

import patchbank
from patchbank.contrib._anomalib_files import read_anomalib_file
from tests.parity_anomalib.conftest import Pictures, Trained, train

LAYERS = ["layer2", "layer3"]
SIDE, CROP = 128, 112
# What is asked for is 1e-5.
MOST = 1e-5

Import = Callable[..., Any]


def truth(model: Any, image: Path, kind: torch.dtype = torch.float64) -> float:
    """Return the image score that Anomalib's model gives in numbers of this kind."""
    pixels = np.array(Image.open(image))
    value = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(kind) / 255
    inner = copy.deepcopy(model.model).to(kind).eval()
    with torch.no_grad():
        return float(inner(model.pre_processor.transform(value)).pred_score)


@pytest.fixture(scope="session")
def trained(
    tmp_path_factory: pytest.TempPathFactory, pictures: Pictures, networks: dict[str, Any]
) -> Callable[[str, int | None], Trained]:
    """Return a function that trains a model once: on a network, with or without a crop."""
    done: dict[tuple[str, int | None], Trained] = {}

    def once(backbone: str, crop: int | None) -> Trained:
        key = backbone, crop
        if key not in done:
            done[key] = train(
                tmp_path_factory.mktemp(backbone),
                pictures,
                networks[backbone],
                backbone=backbone,
                layers=LAYERS,
                pre_processor=PreProcessor(transform(crop)),
            )
        return done[key]

    return once


def transform(crop: int | None, **resize: Any) -> Compose:
    """Return Patchcore's own preprocessing, smaller."""
    steps = [Resize((SIDE, SIDE), **{"antialias": True, **resize})]
    steps += [] if crop is None else [CenterCrop((crop, crop))]
    return Compose([*steps, Normalize(mean=[0.485, 0.456, 0.406], std=[0.229, 0.224, 0.225])])


@pytest.fixture
def take_over(database_url: str, graphs_home: Path) -> Iterator[Import]:
    where: dict[str, Any] = {"home": graphs_home, "database_url": database_url}
    with contextlib.ExitStack() as stack:

        def imported(file: Path, **options: Any) -> Any:
            patchbank.import_anomalib(file, "made", **options, **where)
            return stack.enter_context(patchbank.open("made", **where))

        yield imported


@pytest.mark.parametrize("crop", [CROP, None], ids=["cropped", "whole"])
@pytest.mark.parametrize("form", ["checkpoint", "exported", "tensor"])
@pytest.mark.parametrize("backbone", ["resnet18", "wide_resnet50_2"])
def test_image_scores_are_those_of_anomalibs_network_in_float64(
    trained: Callable[[str, int | None], Trained],
    pictures: Pictures,
    take_over: Import,
    backbone: str,
    form: str,
    crop: int | None,
) -> None:
    files = trained(backbone, crop)
    options: dict[str, Any] = {}
    if form == "tensor":
        # It says nothing, and without its settings it is not taken.
        with pytest.raises(patchbank.PatchbankError, match="give --backbone, --layers, --image-"):
            take_over(files.tensor)
        options = {"backbone": backbone, "layers": LAYERS, "image_size": SIDE}
        options["center_crop"] = crop or 0
    bank = take_over(getattr(files, form), **options)
    bank.calibrate(pictures.good, false_alarm_rate=0.2)
    images = sorted(pictures.judged.iterdir())
    expected = np.array([truth(files.model, image) for image in images])
    theirs = np.array([truth(files.model, image, torch.float32) for image in images])
    ours = np.array([one.score for one in bank.inspect_many(images)])
    error = np.abs(ours / expected - 1).max()
    print(
        f"\n{backbone}, {form}, {'cropped' if crop else 'whole'}: scores {expected.min():.3f} to "
        f"{expected.max():.3f}; largest relative difference from float64 {error:.1e}, "
        f"of Anomalib's own float32 {np.abs(theirs / expected - 1).max():.1e}"
    )
    assert error < MOST


def test_a_crop_that_were_not_read_would_be_seen(
    trained: Callable[[str, int | None], Trained], pictures: Pictures, take_over: Import
) -> None:
    """Otherwise the tests above could not fail for what this is about."""
    files = trained("resnet18", CROP)
    bank = take_over(
        files.tensor, backbone="resnet18", layers=LAYERS, image_size=SIDE, center_crop=0
    )
    bank.calibrate(pictures.good, false_alarm_rate=0.2)
    image = sorted(pictures.judged.iterdir())[0]
    assert abs(bank.inspect(image).score / truth(files.model, image) - 1) > 0.01


@pytest.mark.parametrize("form", ["checkpoint", "exported"])
@pytest.mark.parametrize(
    ("resize", "message"),
    [
        ({"antialias": False}, "without antialiasing"),
        ({"interpolation": 3}, "bilinearly"),
    ],
)
def test_what_cannot_be_reproduced_is_refused(
    pictures: Pictures,
    networks: dict[str, Any],
    tmp_path: Path,
    form: str,
    resize: dict[str, Any],
    message: str,
) -> None:
    options: dict[str, Any] = {"backbone": "resnet18", "layers": LAYERS}
    made = PreProcessor(transform(None, **resize))
    files = train(tmp_path, pictures, networks["resnet18"], pre_processor=made, **options)
    with pytest.raises(patchbank.PatchbankError, match=message):
        read_anomalib_file(getattr(files, form), 1_000_000_000)


@pytest.mark.parametrize(
    ("pre_processor", "expected"),
    [(True, {"image_size": 256, "center_crop": None}), (False, {})],
)
def test_anomalibs_own_preprocessing_and_none(
    pictures: Pictures,
    networks: dict[str, Any],
    tmp_path: Path,
    pre_processor: bool,
    expected: dict[str, Any],
) -> None:
    options: dict[str, Any] = {
        "backbone": "resnet18",
        "layers": LAYERS,
        "pre_processor": pre_processor,
    }
    files = train(tmp_path, pictures, networks["resnet18"], **options)
    for file in (files.checkpoint, files.exported):
        said = read_anomalib_file(file, 1_000_000_000).settings
        found = {name: said[name] for name in ("image_size", "center_crop") if name in said}
        assert found == expected
