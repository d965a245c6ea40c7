"""Published results of PatchCore, for comparison."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from statistics import fmean


@dataclass(frozen=True, slots=True)
class Published:
    """The figures of a source.

    Attributes
    ----------
    dataset
        Name of the data set in the catalogue.
    title
        Short name of the source, for tables.
    source, url
        The exact location of the figures.
    settings
        The settings they were made with, as far as the source says.
    note
        How they compare with ours.
    figures
        For each category, the available figures, with the names used in evaluations.
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


def published_means(
    dataset: str, categories: Sequence[str]
) -> list[tuple[Published, Mapping[str, float]]]:
    """Return the sources that have all these categories, with their means over just these.

    A figure that a source does not give for each of them is left out.
    """
    means: list[tuple[Published, Mapping[str, float]]] = []
    for source in published():
        if source.dataset != dataset or not all(name in source.figures for name in categories):
            continue
        given = [source.figures[name] for name in categories]
        keys = [key for key in given[0] if all(key in figures for figures in given)]
        means.append((source, {key: fmean(figures[key] for figures in given) for key in keys}))
    return means


def published_for(dataset: str, category: str) -> list[tuple[Published, Mapping[str, float]]]:
    """Return the sources with figures for a category."""
    return [
        (source, source.figures[category])
        for source in published()
        if source.dataset == dataset and category in source.figures
    ]
