"""What others published for PatchCore, to be read beside our own figures."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources


@dataclass(frozen=True, slots=True)
class Published:
    """The figures one source gives.

    Attributes
    ----------
    dataset
        Name of the data set in the catalogue.
    title
        Short name of the source, for tables.
    source, url
        Where exactly the figures stand.
    settings
        What they were made with, as far as the source says.
    note
        How they compare with ours.
    figures
        For each category the figures by the names that evaluations use; what a source does not give
        is not there.
    """

    dataset: str
    title: str
    source: str
    url: str
    settings: str
    note: str
    figures: Mapping[str, Mapping[str, float]]


@cache
def published() -> tuple[Published, ...]:
    """Return all sources."""
    text = resources.files("patchbank.datasets").joinpath("published.json").read_text("utf-8")
    return tuple(Published(**source) for source in json.loads(text))


def published_for(dataset: str, category: str) -> list[tuple[Published, Mapping[str, float]]]:
    """Return what was published for a category, each source with its figures."""
    return [
        (source, source.figures[category])
        for source in published()
        if source.dataset == dataset and category in source.figures
    ]
