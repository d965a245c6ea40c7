"""Test images that are there twice, or were learned from: they would flatter the figures."""

from __future__ import annotations

from collections.abc import Sequence

from patchbank.datasets.layouts.shared import some
from patchbank.datasets.samples import Sample
from patchbank.store.bank_content import ReferenceImage
from patchbank.vision.decoded_image import DecodedImage


class Repeats:
    """Tells which test images count: each picture once, and none that the bank learned.

    Pictures are the same if their decoded pixels are. Images without a label are in no figure
    anyway: they are judged as all others.

    Parameters
    ----------
    learned
        The bank's images.
    """

    def __init__(self, learned: Sequence[ReferenceImage]) -> None:
        self._learned = {image.pixels_sha256 for image in learned}
        self._first: dict[str, Sample] = {}
        self._in_training: list[Sample] = []
        self._repeated: list[tuple[Sample, Sample]] = []

    def counts(self, sample: Sample, image: DecodedImage) -> bool:
        """Return whether a test image counts in the figures, and remember it."""
        labelled = sample.label != "unknown"
        if image.pixels_sha256 in self._learned:
            self._in_training.append(sample)
            return not labelled
        first = self._first.setdefault(image.pixels_sha256, sample)
        if first is sample or not labelled:
            return True
        if first.label == "unknown":
            self._first[image.pixels_sha256] = sample
            return True
        self._repeated.append((sample, first))
        return False

    def __len__(self) -> int:
        """How many labelled images do not count."""
        labelled = [sample for sample in self._in_training if sample.label != "unknown"]
        return len(labelled) + len(self._repeated)

    def remarks(self) -> list[str]:
        """Return what a person should know of them, one line for each kind."""
        remarks = []
        if found := self._in_training:
            wrong = sum(sample.label == "anomalous" for sample in found)
            text = (
                f"{_images(len(found))} also among the training images (same content), and "
                f"{_count(len(found))} in no figure: {some([sample.name for sample in found])}"
            )
            if wrong:
                text += f"; {wrong} labelled anomalous: the bank has learned them as good"
            remarks.append(text)
        same = [pair for pair in self._repeated if pair[0].label == pair[1].label]
        if same:
            names = [f"{sample.name} (as {first.name})" for sample, first in same]
            remarks.append(
                f"{_images(len(same))} repeated, and {_count(len(same))} once: {some(names)}"
            )
        against = [pair for pair in self._repeated if pair[0].label != pair[1].label]
        if against:
            names = [
                f"{sample.name} ({sample.kind}, as {first.name}, {first.kind})"
                for sample, first in against
            ]
            remarks.append(
                f"{_images(len(against))} labelled good and anomalous, and {_count(len(against))} "
                f"as first found: {some(names)}"
            )
        return remarks


def _images(count: int) -> str:
    return "1 test image is" if count == 1 else f"{count} test images are"


def _count(count: int) -> str:
    return "counts" if count == 1 else "count"
