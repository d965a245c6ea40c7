"""Anomalib's files as PyTorch itself writes them, and its patch distances."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

from patchbank.contrib._anomalib_files import read_anomalib_file
from patchbank.contrib._anomalib_running import read_running_model
from patchbank.errors import BankFileError
from patchbank.inspection.keeping.backbones import add_weights
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.settings import get_settings
from patchbank.torch_files.reader import Inert
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from tests.parity import references

Cells = list[npt.NDArray[np.uint8]]
LAYERS = (4, 10)


class Resize(nn.Module):
    def __init__(self, side: int) -> None:
        super().__init__()
        self.size, self.antialias = [side, side], True


class CenterCrop(nn.Module):
    def __init__(self, side: int) -> None:
        super().__init__()
        self.size = (side, side)


class Normalize(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mean, self.std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]


class Compose(nn.Module):
    def __init__(self, *transforms: nn.Module) -> None:
        super().__init__()
        self.transforms = list(transforms)


class PreProcessor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.transform = Compose(Resize(256), CenterCrop(224), Normalize())


class FeatureExtractor(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.feature_extractor = nn.ModuleDict(
            {"conv1": nn.Conv2d(3, 4, 3), "bn1": nn.BatchNorm2d(4)}
        )


class PatchcoreModel(nn.Module):
    def __init__(self, bank: torch.Tensor) -> None:
        super().__init__()
        self.tiler = None
        self.backbone, self.layers, self.num_neighbors = "resnet18", ["layer2", "layer3"], 9
        self.feature_extractor = FeatureExtractor().eval()
        self.feature_pooler = nn.AvgPool2d(3, 1, 1)
        self.register_buffer("memory_bank", bank)


class Patchcore(nn.Module):
    def __init__(self, bank: torch.Tensor) -> None:
        super().__init__()
        self.model = PatchcoreModel(bank)
        self.pre_processor = PreProcessor()
        self.coreset_sampling_ratio = 0.1
        self.register_buffer("_is_fitted", torch.tensor([True]))


SETTINGS = {
    "backbone": "resnet18",
    "layers": ("layer2", "layer3"),
    "image_size": 256,
    "center_crop": 224,
    "coreset_ratio": 0.1,
    "num_neighbors": 9,
}


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", ["plain", "turned", "part", "parameter"])
def test_saved_tensors(tmp_path: Path, zip_format: bool, dtype: torch.dtype, form: str) -> None:
    torch.manual_seed(0)
    bank = torch.randn(20, 12).to(dtype)
    if form == "turned":
        bank = torch.randn(12, 20).to(dtype).T
    elif form == "part":
        bank = torch.randn(50, 40).to(dtype)[3:43:2, 5:17]
    path = tmp_path / "bank.pt"
    saved = nn.Parameter(bank) if form == "parameter" else bank
    torch.save(saved, path, _use_new_zipfile_serialization=zip_format)
    found = read_anomalib_file(path, 1_000_000_000)
    expected = bank.float() if dtype == torch.bfloat16 else bank
    assert np.array_equal(found.file.array(found.memory_bank), expected.numpy())


@pytest.mark.parametrize("zip_format", [True, False])
@pytest.mark.filterwarnings("ignore:.*retrieve source code")
def test_an_exported_module(tmp_path: Path, zip_format: bool) -> None:
    torch.manual_seed(0)
    bank = torch.randn(20, 12)
    root = Patchcore(bank)
    path = tmp_path / "model.pt"
    torch.save({"model": root}, path, _use_new_zipfile_serialization=zip_format)
    found = read_anomalib_file(path, 1_000_000_000)
    assert np.array_equal(found.file.array(found.memory_bank), bank.numpy())
    assert found.settings == SETTINGS
    inner = root.model.feature_extractor.feature_extractor.state_dict()
    assert set(found.network) == set(inner)
    for name, tensor in inner.items():
        assert np.array_equal(found.file.array(found.network[name]), tensor.numpy())
    assert isinstance(found.file.value["model"], Inert)  # type: ignore[index]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("form", ["plain", "turned", "part"])
def test_a_running_module_reads_like_its_file(
    tmp_path: Path, dtype: torch.dtype, form: str
) -> None:
    torch.manual_seed(0)
    bank = torch.randn(50, 50).to(dtype)
    root = Patchcore({"plain": bank, "turned": bank.T, "part": bank[3:43:2, 5:17]}[form])
    path = tmp_path / "model.pt"
    torch.save({"model": root}, path)
    file, running = read_anomalib_file(path, 1_000_000_000), read_running_model(root)
    assert (running.kind, running.settings) == ("running model", SETTINGS)
    banks = [found.file.array(found.memory_bank) for found in (file, running)]
    assert banks[0].dtype == banks[1].dtype
    assert np.array_equal(banks[0], banks[1])
    assert set(running.network) == set(file.network)
    for name, tensor in running.network.items():
        of_file = file.file.array(file.network[name])
        assert np.array_equal(running.file.array(tensor), of_file)


def test_a_running_module_with_tiles_is_refused() -> None:
    root = Patchcore(torch.randn(20, 12))
    root.model.tiler = object()  # type: ignore[assignment]
    with pytest.raises(BankFileError, match="Anomalib's Patchcore: was made with tiling"):
        read_running_model(root)


def test_a_checkpoint(tmp_path: Path) -> None:
    torch.manual_seed(0)
    bank = torch.randn(20, 12)
    root = Patchcore(bank)
    content: dict[str, Any] = {
        "epoch": 0,
        "global_step": 5,
        "pytorch-lightning_version": "2.5.0",
        "state_dict": root.state_dict(),
        "loops": {"fit_loop": {"state_dict": {}, "epoch_progress": {"total": {"ready": 1}}}},
        "callbacks": {
            "ModelCheckpoint{'mode': 'max'}": {"best": torch.tensor(0.5), "path": tmp_path}
        },
        "optimizer_states": [],
        "lr_schedulers": [],
        "hparams_name": "kwargs",
        "hyper_parameters": {
            "backbone": "resnet18",
            "layers": ["layer2", "layer3"],
            "pre_trained": True,
            "coreset_sampling_ratio": 0.1,
            "num_neighbors": 9,
            "pre_processor": root.pre_processor,
            "post_processor": True,
        },
    }
    path = tmp_path / "model.ckpt"
    torch.save(content, path)
    found = read_anomalib_file(path, 1_000_000_000)
    assert found.kind == "Lightning checkpoint"
    assert found.settings == SETTINGS
    assert np.array_equal(found.file.array(found.memory_bank), bank.numpy())
    assert set(found.network) == set(root.model.feature_extractor.feature_extractor.state_dict())


def anomalib_embedding(taps: list[torch.Tensor]) -> torch.Tensor:
    """Return Anomalib's patch features, (patches, dimensions)."""
    pooled = [nn.AvgPool2d(3, 1, 1)(one) for one in taps]
    joined = [pooled[0]] + [
        functional.interpolate(one, size=pooled[0].shape[-2:], mode="bilinear")
        for one in pooled[1:]
    ]
    return torch.cat(joined, dim=1)[0].permute(1, 2, 0).flatten(0, 1)


