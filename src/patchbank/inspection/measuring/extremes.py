"""The best and the worst judged images with their maps; those of a whole test set are too many."""

from __future__ import annotations

from dataclasses import dataclass

from patchbank.datasets.samples import Sample
from patchbank.inspection.verdicts import Judgement


@dataclass(frozen=True, eq=False)
class JudgedCase:
    """A test image with all that the bank says of it, its map among it."""

    sample: Sample
    judgement: Judgement


class Extremes:
    """Keeps the cases a person wants to see, at most `count` of each kind.

    Attributes
    ----------
    lowest_anomalous
        The anomalous images hardest to find, lowest score first.
    highest_good
        The good images that look most anomalous, highest score first.
    highest_anomalous
        The clearest finds, highest score first.
    highest_of_kinds
        The clearest find of each kind of defect, highest score first.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        self.lowest_anomalous: list[JudgedCase] = []
        self.highest_good: list[JudgedCase] = []
        self.highest_anomalous: list[JudgedCase] = []
        self.highest_of_kinds: list[JudgedCase] = []

    def add(self, sample: Sample, judgement: Judgement) -> None:
        """Take one more judged image."""
        case = JudgedCase(sample, judgement)
        if sample.label == "good":
            self._insert(self.highest_good, case, sign=-1)
        elif sample.label == "anomalous":
            self._insert(self.highest_anomalous, case, sign=-1)
            self._insert(self.lowest_anomalous, case, sign=1)
            self._insert_of_kind(case)

    def clearest(self) -> list[JudgedCase]:
        """Return the clearest finds: of as many kinds as there is room for, then any."""
        others = [case for case in self.highest_anomalous if case not in self.highest_of_kinds]
        return [*self.highest_of_kinds, *others][: self._count]

    def _insert_of_kind(self, case: JudgedCase) -> None:
        for number, other in enumerate(self.highest_of_kinds):
            if other.sample.kind == case.sample.kind:
                if other.judgement.score >= case.judgement.score:
                    return
                del self.highest_of_kinds[number]
                break
        self._insert(self.highest_of_kinds, case, sign=-1)

    def _insert(self, cases: list[JudgedCase], case: JudgedCase, sign: int) -> None:
        cases.append(case)
        cases.sort(key=lambda item: sign * item.judgement.score)
        del cases[self._count :]
