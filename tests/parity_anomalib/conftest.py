"""Banks that the real Anomalib makes, of small images and small networks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import timm
import torch
from anomalib.data import Folder
from anomalib.deploy import ExportType
from anomalib.engine import Engine
from anomalib.models import Patchcore
from PIL import Image
from scipy.ndimage import gaussian_filter

from patchbank.inspection.keeping.backbones import add_weights
from patchbank.settings import get_settings

# PyTorch's threads and OpenVINO's would wait for one another on a machine of few cores.
torch.set_num_threads(1)

BACKBONES = ("resnet18", "wide_resnet50_2")


@dataclass(frozen=True)
class Pictures:
    """Folders of made images."""

    learned: Path
    good: Path
    judged: Path


@dataclass(frozen=True)
class Trained:
    """A model that Anomalib trained, and its files: a tensor, a checkpoint, an exported model."""

    model: Any
    tensor: Path
    checkpoint: Path
    exported: Path


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    """Textures of 170 x 150 pixels, so that a resize to a square squeezes them."""
    root = tmp_path_factory.mktemp("pictures")
    random = np.random.default_rng(7)
    for folder, count in (("learned", 8), ("good", 6), ("judged", 6)):
        (root / folder).mkdir()
        for number in range(count):
            texture = gaussian_filter(random.normal(size=(150, 170, 3)), (3, 3, 0)) * 6
            texture += gaussian_filter(random.normal(size=(150, 170, 1)), (12, 12, 0)) * 25
            pixels = np.clip(128 + 40 * texture, 0, 255).astype(np.uint8)
            if folder == "judged" and number % 2:
                row, column = random.integers(40, 100, 2)
                pixels[row : row + 3, column : column + 40] = 20
            Image.fromarray(pixels).save(root / folder / f"{number:03}.png")
    return Pictures(root / "learned", root / "good", root / "judged")


@pytest.fixture(scope="session")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """timm's networks with random weights of a seed, which patchbank has been given as well."""
    root = tmp_path_factory.mktemp("networks")
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATCHBANK_BACKBONES", str(root / "backbones"))
        get_settings.cache_clear()
        for name in BACKBONES:
            torch.manual_seed(3)
            made[name] = timm.create_model(name, pretrained=False).eval()
            for module in made[name].modules():
                # As training leaves them; the variances of a new network are all one.
                if isinstance(module, torch.nn.BatchNorm2d):
                    torch.nn.init.uniform_(module.weight, 0.6, 1.2)
                    torch.nn.init.normal_(module.bias, 0.0, 0.2)
                    torch.nn.init.normal_(module.running_mean, 0.0, 0.2)
                    torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
            file = root / f"{name}.safetensors"
            safetensors.torch.save_file(made[name].state_dict(), file)
            add_weights(name, file)
        yield made
    get_settings.cache_clear()


def untrained(network: Any, **options: Any) -> Any:
    """Return Anomalib's Patchcore on that network."""
    torch.manual_seed(0)
    model = Patchcore(
        pre_trained=False, coreset_sampling_ratio=0.2, evaluator=False, visualizer=False, **options
    )
    extractor = model.model.feature_extractor.feature_extractor
    wanted = extractor.state_dict()
    extractor.load_state_dict({name: network.state_dict()[name] for name in wanted})
    return model


def fit(folder: Path, pictures: Pictures, model: Any, *callbacks: Any) -> Engine:
    """Let Anomalib's engine train a model."""
    data = Folder(
        "made",
        normal_dir=pictures.learned,
        train_batch_size=4,
        eval_batch_size=4,
        num_workers=0,
        test_split_mode="none",
        val_split_mode="none",
    )
    engine = Engine(
        callbacks=list(callbacks),
        default_root_dir=folder,
        accelerator="cpu",
        devices=1,
        logger=False,
        enable_progress_bar=False,
        limit_val_batches=0,
    )
    engine.fit(model, datamodule=data)
    return engine


def train(
    folder: Path, pictures: Pictures, network: Any, callbacks: Sequence[Any] = (), **options: Any
) -> Trained:
    """Let Anomalib's engine train a Patchcore on that network, and write all its files."""
    model = untrained(network, **options)
    engine = fit(folder, pictures, model, *callbacks)
    if not model.model.memory_bank.numel():
        model.fit()
    tensor, checkpoint = folder / "bank.pt", folder / "model.ckpt"
    torch.save(model.model.memory_bank, tensor)
    engine.trainer.save_checkpoint(checkpoint)
    exported = engine.export(model, ExportType.TORCH, export_root=folder / "export")
    return Trained(model, tensor, checkpoint, Path(str(exported)))