def test_patch_distances_equal_anomalibs(cells: Cells, reference_network: Any) -> None:
    """To a thousandth, with images resized and cropped as torchvision does it."""
    settings = ExtractorSettings(image_size=256, center_crop=224, resize_precision="float32")

    def anomalib(cell: npt.NDArray[np.uint8]) -> torch.Tensor:
        value = torch.from_numpy(cell.copy()).permute(2, 0, 1)[None].float() / 255
        value = functional.interpolate(value, (256, 256), mode="bilinear", antialias=True)
        value = value[..., 16:240, 16:240] * 255
        taps = reference_network(settings.backbone, value)
        return anomalib_embedding([taps[index] for index in LAYERS])

    bank = torch.cat([anomalib(cell) for cell in cells[:4]])[::5].contiguous()
    index = NeighbourIndex(bank.numpy())
    with Extractor(settings, threads=2) as extractor:
        for cell in cells[4:]:
            # The most exact of ways; Anomalib's own expands the square.
            theirs = torch.cdist(anomalib(cell).double(), bank.double()).amin(dim=1).numpy()
            patches = extractor.extract([cell]).patches[0]
            ours = index.nearest(patches.reshape(-1, patches.shape[-1])).distances[:, 0]
            assert (np.abs(ours - theirs) / theirs).max() < 1e-3


def test_patch_distances_of_wide_resnet50_2_equal_anomalibs(cells: Cells, tmp_path: Path) -> None:
    """As PatchCore was published: layers 2 and 3, 256 pixels cropped to 224."""
    network = references.make("wide_resnet50_2").half().float().eval()
    file = tmp_path / "model.safetensors"
    safetensors.torch.save_file(network.state_dict(), file)

    def anomalib(cell: npt.NDArray[np.uint8]) -> torch.Tensor:
        value = torch.from_numpy(cell.copy()).permute(2, 0, 1)[None].float() / 255
        value = functional.interpolate(value, (256, 256), mode="bilinear", antialias=True)
        with torch.no_grad():
            taps = network.taps(value[..., 16:240, 16:240])
        return anomalib_embedding([taps["layer2"], taps["layer3"]])

    bank = torch.cat([anomalib(cell) for cell in cells[:3]])[::5].contiguous()
    index = NeighbourIndex(bank.numpy())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHBANK_BACKBONES", str(tmp_path / "backbones"))
        get_settings.cache_clear()
        add_weights("wide_resnet50_2", file)
        settings = ExtractorSettings(
            "wide_resnet50_2", image_size=256, center_crop=224, resize_precision="float32"
        )
        assert settings.layers == ("layer2", "layer3")
        with Extractor(settings, threads=2) as extractor:
            patches = extractor.extract([cells[5]]).patches[0]
    get_settings.cache_clear()
    ours = index.nearest(patches.reshape(-1, patches.shape[-1])).distances[:, 0]
    theirs = torch.cdist(anomalib(cells[5]).double(), bank.double()).amin(dim=1).numpy()
    error = (np.abs(ours - theirs) / theirs).max()
    print(f"largest relative difference of patch distances: {error:.2g}")
    assert error < 1e-3
