"""What the parity tests share: real images and the reference networks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from efficientnet_lite_pytorch import EfficientNet

from patchbank.vision.backbones import get_backbone
from patchbank.vision.images import decode

# PyTorch's threads and OpenVINO's would wait for one another on a machine of few cores.
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def cells() -> list[npt.NDArray[np.uint8]]:
    """Six photographs of solar cells, (300, 300, 3)."""
    found = find_spec("elpv_dataset")
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent / "data" / "images"
    names = sorted(folder.glob("*.png"))[::500]
    assert len(names) == 6
    return [decode(name).pixels for name in names]


@pytest.fixture(scope="session")
def reference_network() -> Callable[[str, torch.Tensor], list[torch.Tensor]]:
    """Return a function that gives the reference network's output at every block.

    It takes pixels of 0 to 255, (1, 3, side, side).
    """

    @cache
    def network(name: str, side: int) -> Any:
        # The padding of the reference is fixed by the image size it is built for.
        model = EfficientNet.from_name(name, image_size=side)
        weights = get_backbone(name)._weights.path()  # type: ignore[attr-defined]
        model.load_state_dict(torch.load(weights, weights_only=True))
        return model.eval()

    def taps(name: str, pixels: torch.Tensor) -> list[torch.Tensor]:
        model = network(name, pixels.shape[-1])
        with torch.no_grad():
            value = model._swish(model._bn0(model._conv_stem((pixels - 127.0) / 128.0)))
            outputs = []
            for block in model._blocks:
                value = block(value)
                outputs.append(value)
        return outputs

    return taps


@pytest.fixture(scope="session")
def reference_taps(
    reference_network: Callable[[str, torch.Tensor], list[torch.Tensor]],
) -> Callable[[str, npt.NDArray[np.uint8]], list[torch.Tensor]]:
    """Return the same for an image, (side, side, 3)."""

    def taps(name: str, image: npt.NDArray[np.uint8]) -> list[torch.Tensor]:
        return reference_network(
            name, torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float()
        )

    return taps
