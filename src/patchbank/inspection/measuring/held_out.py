"""Good images held out of a trial, and the synthetic defects that are put into them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from patchbank.errors import ImageError, NoImagesError, ParameterError
from patchbank.inspection.verdicts import Refused
from patchbank.printable import counted
from patchbank.progress import Progress
from patchbank.vision.content import check_content
from patchbank.vision.decoded_image import ImageLimits, ImageSource, Pixels
from patchbank.vision.images import decode
from patchbank.vision.regions import Regions
from patchbank.vision.synthetic import SmallDefect, small_defect

# Names of the contrasts that are tried, and shares of an image's own contrast.
CONTRASTS: Final = (("faint", 0.25), ("clear", 0.6))
SMALLEST_DEFECT: Final = 2
_MOST_SIZES = 8
# Pixels of images up to `_USUAL_SIDE`; of larger ones, twice as many for each doubling.
_SIZES = (4, 8, 16, 32)
_USUAL_SIDE = 1280
# A defect is small: at most this share of the image's shorter side.
_LARGEST_SHARE = 4

FEWEST_IMAGES: Final = 8
MOST_LEARNED: Final = 120
_MOST_HELD_OUT = 30
HELD_OUT_OF: Final = 3
# Of a defect, until it is where an image is inspected.
_MOST_DRAWS = 1000


@dataclass(frozen=True, eq=False)
class Images:
    """Images and their names."""

    sources: Sequence[ImageSource]
    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.sources)

    def first(self, count: int) -> Images:
        """Return the first ones."""
        return Images(self.sources[:count], self.names[:count])


@dataclass(frozen=True, eq=False)
class Split:
    """Images to learn, and images held out; none is in both, or twice."""

    learned: Images
    held_out: Images
    refused: tuple[Refused, ...]


def split(
    images: Images,
    *,
    seed: int,
    bit_depth: int | None,
    limits: ImageLimits,
    progress: Progress,
) -> Split:
    """Draw images to learn and images to hold out, a third, from those that can be used.

    Raises
    ------
    NoImagesError
        If too few can be used.
    """
    order = np.random.default_rng([seed, 4]).permutation(len(images)).tolist()
    wanted = min(len(order), MOST_LEARNED + _MOST_HELD_OUT)
    usable: list[int] = []
    refused: list[Refused] = []
    seen: dict[str, str] = {}
    for number in order:
        if len(usable) == wanted:
            break
        name = images.names[number]
        try:
            image = decode(images.sources[number], limits=limits, name=name, bit_depth=bit_depth)
            check_content(image, image.pixels, name)
        except ImageError as error:
            refused.append(Refused(name, str(error)))
            continue
        first = seen.setdefault(image.pixels_sha256, name)
        if first != name:
            refused.append(Refused(name, f"{name}: same picture as {first}; used once"))
            continue
        usable.append(number)
        progress("images read", len(usable), wanted)
    if len(usable) < FEWEST_IMAGES:
        some = "; ".join(item.error.rstrip(".") for item in refused[:3])
        raise NoImagesError(
            f"{counted(len(usable), 'usable image')} of {len(images)} given; at least "
            f"{FEWEST_IMAGES} good images are needed to learn some and hold others out; add "
            f"{FEWEST_IMAGES - len(usable)} more{': ' + some if some else ''}"
        )
    held_out = usable[: min(_MOST_HELD_OUT, len(usable) // HELD_OUT_OF)]
    # In the order given, so that a trial learns as a fit of these images does.
    learned = sorted(usable[len(held_out) :][:MOST_LEARNED])

    def chosen(numbers: Sequence[int]) -> Images:
        return Images(
            [images.sources[number] for number in numbers],
            [images.names[number] for number in numbers],
        )

    return Split(chosen(learned), chosen(held_out), tuple(refused))


def checked_defect_sizes(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the sizes of defects asked for, ascending, each once.

    Raises
    ------
    ParameterError
        If one is no whole number of pixels, too small, or there are too many.
    """
    wrong = [size for size in sizes if type(size) is not int or size < SMALLEST_DEFECT]
    if wrong:
        raise ParameterError(
            f"defect size {wrong[0]!r}: must be a whole number of pixels, {SMALLEST_DEFECT} or more"
        )
    kept = tuple(sorted(set(sizes)))
    if len(kept) > _MOST_SIZES:
        raise ParameterError(f"{len(kept)} defect sizes given; give at most {_MOST_SIZES}")
    return kept


def default_defect_sizes(width: int, height: int) -> tuple[int, ...]:
    """Return sizes in pixels that tell settings apart on images of this size."""
    factor = 1
    while max(width, height) >= 2 * factor * _USUAL_SIDE:
        factor *= 2
    largest = max(_SIZES[0], min(width, height) // _LARGEST_SHARE)
    return tuple(factor * size for size in _SIZES if factor * size <= largest) or _SIZES[:1]


@dataclass(frozen=True, slots=True)
class Judged:
    """One picture of a held-out image: as it is, or with a defect of a size and contrast.

    Attributes
    ----------
    image
        Number of the image.
    size, contrast
        Numbers of the defect's size and contrast; -1 for an image as it is.
    box
        Of the defect, x0, y0, x1, y1 in pixels of the image.
    """

    image: int
    size: int = -1
    contrast: int = -1
    box: tuple[int, int, int, int] = (0, 0, 0, 0)


@dataclass(frozen=True, eq=False)
class DefectTrial:
    """Each held-out image as it is and with defects, the same for all settings that are tried."""

    images: Images
    sizes: tuple[int, ...]
    seed: int
    bit_depth: int | None
    limits: ImageLimits
    regions: Regions | None = None

    @property
    def defects(self) -> int:
        """How many defects an image gets, one at a time."""
        return len(self.sizes) * len(CONTRASTS)

    @property
    def pictures(self) -> int:
        """How many pictures there are."""
        return len(self.images) * (1 + self.defects)

    def pixels(self, image: int) -> Pixels:
        """Return an image as it is."""
        return decode(
            self.images.sources[image],
            limits=self.limits,
            name=self.images.names[image],
            bit_depth=self.bit_depth,
        ).pixels

    def defective(self, pixels: Pixels, judged: Judged) -> tuple[Pixels, Judged]:
        """Return an image with a defect, which its numbers and the seed determine."""
        random = np.random.default_rng([self.seed, 3, judged.image, judged.size, judged.contrast])
        share = CONTRASTS[judged.contrast][1]
        defect = small_defect(pixels, random, self.sizes[judged.size], share)
        for _ in range(_MOST_DRAWS):
            if self._is_inspected(defect, pixels):
                break
            defect = small_defect(pixels, random, self.sizes[judged.size], share)
        return defect.pixels, Judged(judged.image, judged.size, judged.contrast, defect.box)

    def _is_inspected(self, defect: SmallDefect, pixels: Pixels) -> bool:
        """Return whether a defect's middle is inspected; else it need not be found."""
        x0, y0, x1, y1 = defect.box
        height, width = pixels.shape[:2]
        return self.regions is None or self.regions.inspects(
            (x0 + x1) / 2, (y0 + y1) / 2, width, height
        )

    def draw(self, into: deque[Judged]) -> Iterator[Pixels]:
        """Yield the pictures of all images, one image after the other; what each is goes `into`."""
        for image in range(len(self.images)):
            pixels = self.pixels(image)
            into.append(Judged(image))
            yield pixels
            for size in range(len(self.sizes)):
                for contrast in range(len(CONTRASTS)):
                    picture, judged = self.defective(pixels, Judged(image, size, contrast))
                    into.append(judged)
                    yield picture
