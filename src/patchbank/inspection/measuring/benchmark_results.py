"""What a benchmark found of each category, with one seed or several."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from patchbank.datasets.published import Published
from patchbank.inspection.measuring.figures import Evaluation, over_seeds


@dataclass(frozen=True, eq=False)
class CategoryResult:
    """A category that is done with one seed.

    Attributes
    ----------
    seed, evaluation
        The seed and the figures.
    published
        What others published for the category.
    kept
        Whether it was done by an earlier run.
    again
        Why what was kept of it did not count; empty where nothing was.
    score_maps
        Number of maps written.
    place, page
        Its folder in the benchmark's, and what the report shows of it.
    """

    seed: int
    evaluation: Evaluation
    published: Sequence[tuple[Published, Mapping[str, float]]]
    kept: bool
    again: str
    score_maps: int
    place: str
    page: Mapping[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints and ``results.json`` holds."""
        return {
            **self.evaluation.to_json(),
            "score_maps": self.score_maps,
            "kept_from_before": self.kept,
            "published": [published_to_json(*found) for found in self.published],
        }


@dataclass(frozen=True, eq=False)
class CategorySummary:
    """A category over all seeds that it is done with.

    Attributes
    ----------
    runs
        What was found with each, in order.
    evaluation
        The mean of each figure over them, and its spread.
    """

    runs: Sequence[CategoryResult]
    evaluation: Evaluation

    @property
    def first(self) -> CategoryResult:
        """What was found with the first seed, whose pictures the page shows."""
        return self.runs[0]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object of ``results.json``."""
        if len(self.runs) == 1:
            return self.first.to_json()
        return {
            **self.evaluation.to_json(),
            "published": [published_to_json(*found) for found in self.first.published],
            "runs": [run.to_json() for run in self.runs],
        }


def summarised(results: Iterable[CategoryResult]) -> list[CategorySummary]:
    """Return the results category by category, in the order in which they were done."""
    runs: dict[str, list[CategoryResult]] = {}
    for result in results:
        runs.setdefault(result.evaluation.category, []).append(result)
    return [
        CategorySummary(of_category, over_seeds([run.evaluation for run in of_category]))
        for of_category in runs.values()
    ]


def published_to_json(source: Published, figures: Mapping[str, float]) -> dict[str, Any]:
    """Return the JSON object of figures that others published."""
    return {"title": source.title, "url": source.url, **figures}
