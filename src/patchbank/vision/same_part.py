"""Tell pictures of the same part or the same stretch of material, shifted or not, from others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image

from patchbank.vision.decoded_image import Pixels

# Images are compared at so many pixels per side. Of 96, 128, 160 and 224, this tells pictures of
# the same solar cell and of other cells apart best.
SIDE = 128
# A pixel is compared with the mean and the spread of the square around it, of so many pixels.
_AROUND = 15
# Spread below this share of the image's median is not raised further: it is noise of the camera.
_LEAST_SPREAD = 0.1
# Frequencies with less than this share of the strongest amplitude are not raised further.
_FAINTEST = 1e-3
# More than a quarter of all images alike are a kind of part, not pictures of a single part.
_COMMON = 0.75
_AT_ONCE = 64


def texture(pixels: Pixels) -> bytes:
    """Return what `SameParts` needs of an image: `SIDE` squared grey values."""
    small = Image.fromarray(pixels).resize((SIDE, SIDE), Image.Resampling.BOX, reducing_gap=2.0)
    return small.convert("L").tobytes()


class SameParts:
    """How much of an image's individual texture each other image shows too, wherever it does.

    Images of two parts share what all parts have: their outline, their print. So each pixel is
    divided by the spread around it, which takes away the weight of such edges; what is common to
    all images, at a position or a frequency, is removed; the rest is compared by phase correlation.

    Parameters
    ----------
    textures
        What `texture` returns of each image.

    References
    ----------
    C. Kuglin, D. Hines, "The Phase Correlation Image Alignment Method", IEEE Conference on
    Cybernetics and Society, 1975.
    """

    def __init__(self, textures: Sequence[bytes]) -> None:
        count = len(textures)
        self._textures = np.empty((count, SIDE, SIDE), np.float16)
        mean = np.zeros((SIDE, SIDE))
        for slot, content in enumerate(textures):
            grey = np.frombuffer(content, np.uint8).reshape(SIDE, SIDE).astype(np.float32)
            self._textures[slot] = fine = grey - _around(grey)
            mean += fine / count
        again = np.zeros((SIDE, SIDE))
        for slot in range(count):
            fine = self._textures[slot] - mean
            spread = np.sqrt(np.maximum(_around(fine * fine), 0))
            least = _LEAST_SPREAD * float(np.median(spread)) + 1e-6
            self._textures[slot] = even = fine / (spread + least)
            again += even / count
        edge = np.sqrt(np.hanning(SIDE + 2)[1:-1])
        self._window = np.outer(edge, edge).astype(np.float32)
        self._mean = again.astype(np.float32)
        self._amplitude = np.ones((SIDE, SIDE // 2 + 1), np.float32)
        power = np.zeros(self._amplitude.shape)
        for start in range(0, count, _AT_ONCE):
            found = np.abs(self._spectra(slice(start, start + _AT_ONCE))) ** 2
            power += found.sum(axis=0)
        typical = np.sqrt(power / count)
        self._amplitude = np.maximum(typical, max(_FAINTEST * typical.max(), 1e-12))

    def __len__(self) -> int:
        return len(self._textures)

    def _spectra(self, part: slice | npt.NDArray[np.int64]) -> npt.NDArray[np.complex64]:
        """Return whitened spectra of unit energy of some images, complex64 (k, SIDE, SIDE/2+1)."""
        # SciPy is imported in functions: it takes a quarter of a second, and no verdict needs it.
        from scipy import fft

        windowed = (self._textures[part].astype(np.float32) - self._mean) * self._window
        spectra = fft.rfft2(windowed) / self._amplitude
        # Of a real image's spectrum half is stored, its first and last column once.
        power = np.abs(spectra) ** 2
        energy = 2 * power.sum(axis=(1, 2)) - power[:, :, 0].sum(1) - power[:, :, -1].sum(1)
        scale = SIDE / np.sqrt(np.maximum(energy, np.finfo(np.float32).tiny))
        return np.asarray(spectra * scale[:, None, None], np.complex64)

    def shared(self, images: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """Return how much images have in common with each, beyond what is usual for them.

        Parameters
        ----------
        images
            int64 (k,)

        Returns
        -------
        ndarray of float32 (k, n)
            1 for the same picture, 0 or less for images as alike as a kind of part; -1 with itself.
        """
        from scipy import fft

        found = np.empty((len(images), len(self)), np.float32)
        for start in range(0, len(self), _AT_ONCE):
            others = self._spectra(slice(start, start + _AT_ONCE)).conj()
            for row in range(len(images)):
                own = self._spectra(images[row : row + 1])
                surfaces = fft.irfft2(own * others, s=(SIDE, SIDE), workers=2)
                found[row, start : start + len(others)] = surfaces.max(axis=(1, 2))
        found[np.arange(len(images)), images] = np.nan
        usual = np.nanquantile(found, _COMMON, axis=1, keepdims=True)
        beyond = (found - usual) / np.maximum(1 - usual, np.finfo(np.float32).eps)
        return np.asarray(np.nan_to_num(beyond, nan=-1.0), np.float32)


def _around(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the means around each pixel, nearly as by a Gaussian, which takes far longer."""
    from scipy import ndimage

    once = ndimage.uniform_filter(values, _AROUND // 2 | 1)
    return np.asarray(ndimage.uniform_filter(once, _AROUND // 2 | 1), np.float32)
