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
    dataset: str, categories: Sequence[str], *, aupro: bool = True
) -> list[tuple[Published, Mapping[str, float]]]:
    """Return the sources that have all these categories, with their means over just these.

    A figure that a source does not give for each of them is left out; `aupro` as for
    `published_for`.
    """
    of_each = [
        {
            source.title: (source, figures)
            for source, figures in published_for(dataset, name, aupro=aupro)
        }
        for name in categories
    ]
    means: list[tuple[Published, Mapping[str, float]]] = []
    for title, (source, first) in of_each[0].items() if of_each else ():
        if not all(title in found for found in of_each):
            continue
        given = [found[title][1] for found in of_each]
        keys = [key for key in first if all(key in figures for figures in given)]
        means.append((source, {key: fmean(figures[key] for figures in given) for key in keys}))
    return means


def published_for(
    dataset: str, category: str, *, aupro: bool = True
) -> list[tuple[Published, Mapping[str, float]]]:
    """Return the sources with figures for a category.

    Parameters
    ----------
    aupro
        Whether AUPRO is wanted too: that up to another limit cannot be compared with it.
    """
    return [
        (
            source,
            {
                key: value
                for key, value in source.figures[category].items()
                if aupro or key != "aupro"
            },
        )
        for source in published()
        if source.dataset == dataset and category in source.figures
    ]
