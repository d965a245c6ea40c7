"""A category's bank in memory, which follows every change of it in the database."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from patchbank.inspection.judging.in_database import DatabaseNeighbours
from patchbank.inspection.judging.judge import Judge, calibration_of, judge_of
from patchbank.inspection.judging.matching import matching_extractor
from patchbank.inspection.judging.similar_defects import ReadyBook, empty_book
from patchbank.inspection.judging.unlike_sizes import known_sizes, remark_on_image
from patchbank.inspection.matches import Similar
from patchbank.inspection.workspace import Workspace
from patchbank.memory.living_index import LivingIndex
from patchbank.memory.neighbours import NeighbourSource
from patchbank.memory.similarity import SimilarityIndex, same_image
from patchbank.store.bank_key import BankKey
from patchbank.store.stored_bank import BankChange, StoredBank
from patchbank.vision.extraction import Extraction
from patchbank.vision.extractor import Extractor

_log = logging.getLogger(__name__)

# An index whose rows changed by that share is built anew beside the work; by itself it is at 0.2.
_REBUILD_SHARE = 0.1


@dataclass(frozen=True, eq=False)
class ReadyBank:
    """One version of a bank, ready to judge. It never changes.

    Attributes
    ----------
    stored
        What it is, without its patches.
    index
        Its patches, prepared for the search of neighbours.
    extractor
        What made them.
    book
        The recorded defects; by default none.
    """

    stored: StoredBank
    index: NeighbourSource
    extractor: Extractor
    book: ReadyBook = field(default_factory=empty_book)

    @cached_property
    def judge(self) -> Judge:
        """What judges by this bank; see `judge_of`."""
        return judge_of(self.stored, self.index, self.extractor.settings)

    @property
    def calibrated(self) -> bool:
        """Whether it has a threshold to judge by; an imported bank has none at first."""
        return calibration_of(self.stored.content) is not None

    @property
    def remarks(self) -> tuple[str, ...]:
        """What you should know of how it judges."""
        return self.index.remarks if isinstance(self.index, DatabaseNeighbours) else ()

    def remarks_on(self, width: int, height: int) -> tuple[str, ...]:
        """Return what you should know of how it judges an image of this size."""
        return (*self.remarks, *remark_on_image((width, height), self._sizes))

    @cached_property
    def _sizes(self) -> Collection[tuple[int, int]]:
        return known_sizes(self.stored.content.images, self.extractor.settings)

    @cached_property
    def _by_name(self) -> tuple[list[int], SimilarityIndex]:
        """The order of the reference images by name, and their embeddings in that order.

        By name, which is what decides between images equally similar.
        """
        content = self.stored.content
        order = sorted(range(len(content.images)), key=lambda slot: content.images[slot].name)
        return order, SimilarityIndex(content.embeddings[order])

    def similar(self, extraction: Extraction, top: int) -> tuple[Similar, ...]:
        """Return the reference images most similar to an image, best first, ties by name.

        What pgvector answers as well, without asking it: one question costs the database and its
        driver more than all the arithmetic.
        """
        if not top:
            return ()
        content = self.stored.content
        order, index = self._by_name
        embedding = extraction.embedding - content.embedding_mean
        indices, similarities = index.most_similar(embedding, top)
        slots = [order[position] for position in indices]
        same = same_image(content.embeddings[slots], embedding)
        return tuple(
            Similar(
                content.images[slot].name,
                float(similarity),
                itself=bool(is_same) or content.images[slot].sha256 == extraction.image.sha256,
            )
            for slot, similarity, is_same in zip(slots, similarities, same, strict=True)
        )

    def changed(self, now: StoredBank, change: BankChange) -> ReadyBank:
        """Return the bank that this one is after a change; only what came and went is looked at."""
        before = self.stored
        stay = ~np.isin(before.positions, change.removed_references)
        content = replace(
            now.content,
            features=now.content.features[:0],
            images=[
                *(image for image, stays in zip(before.content.images, stay, strict=True) if stays),
                *now.content.images,
            ],
            embeddings=np.concatenate([before.content.embeddings[stay], now.content.embeddings]),
        )
        index = self.index
        if isinstance(index, LivingIndex):
            index = index.with_changes(
                now.content.features, change.removed_patches, slots=now.ordinals
            )
        elif isinstance(index, DatabaseNeighbours):
            index = index.of(now)
        stored = replace(
            now,
            content=content,
            positions=np.concatenate([before.positions[stay], now.positions]),
        )
        return ReadyBank(stored, index, self.extractor, self.book)


class LiveBank:
    """The bank of a category, whatever version that is at the moment. Safe for threads.

    Parameters
    ----------
    in_database
        Leave its patches in PostgreSQL and find nearest neighbours there.
    version
        Always this version instead.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    BankGoneError
        If there is no such version, or it is not kept any more.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """

    def __init__(
        self,
        workspace: Workspace,
        category: str,
        *,
        in_database: bool = False,
        version: int | None = None,
    ) -> None:
        self._workspace, self._category = workspace, category
        self._in_database, self._version = in_database, version
        self._lock = threading.Lock()
        # When the database was asked last for what is taken over.
        self._asked_at = time.monotonic()
        self._ready = self._read()
        # What changed since a thread began to rebuild the index; None while no thread does.
        self._missed: list[tuple[StoredBank, BankChange]] | None = None

    @property
    def ready(self) -> ReadyBank:
        """The version that was seen last."""
        return self._ready

    @property
    def version(self) -> int:
        """Its number."""
        return self._ready.stored.version

    def _state(self) -> tuple[BankKey, int]:
        """Ask the database which version is the one to judge by, and how old the book is."""
        if self._version is not None:
            return self._ready.stored.key, self._ready.book.changes
        return self._workspace.database.banks.active_state(self._category)

    def refresh(self, since: float | None = None) -> ReadyBank:
        """Take over what changed in the database, and return the version that judges now.

        Of a bank that was changed, rather than made anew, only the rows that came and went are
        read.

        Parameters
        ----------
        since
            A time of `time.monotonic`: what was taken over since then need not be asked for again.

        Raises
        ------
        DatabaseError
            When the database cannot be asked.
        """
        if since is not None and self._asked_at >= since:
            return self._ready
        asked_at = time.monotonic()
        key, book_changes = self._state()
        with self._lock:
            before = self._ready.stored.key
            if key != before:
                found = None
                if key[:2] == before[:2]:
                    found = self._workspace.database.banks.changes_since(
                        self._category, before, patches=not self._in_database
                    )
                if found is None:
                    self._ready, self._missed = self._read(), None
                else:
                    self._ready = self._ready.changed(*found)
                    if self._missed is not None:
                        self._missed.append(found)
                    self._rebuild_in_time()
                    _log.info(
                        "category %r: took over bank version %d, as changed from version %d",
                        self._category, self.version, before.version,
                    )  # fmt: skip
            if self._ready.book.changes != book_changes:
                self._ready = replace(self._ready, book=self._book(key))
            self._asked_at = max(self._asked_at, asked_at)
            return self._ready

    def read_again(self) -> None:
        """Read a fixed version again: its category may have been removed and fitted anew.

        Raises
        ------
        UnknownCategoryError, NotFittedError, BankGoneError
            If it no longer exists.
        """
        if self._version is not None:
            with self._lock:
                self._ready = self._read()

    def _rebuild_in_time(self) -> None:
        """Have a thread build the index anew before so much changed that a refresh must wait."""
        index = self._ready.index
        if (
            self._missed is None
            and isinstance(index, LivingIndex)
            and index.changed_share > _REBUILD_SHARE
        ):
            self._missed = []
            threading.Thread(
                target=self._rebuild,
                args=(index, self._missed),
                name="patchbank-index",
                daemon=True,
            ).start()

    def _rebuild(self, index: LivingIndex, missed: list[tuple[StoredBank, BankChange]]) -> None:
        rebuilt = index.rebuilt()
        with self._lock:
            # Where the bank was made anew meanwhile, there is nothing to take the place of.
            if self._missed is missed:
                for now, change in missed:
                    rebuilt = rebuilt.with_changes(
                        now.content.features, change.removed_patches, slots=now.ordinals
                    )
                self._ready = replace(self._ready, index=rebuilt)
                self._missed = None

    def _read(self) -> ReadyBank:
        banks, patches = self._workspace.database.banks, not self._in_database
        stored = (
            banks.active(self._category, patches=patches)
            if self._version is None
            else banks.version(self._category, self._version, patches=patches)
        )
        extractor = matching_extractor(self._workspace, stored)
        _log.info("category %r: judging by bank version %d", self._category, stored.version)
        book = self._book(stored.key)
        if self._in_database:
            return ReadyBank(stored, DatabaseNeighbours(self._workspace, stored), extractor, book)
        content = stored.content
        index = LivingIndex(content.features, stored.ordinals, room=True)
        return ReadyBank(
            replace(stored, content=replace(content, features=content.features[:0])),
            index,
            extractor,
            book,
        )

    def _book(self, key: BankKey) -> ReadyBook:
        return ReadyBook(self._workspace.database.defects.book(key))
