"""The images of good parts that a trial of sensitivity draws synthetic defects into."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

import numpy as np

from patchbank.errors import ImageError, NoImagesError, ParameterError
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.judging.live_bank import ReadyBank
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.sources import file_at
from patchbank.inspection.verdicts import Refused
from patchbank.inspection.workspace import Workspace
from patchbank.memory.neighbours import NeighbourIndex
from patchbank.memory.without_group import WithoutGroup
from patchbank.printable import counted
from patchbank.progress import Progress
from patchbank.store.stored_bank import StoredBank
from patchbank.vision.decoded_image import DecodedImage, ImageSource
from patchbank.vision.images import decode

# Judges of references, each without its own patches.
_MOST_JUDGES: Final = 64


class TriedBank:
    """The active bank, which judges an image as if its own patches were not there."""

    def __init__(self, workspace: Workspace, stored: StoredBank, *, leaves_out: bool) -> None:
        self.workspace, self.stored, content = workspace, stored, stored.content
        if leaves_out and not (content.patch_image >= 0).all():
            raise ParameterError(
                f"category {stored.category!r}: its bank does not know which images its patches "
                "are of; give a folder of good images that it was not fitted to"
            )
        index = NeighbourIndex(content.features, content.patch_image if leaves_out else None)
        self._index = index
        self.ready = ReadyBank(stored, index, matching_extractor(workspace, stored))

        @lru_cache(maxsize=_MOST_JUDGES)
        def judge(reference: int) -> Judge:
            if reference < 0:
                return self.ready.judge
            return replace(self.ready, index=WithoutGroup(self._index, reference)).judge

        #: The judge of the reference with this number, or of an image that is no reference, -1.
        self.judge = judge

    def decode(self, source: ImageSource, name: str) -> DecodedImage:
        """Return an image as the bank sees it."""
        return decode(
            source,
            limits=self.workspace.limits,
            name=name,
            bit_depth=self.ready.extractor.settings.bit_depth,
        )


@dataclass(frozen=True, eq=False)
class Candidate:
    """An image that may be used; `reference` is its number among the references, or -1.

    `sha256` is that of the file that was learned, if it is a reference.
    """

    source: ImageSource
    name: str
    reference: int = -1
    sha256: str = ""


def reference_files(stored: StoredBank) -> list[Candidate]:
    """Return the files of a bank's references.

    Raises
    ------
    NoImagesError
        If it knows none.
    """
    images = stored.content.images
    found = [
        Candidate(file_at(image.origin), image.name, number, image.sha256)
        for number, image in enumerate(images)
        if image.origin is not None
    ]
    if not found:
        raise NoImagesError(
            f"category {stored.category!r}: its bank does not know the files of its references; "
            "give a folder of good images"
        )
    return found


@dataclass(frozen=True, eq=False)
class Chosen:
    """Images that pass as they are, and what became of the others."""

    kept: list[Candidate]
    sizes: list[tuple[int, int]]
    not_passed: list[str]
    refused: list[Refused]
    left_out: list[str]
    seconds_each: float


def choose(
    bank: TriedBank, candidates: Sequence[Candidate], wanted: int, seed: int, progress: Progress
) -> Chosen:
    """Draw images that pass without a defect.

    Raises
    ------
    NoImagesError
        If no such image was found.
    """
    learned = {image.sha256 for image in bank.stored.content.images}
    learned |= {image.pixels_sha256 or "" for image in bank.stored.content.images}
    chosen = Chosen([], [], [], [], [], 0.0)
    known: list[str] = []
    changed: list[str] = []
    times = []
    wanted = min(wanted, len(candidates))
    seen: set[str] = set()
    for number in np.random.default_rng([seed, 6]).permutation(len(candidates)).tolist():
        if len(chosen.kept) == wanted:
            break
        candidate = candidates[number]
        try:
            image = bank.decode(candidate.source, candidate.name)
        except ImageError as error:
            # A reference's file may be gone, or another by now: the next will do.
            if candidate.reference >= 0:
                changed.append(candidate.name)
            else:
                chosen.refused.append(Refused(candidate.name, str(error)))
            continue
        if candidate.reference >= 0 and image.sha256 != candidate.sha256:
            changed.append(candidate.name)
            continue
        if candidate.reference < 0 and not learned.isdisjoint((image.sha256, image.pixels_sha256)):
            known.append(candidate.name)
            continue
        if image.pixels_sha256 in seen:
            continue
        seen.add(image.pixels_sha256)
        began = time.perf_counter()
        found = bank.ready.extractor.extract_one(image.pixels, name=candidate.name)
        judgement = bank.judge(candidate.reference)(
            found.patches, image.width, image.height, embedding=found.embedding
        )
        times.append(time.perf_counter() - began)
        if judgement.passed:
            chosen.kept.append(candidate)
            chosen.sizes.append((image.width, image.height))
            progress("good images judged", len(chosen.kept), wanted)
        else:
            chosen.not_passed.append(candidate.name)
    if known:
        chosen.left_out.append(
            f"{counted(len(known), 'image is', 'images are')} left out: the bank has learned or "
            "was calibrated with them; give images of good parts that it has not seen"
        )
    if changed:
        chosen.left_out.append(
            f"{counted(len(changed), 'reference is', 'references are')} left out: the file is not "
            "there any more, or is another"
        )
    if not chosen.kept:
        reasons = [*chosen.left_out, *(refusal.error for refusal in chosen.refused[:3])]
        if chosen.not_passed:
            reasons.append(
                f"{counted(len(chosen.not_passed), 'image')} did not pass without a defect; "
                "give images of good parts, taken like those that the bank has learned"
            )
        raise NoImagesError(f"no image can be used: {'; '.join(reasons)}")
    # The first one waits for kernels to be compiled or loaded.
    return replace(chosen, seconds_each=float(np.median(times[1:] or times)))
