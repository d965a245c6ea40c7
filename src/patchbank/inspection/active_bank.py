"""A category's active bank in memory, read anew when there is a newer one."""

from __future__ import annotations

import json
import threading

from patchbank.inspection.judging.in_database import DatabaseNeighbours
from patchbank.inspection.judging.judge import Judge
from patchbank.inspection.judging.matching import matching_extractor, not_calibrated
from patchbank.inspection.settings import FitSettings
from patchbank.inspection.verdicts import Similar
from patchbank.inspection.workspace import Workspace
from patchbank.memory.calibration import Calibration
from patchbank.memory.similarity import SimilarityIndex
from patchbank.store.banks import StoredBank
from patchbank.vision.extractor import Extraction, Extractor


class ReadyBank:
    """A bank as it was read, ready to judge."""

    def __init__(self, workspace: Workspace, category: str, in_database: bool) -> None:
        self.stored: StoredBank = workspace.database.banks.active(category, patches=not in_database)
        self.extractor: Extractor = matching_extractor(workspace, self.stored)
        settings = FitSettings.from_json(self.stored.settings, self.extractor.settings)
        self._judge = None
        if self.stored.calibration is not None:
            calibration = Calibration.from_json(json.dumps(self.stored.calibration))
            neighbours = DatabaseNeighbours(workspace, self.stored) if in_database else None
            self._judge = Judge(neighbours or self.stored.features, settings, calibration)
        references = self.stored.references
        # By name, which is what decides between images equally similar.
        order = sorted(range(len(references)), key=lambda index: references[index].name)
        self._reference_names = [references[index].name for index in order]
        self._similarity = SimilarityIndex(self.stored.embeddings[order])

    @property
    def judge(self) -> Judge:
        """What judges by this bank; raises NotCalibratedError where nothing says what is normal."""
        if self._judge is None:
            raise not_calibrated(self.stored.category)
        return self._judge

    def similar(self, extraction: Extraction, top: int) -> tuple[Similar, ...]:
        """Return the reference images most similar to an image, best first, ties by name.

        What pgvector answers as well, without asking it: one question costs the database and its
        driver more than all the arithmetic.
        """
        embedding = extraction.embedding - self.stored.embedding_mean
        indices, similarities = self._similarity.most_similar(embedding, top)
        return tuple(
            Similar(self._reference_names[index], float(similarity))
            for index, similarity in zip(indices, similarities, strict=True)
        )


class ActiveBank:
    """The bank of a category that judges, whatever version that is at the moment.

    May be used by several threads, and shared by several inspectors: it is read once.

    Parameters
    ----------
    in_database
        Whether its patches stay in PostgreSQL.

    Raises
    ------
    UnknownCategoryError, NotFittedError
        If there is no such category or it has no bank.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    """

    def __init__(self, workspace: Workspace, category: str, *, in_database: bool = False) -> None:
        self._workspace = workspace
        self._category = category
        self._in_database = in_database
        self._lock = threading.Lock()
        self._bank = ReadyBank(workspace, category, in_database)

    @property
    def latest(self) -> ReadyBank:
        """The bank as it was read last, without a question to the database."""
        return self._bank

    def key(self) -> tuple[int, int]:
        """Ask which bank is active: the number of the category and the version."""
        return self._workspace.database.banks.active_key(self._category)

    def newest(self) -> ReadyBank:
        """Return the active bank, read if it is not the one in memory."""
        key = self.key()
        with self._lock:
            if key != (self._bank.stored.category_id, self._bank.stored.version):
                self._bank = ReadyBank(self._workspace, self._category, self._in_database)
            return self._bank
