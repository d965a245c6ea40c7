from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from patchbank.errors import ImageError
from patchbank.vision.images import decode


@pytest.mark.parametrize("compression", ["tiff_deflate", "tiff_lzw"])
def test_the_decoder_of_a_damaged_tiff_writes_nothing(
    compression: str, capfd: pytest.CaptureFixture[str]
) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "TIFF", compression=compression)
    damaged = bytearray(buffer.getvalue())
    for position in range(100, 600, 3):
        damaged[position] ^= 0x5A
    with pytest.raises(ImageError):
        decode(bytes(damaged), name="damaged.tif")
    assert capfd.readouterr() == ("", "")
