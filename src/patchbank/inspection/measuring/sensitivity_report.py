"""What synthetic defects of growing size and contrast were found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TextIO

import numpy as np
import numpy.typing as npt

from patchbank.inspection.verdicts import Refused
from patchbank.memory.calibration import Thresholds
from patchbank.metrics import Proportion, proportion
from patchbank.printable import counted
from patchbank.spreadsheets import SafeWriter

#: Always said with the figures.
SYNTHETIC: Final = (
    "The defects are synthetic: scratches, spots, stains and cuts drawn by code into images of "
    "good parts. The figures show what size and contrast the inspection reacts to; they are no "
    "recall, and do not say how many of your real defects will be found."
)
#: A size is found where this share of its defects is, and of all larger ones.
FOUND_SHARE: Final = 0.9


@dataclass(frozen=True)
class Trial:
    """The defects that were tried.

    Attributes
    ----------
    kinds
        Names of the kinds.
    sizes
        In pixels of the image, of the longest side of a defect, ascending.
    contrasts
        As shares of each image's own contrast, ascending.
    mm_per_pixel
        Millimetres per pixel of the image, if known.
    """

    kinds: tuple[str, ...]
    sizes: tuple[int, ...]
    contrasts: tuple[float, ...]
    seed: int
    mm_per_pixel: float | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """How many kinds, sizes and contrasts there are."""
        return len(self.kinds), len(self.sizes), len(self.contrasts)

    @property
    def defects(self) -> int:
        """How many defects an image gets, one at a time."""
        return int(np.prod(self.shape))

    def millimetres(self, size: float) -> float | None:
        """Return a size in millimetres, rounded to what can be told; None if it is not known."""
        if self.mm_per_pixel is None:
            return None
        return float(f"{size * self.mm_per_pixel:.3g}")

    def size_in_words(self, size: int) -> str:
        """Return a size in pixels and, if known, in millimetres."""
        millimetres = self.millimetres(size)
        return f"{size} px" + ("" if millimetres is None else f" ({millimetres:g} mm)")


@dataclass(frozen=True, eq=False)
class ShownDefect:
    """A defect in a crop of its image, with the crop of the map.

    Attributes
    ----------
    image
        Name of the image.
    size
        In pixels.
    pixels, anomaly_map
        uint8 (h, w, 3) and float32 (h, w), NaN where the image was not inspected.
    outcome
        ``found``, ``located, but passes``, ``does not pass, but elsewhere`` or ``missed``.
    """

    image: str
    size: int
    pixels: npt.NDArray[np.uint8]
    anomaly_map: npt.NDArray[np.float32]
    outcome: str


@dataclass(frozen=True, eq=False)
class ShownPair:
    """Of a kind and contrast, the smallest defect that was found and the largest that was not."""

    smallest_found: ShownDefect | None
    largest_missed: ShownDefect | None


@dataclass(frozen=True, eq=False, repr=False)
class SensitivityReport:
    """Which synthetic defects were found; see `patchbank.Bank.sensitivity`.

    Attributes
    ----------
    found
        int (kinds, sizes, contrasts): defects whose image does not pass and whose map is strongest
        at the defect.
    located
        The same, whatever the verdict.
    images
        How many images got each of the defects.
    not_passed
        Images that do not pass without a defect, by name; they are in no figure.
    pairs
        By the numbers of kind and contrast.
    held_out
        Whether the images were held out; else they are references, each judged without its own
        patches.
    """

    category: str
    bank_version: int
    thresholds: Thresholds
    map_threshold: float
    trial: Trial
    images: int
    found: npt.NDArray[np.int64]
    located: npt.NDArray[np.int64]
    not_passed: tuple[str, ...]
    held_out: bool
    pairs: dict[tuple[int, int], ShownPair]
    refused: tuple[Refused, ...]
    left_out: tuple[str, ...]
    remarks: tuple[str, ...]
    seconds: float
    page: Path | None = None

    def __repr__(self) -> str:
        return (
            f"<SensitivityReport of {self.category!r}: {counted(self.images, 'image')}, "
            f"synthetic defects; {'; '.join(self.in_words())}>"
        )

    def share(self, kind: int, size: int, contrast: int) -> Proportion:
        """Return the share of defects found, with its interval."""
        return proportion(int(self.found[kind, size, contrast]), self.images)

    def smallest(self, kind: int, contrast: int) -> int | None:
        """Return the size from which on defects are found, in pixels; None if none is."""
        enough = self.found[kind, :, contrast] >= FOUND_SHARE * self.images - 1e-9
        missed = np.flatnonzero(~enough)
        first = int(missed[-1]) + 1 if len(missed) else 0
        return self.trial.sizes[first] if first < len(enough) else None

    def smallest_in_words(self, kind: int, contrast: int) -> str:
        """Return the size from which on defects are found, in words."""
        size = self.smallest(kind, contrast)
        return "not found" if size is None else self.trial.size_in_words(size)

    def in_words(self) -> list[str]:
        """Return what is found of each kind, a line each."""
        lines = []
        for kind, name in enumerate(self.trial.kinds):
            sizes = [
                f"{self.smallest_in_words(kind, number)} at {100 * contrast:g} %"
                for number, contrast in enumerate(self.trial.contrasts)
                if self.smallest(kind, number) is not None
            ]
            lines.append(f"{name}: {', '.join(sizes) if sizes else 'not found'}")
        return lines

    def how(self) -> str:
        """Return on which images it was measured, in words."""
        if self.held_out:
            return f"{counted(self.images, 'good image')} that the bank has not learned"
        return (
            f"{counted(self.images, 'reference')}, each judged without its own patches: the bank "
            "then has gaps where only they were, so that a new good image would score a little less"
        )

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        trial = self.trial
        return {
            "category": self.category,
            "bank_version": self.bank_version,
            "synthetic": True,
            "note": SYNTHETIC,
            **self.thresholds.to_json(),
            "images": self.images,
            "held_out": self.held_out,
            "not_passed_without_defect": list(self.not_passed),
            "kinds": list(trial.kinds),
            "sizes_pixels": list(trial.sizes),
            "contrasts": list(trial.contrasts),
            "mm_per_pixel": trial.mm_per_pixel,
            "seed": trial.seed,
            "found_share": FOUND_SHARE,
            "smallest_found": [
                {
                    "kind": name,
                    "contrast": contrast,
                    "size_pixels": (size := self.smallest(kind, number)),
                    "size_mm": None if size is None else trial.millimetres(size),
                }
                for kind, name in enumerate(trial.kinds)
                for number, contrast in enumerate(trial.contrasts)
            ],
            "defects": [dict(zip(_COLUMNS, row, strict=True)) for row in self._rows()],
            "refused": [refusal.to_json() for refusal in self.refused],
            "left_out": list(self.left_out),
            "remarks": list(self.remarks),
            "seconds": round(self.seconds, 3),
            "report": None if self.page is None else str(self.page),
        }

    def write_csv(self, file: TextIO) -> None:
        """Write a heading and a line for each kind, size and contrast."""
        writer = SafeWriter(file)
        writer.writerow((*_COLUMNS, "synthetic", "category", "bank_version"))
        writer.writerows((*row, "yes", self.category, self.bank_version) for row in self._rows())

    def _rows(self) -> Sequence[tuple[Any, ...]]:
        rows = []
        for kind, size, contrast in np.ndindex(*self.trial.shape):
            share = self.share(kind, size, contrast)
            pixels = self.trial.sizes[size]
            rows.append(
                (
                    self.trial.kinds[kind],
                    pixels,
                    self.trial.millimetres(pixels),
                    self.trial.contrasts[contrast],
                    share.total,
                    share.count,
                    share.value,
                    share.low,
                    share.high,
                    int(self.located[kind, size, contrast]),
                )
            )
        return rows


_COLUMNS: Final = (
    "kind", "size_pixels", "size_mm", "contrast", "images", "found", "share_found", "low", "high",
    "located",
)  # fmt: skip
