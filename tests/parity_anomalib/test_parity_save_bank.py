"""Banks that `SaveBank` stores from a running Anomalib, beside those of its exported files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from anomalib.callbacks import TilerConfigurationCallback
from anomalib.models import Padim
from anomalib.pre_processing import PreProcessor
from lightning.pytorch import Callback

import patchbank
from patchbank.contrib.anomalib import SaveBank
from patchbank.errors import (
    BankFileError,
    CategoryExistsError,
    DatabaseUnreachableError,
    ExtractorMismatchError,
    ParameterError,
    PatchbankError,
)
from patchbank.inspection.workspace import Workspace
from tests.parity_anomalib.conftest import Pictures, fit, train, untrained
from tests.parity_anomalib.test_parity_real_anomalib import CROP, LAYERS, transform

RESNET: dict[str, Any] = {"backbone": "resnet18", "layers": LAYERS}


@pytest.fixture
def where(database_url: str, graphs_home: Path) -> dict[str, Any]:
    return {"home": graphs_home, "database_url": database_url}


@pytest.mark.parametrize("crop", [CROP, None], ids=["cropped", "whole"])
@pytest.mark.parametrize("backbone", ["resnet18", "wide_resnet50_2"])
def test_it_judges_to_the_bit_like_the_exported_file(
    tmp_path: Path,
    pictures: Pictures,
    networks: dict[str, Any],
    where: dict[str, Any],
    backbone: str,
    crop: int | None,
) -> None:
    saved = SaveBank("running", **where)
    files = train(
        tmp_path,
        pictures,
        networks[backbone],
        [saved],
        backbone=backbone,
        layers=LAYERS,
        pre_processor=PreProcessor(transform(crop)),
    )
    imported = patchbank.import_anomalib(files.exported, "exported", **where)
    assert saved.report is not None
    assert saved.report.settings == imported.settings
    assert saved.report.remarks == imported.remarks
    with Workspace(**where) as workspace:
        banks = [workspace.database.banks.active(name).content for name in ("running", "exported")]
    assert banks[0].features.tobytes() == banks[1].features.tobytes()
    assert banks[0].extractor_fingerprint == banks[1].extractor_fingerprint
    assert banks[0].settings == banks[1].settings

    noise = np.random.default_rng(0).integers(0, 256, (150, 170, 3), np.uint8)
    images: list[Any] = [*sorted(pictures.judged.iterdir()), noise]
    judged = []
    for name in ("running", "exported"):
        with patchbank.open(name, **where) as bank:
            bank.calibrate(pictures.good, false_alarm_rate=0.2)
            judged.append([bank.inspect(image) for image in images])
    assert {inspection.verdict for inspection in judged[0]} == {"pass", "fail"}
    for running, exported in zip(*judged, strict=True):
        assert running.verdict == exported.verdict
        assert running.score == exported.score
        assert running.p_value == exported.p_value
        assert running.thresholds == exported.thresholds
        assert running.regions == exported.regions
        assert running.full_map().tobytes() == exported.full_map().tobytes()


def test_anomalibs_own_preprocessing(
    tmp_path: Path, pictures: Pictures, networks: dict[str, Any], where: dict[str, Any]
) -> None:
    saved = SaveBank("running", **where)
    fit(tmp_path, pictures, untrained(networks["resnet18"], **RESNET), saved)
    assert saved.report is not None
    settings = {setting.name: setting.value for setting in saved.report.settings}
    assert (settings["image_size"], settings["center_crop"]) == (256, None)


def test_what_cannot_be_saved_is_refused_before_the_training(
    tmp_path: Path, pictures: Pictures, networks: dict[str, Any], where: dict[str, Any]
) -> None:
    network = networks["resnet18"]
    other = untrained(network, **RESNET)
    with torch.no_grad():
        other.model.feature_extractor.feature_extractor.conv1.weight.add_(1e-3)
    antialias = PreProcessor(transform(None, antialias=False))
    tiles = TilerConfigurationCallback(enable=True, tile_size=64, stride=64)
    nowhere = {**where, "database_url": "postgresql://127.0.0.1:9/none"}
    bank = SaveBank("running", **where)
    cases: list[tuple[Any, list[Any], type[PatchbankError], str]] = [
        (other, [bank], ExtractorMismatchError, "other weights of resnet18"),
        (
            untrained(network, pre_processor=False, **RESNET),
            [bank],
            ParameterError,
            "SaveBank: Patchcore has no pre-processor with a transform",
        ),
        (
            untrained(network, pre_processor=antialias, **RESNET),
            [bank],
            BankFileError,
            "Anomalib's Patchcore: resizes without antialiasing",
        ),
        (untrained(network, **RESNET), [tiles, bank], BankFileError, "was made with tiling"),
        (untrained(network, **RESNET), [bank, tiles], BankFileError, "was made with tiling"),
        (
            untrained(network, **RESNET),
            [SaveBank("running", **nowhere)],
            DatabaseUnreachableError,
            "127.0.0.1",
        ),
        (
            untrained(network, **RESNET),
            [SaveBank("running", image_score="median", **where)],
            ParameterError,
            "median",
        ),
    ]
    for model, callbacks, error, message in cases:
        with pytest.raises(error, match=message) as caught:
            fit(tmp_path, pictures, model, *callbacks)
        assert "\n" not in str(caught.value)
        assert not model.model.memory_bank.numel()
        assert not model.model.embedding_store
    padim = Padim(backbone="resnet18", layers=["layer1"], n_features=10, pre_trained=False)
    with pytest.raises(ParameterError, match="the model is Padim, but only the memory bank of Pat"):
        fit(tmp_path, pictures, padim, bank)
    with pytest.raises(ParameterError, match="must not contain a slash"):
        SaveBank("a/b")
    with Workspace(**where) as workspace:
        assert workspace.database.categories.list() == []


class TakeName(Callback):  # type: ignore[misc]
    """Gives the category a bank while Anomalib trains."""

    def __init__(self, file: Path, where: dict[str, Any]) -> None:
        self.file, self.where = file, where

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        patchbank.import_anomalib(self.file, "running", **self.where)


def test_a_trained_model_that_cannot_be_saved_is_kept(
    tmp_path: Path, pictures: Pictures, networks: dict[str, Any], where: dict[str, Any]
) -> None:
    network = networks["resnet18"]
    files = train(tmp_path / "first", pictures, network, **RESNET)
    model = untrained(network, **RESNET)
    with pytest.raises(
        CategoryExistsError, match=r"the trained model is kept in .*\.ckpt"
    ) as error:
        fit(
            tmp_path / "second",
            pictures,
            model,
            TakeName(files.exported, where),
            SaveBank("running", **where),
        )
    kept = next(
        Path(word.rstrip(":")) for word in str(error.value).split() if word.endswith(".ckpt:")
    )
    patchbank.import_anomalib(kept, "kept", **where)
    with Workspace(**where) as workspace:
        content = workspace.database.banks.active("kept").content
    assert np.array_equal(content.features, model.model.memory_bank.numpy())

    with pytest.raises(CategoryExistsError, match=r"already has a bank, version 1; .*replace=True"):
        fit(
            tmp_path / "third", pictures, untrained(network, **RESNET), SaveBank("running", **where)
        )
    saved = SaveBank("running", replace=True, **where)
    fit(tmp_path / "fourth", pictures, untrained(network, **RESNET), saved)
    assert saved.report is not None
    assert saved.report.bank_version == 2
