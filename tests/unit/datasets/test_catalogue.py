"""The catalogue of data sets."""

from __future__ import annotations

import pytest

from patchbank.datasets.catalogue import DATASETS, find_dataset
from patchbank.errors import ParameterError


def test_each_is_found_by_its_name() -> None:
    for name, dataset in DATASETS.items():
        assert find_dataset(name) is dataset
        assert dataset.name == name


def test_an_unknown_name_is_explained() -> None:
    with pytest.raises(ParameterError, match=r"unknown data set 'Visa', did you mean visa\? use "):
        find_dataset("Visa")
    with pytest.raises(ParameterError, match="unknown data set 'x'; use one of mvtec, mvtec-ad2"):
        find_dataset("x")
