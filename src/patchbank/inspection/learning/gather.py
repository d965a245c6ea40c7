"""The images a bank learns from, or is calibrated by: each used once, the unusable refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from patchbank.inspection.learning.demands import Demands
from patchbank.inspection.learning.dependence import dependence_of
from patchbank.inspection.sources import readable
from patchbank.inspection.verdicts import Refused
from patchbank.memory.groups import Groups
from patchbank.store.bank_content import ReferenceImage
from patchbank.vision.decoded_image import ImageSource
from patchbank.vision.extraction import Extraction, Refusal
from patchbank.vision.same_part import texture


class References:
    """Admits images in any order, each picture once, under the first name it was given with.

    Pictures are the same if their decoded pixels are, whatever their files say besides.

    Parameters
    ----------
    sources, names
        The images asked for.
    known
        References of the bank: what has the content of one is refused, and what has only its name
        gets another, such as ``1.png (2)``.
    taken
        More names that are not free.
    textures
        Whether to keep what tells images of the same part.

    Attributes
    ----------
    images
        Those admitted, in the order of their admission.
    numbers
        Their places in `sources`.
    remarks
        On images that depend on one another, once `groups` was called.
    """

    def __init__(
        self,
        sources: Sequence[ImageSource],
        names: Sequence[str],
        known: Sequence[ReferenceImage] = (),
        taken: Collection[str] = (),
        *,
        textures: bool = True,
    ) -> None:
        self._sources, self._names, self._textures = sources, names, textures
        self._known_names = {*taken, *(image.name for image in known)}
        self._given_names = set(names)
        # Images learned before the digest of pixels was kept are known by their files.
        self._known_contents: set[str | None] = {
            digest for image in known for digest in (image.sha256, image.pixels_sha256)
        }
        self._seen: dict[str, int] = {}
        self._refused: dict[int, str] = {}
        self.images: list[ReferenceImage] = []
        self.numbers: list[int] = []
        self.remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def refused(self) -> tuple[Refused, ...]:
        """Those that are not used, in the order of the sources."""
        return tuple(
            Refused(self._names[number], reason) for number, reason in sorted(self._refused.items())
        )

    def admit(self, number: int, result: Extraction | Refusal) -> bool:
        """Admit source `number` or refuse it; return whether its features are to be used."""
        if isinstance(result, Refusal):
            self._refused[number] = str(result.error)
            return False
        image, name = result.image, self._names[number]
        if not self._known_contents.isdisjoint((image.sha256, image.pixels_sha256)):
            self._refused[number] = f"{name}: already a reference of this bank; left out"
            return False
        slot = self._seen.setdefault(image.pixels_sha256, len(self.images))
        if slot < len(self.images):
            # An image that is there twice would vouch for itself in the calibration.
            first, second = sorted((number, self.numbers[slot]))
            self._refused[second] = (
                f"{self._names[second]}: same picture as {self._names[first]}; used once"
            )
            if first == number:
                self.numbers[slot] = first
                self.images[slot] = replace(
                    self.images[slot],
                    name=self._stored_name(first),
                    origin=self._origin(first),
                    sha256=image.sha256,
                )
            return False
        self.numbers.append(number)
        self.images.append(
            ReferenceImage(
                name=self._stored_name(number),
                origin=self._origin(number),
                sha256=image.sha256,
                pixels_sha256=image.pixels_sha256,
                width=image.width,
                height=image.height,
                thumbnail=result.thumbnail,
                brightness=result.appearance.brightness,
                sharpness=result.appearance.sharpness,
                texture=texture(image.pixels) if self._textures else b"",
            )
        )
        return True

    def groups(self, labels: Mapping[str, object] | None) -> Groups | None:
        """Return the groups of the images by the labels of their given names, or else as detected.

        None where no image depends on another. Textures are kept only where groups are detected.

        Raises
        ------
        ParameterError
            If all images are labelled as of one group.
        """
        if labels is None:
            found = dependence_of([image.texture for image in self.images], self.numbers)
            self.remarks = (found.remark,) if found.remark else ()
            if found.groups is not None:
                return found.groups
        self.images[:] = [replace(image, texture=b"") for image in self.images]
        if labels is None:
            return None
        return Groups.of_labels([labels.get(self._names[number]) for number in self.numbers])

    def check(self, demands: Demands) -> None:
        """Raise `NoImagesError` if too few were admitted, `TooManyRefusedError` accordingly."""
        demands.check(len(self.images), self.refused, len(self._sources))

    def _stored_name(self, number: int) -> str:
        """Return the name it was given with, or one like it where the bank has that already."""
        given = name = self._names[number]
        count = 1
        while name in self._known_names or (count > 1 and name in self._given_names):
            count += 1
            name = f"{given} ({count})"
        return name

    def _origin(self, number: int) -> str | None:
        source = self._sources[number]
        if isinstance(source, str | Path):
            return readable(str(Path(source).absolute()))
        return None


class PatchRows:
    """The patches of images, one image after another, in one array made beforehand.

    Parameters
    ----------
    images, most
        At most so many images of at most so many patches.
    dimension
        Length of a patch feature.
    """

    def __init__(self, images: int, most: int, dimension: int) -> None:
        # What is not written to takes no memory.
        self._rows = np.empty((images * most, dimension), np.float32)
        self._counts: list[int] = []
        self._filled = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, patches: NDArray[np.float32]) -> None:
        """Add an image's patches, float32 (rows, columns, dimension)."""
        rows = patches.reshape(-1, patches.shape[-1])
        begin, self._filled = self._filled, self._filled + len(rows)
        self._rows[begin : self._filled] = rows
        self._counts.append(len(rows))

    @property
    def rows(self) -> NDArray[np.float32]:
        """All patches, float32 (N, dimension)."""
        return self._rows[: self._filled]

    def images(self, first: int = 0) -> NDArray[np.int64]:
        """Return the number of each patch's image, int64 (N,), counted from `first`."""
        return np.arange(first, first + len(self)).repeat(self._counts)

    def clear(self) -> None:
        """Begin anew in the same array."""
        self._counts.clear()
        self._filled = 0
