"""Whatever a bank's file says, it is refused in one line or gives verdicts; nothing else."""

from __future__ import annotations

import copy
import io
import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

import patchbank
from patchbank.api import Bank
from patchbank.errors import BankFileError, PatchbankError
from tests.fixtures.bank_files import as_format_1, document_of, rewritten, with_image, with_numbers
from tests.fixtures.surfaces import Surfaces

HOSTILE: tuple[Any, ...] = (
    -1, 0, 2**31, 2**70, 10**400, 1e308, -1e308, 5e-324, float("nan"), float("inf"), True, None,
    "", "x", "\0", "\u202e", "../x", [], {}, [1e308], {"x": float("nan")},
)  # fmt: skip


@pytest.fixture(scope="module")
def made() -> dict[str, bytes]:
    """What a test made and the next ones take."""
    return {}


@pytest.fixture
def good(
    made: dict[str, bytes],
    database_url: str,
    graphs_home: Path,
    surfaces: Surfaces,
    tmp_path: Path,
) -> bytes:
    """The file of a small bank, fitted once."""
    if "good" not in made:
        with patchbank.open("brushed", home=graphs_home, database_url=database_url) as bank:
            bank.fit(surfaces.train, image_size=64)
            bank.export(tmp_path / "good.bank")
        made["good"] = (tmp_path / "good.bank").read_bytes()
    return made["good"]


@pytest.fixture
def take_in(database_url: str, graphs_home: Path, tmp_path: Path) -> Callable[[bytes], Bank]:
    def imported(content: bytes) -> Bank:
        file = tmp_path / "hostile.bank"
        file.write_bytes(content)
        where: dict[str, Any] = {"home": graphs_home, "database_url": database_url}
        return patchbank.import_bank(file, "other", replace=True, **where)

    return imported


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield where every value is: of a list the first alone stands for the others."""
    yield path
    if isinstance(value, dict):
        for key in list(value)[:20]:
            yield from places(value[key], (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def with_value(document: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(document)
    inner: Any = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    return changed


def outcome(take_in: Callable[[bytes], Bank], content: bytes, image: Path) -> str:
    """Take a bank in and judge an image by it; anything but one line or a verdict is an error."""
    try:
        with take_in(content) as bank:
            result = bank.inspect(image)
    except PatchbankError as error:
        said = str(error)
        assert "\n" not in said
        assert len(said) < 1000
        return "refused"
    assert math.isfinite(result.score)
    assert 0 < result.p_value <= 1
    assert np.isfinite(result.anomaly_map).all()
    json.dumps(result.to_json(), allow_nan=False)
    return "judged"


def test_every_value_of_the_document(
    good: bytes, take_in: Callable[[bytes], Bank], surfaces: Surfaces
) -> None:
    image = next(surfaces.scratched.iterdir())
    document = document_of(good)
    random = np.random.default_rng(0)
    seen = []
    for path in places(document):
        if not path or path[:1] == ("parts",):
            continue
        # All would take minutes: each place gets some, and each value many places.
        for number in random.choice(len(HOSTILE), 4, replace=False):
            changed = with_value(document, path, HOSTILE[number])
            seen.append(outcome(take_in, rewritten(good, **changed), image))
    assert len(seen) > 100
    assert seen.count("refused") > len(seen) / 2


ARRAYS: dict[str, Callable[[np.ndarray[Any, Any]], np.ndarray[Any, Any]]] = {
    "not a number": lambda array: np.full_like(array, np.nan),
    "infinite": lambda array: np.full_like(array, np.inf),
    "huge": lambda array: np.full_like(array, 3e38),
    "large": lambda array: np.full_like(array, 1e20),
    "negative": lambda array: np.full_like(array, -5),
    "of another kind": lambda array: array.astype(np.int8),
    "flat": lambda array: array.ravel(),
    "deep": lambda array: array[..., None],
    "short": lambda array: array[:-1],
    "empty": lambda array: array[:0],
}


@pytest.mark.parametrize("kind", ARRAYS)
@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
def test_every_array(
    good: bytes, take_in: Callable[[bytes], Bank], surfaces: Surfaces, kind: str
) -> None:
    image = next(surfaces.scratched.iterdir())
    with zipfile.ZipFile(io.BytesIO(good)) as archive:
        numbers = load(archive.read("bank.safetensors"))
    for name, array in numbers.items():
        if array.dtype.kind == "i" and kind in ("not a number", "infinite", "huge", "large"):
            changed = np.full_like(array, np.iinfo(array.dtype).max)
        else:
            changed = ARRAYS[kind](array)
        if changed.shape == array.shape and np.array_equal(changed, array, equal_nan=True):
            continue
        outcome(take_in, with_numbers(good, **{name: changed}), image)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda good: with_numbers(good, patch_row=of(good, "patch_row") + np.int16(8)),
         "a patch has row"),
        (lambda good: with_numbers(good, features=of(good, "features") * np.float32(1e16)),
         "too large for distances"),
        (lambda good: with_numbers(good, score=of(good, "score") * -1),
         "expected a finite number, 0 or more"),
        (lambda good: with_calibration(good, scores=[-1.0] * 24), "the smallest score is -1.0"),
        (lambda good: with_calibration(good, scores=[1.0] * 23 + [1e308]),
         "the largest score is 1e+308"),
        (lambda good: with_calibration(good, score_method="max"), "calibration uses scores by"),
        (lambda good: with_image(good, thumbnail="bank.safetensors"), "is named twice"),
        (lambda good: with_image(good, sha256="00 " * 32), "images.0.sha256"),
        (lambda good: with_image(good, origin="/a\0b"), "an origin is"),
        (lambda good: with_image(good, name="x" * 20_000), "a name is"),
        (lambda good: rewritten(good, category="a/b"), "must not contain a slash"),
        (lambda good: rewritten(good, bank_version=0), "bank_version"),
        (lambda good: rewritten(good, settings=settings_of(good, smoothing_sigma=1e308)),
         "smoothing_sigma"),
        (lambda good: rewritten(good, settings=settings_of(good, false_alarm_rate=1.0)),
         "false-alarm rate 1.0"),
        (lambda good: rewritten(good, settings=settings_of(good, resolution=1)), "line of text"),
        (lambda good: rewritten(good, extractor=extractor_of(good, scale="1")), "scale is '1'"),
        (lambda good: rewritten(good, extractor={"x": "y" * 2_000_000}), "has 2,000,009 char"),
        (lambda good: rewritten(good, extractor={"x": [0] * 10_000_001}), "10,000,000 values"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(
    good: bytes, take_in: Callable[[bytes], Bank], change: Callable[[bytes], bytes], message: str
) -> None:
    with pytest.raises(PatchbankError) as raised:
        take_in(change(good))
    assert message in str(raised.value)
    assert "hostile.bank: " in str(raised.value)


def of(content: bytes, name: str) -> Any:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return load(archive.read("bank.safetensors"))[name]


def with_calibration(content: bytes, **changes: Any) -> bytes:
    old = as_format_1(content)
    return rewritten(old, calibration=document_of(old)["calibration"] | changes)


def extractor_of(content: bytes, **changes: Any) -> dict[str, Any]:
    extractor: dict[str, Any] = document_of(content)["extractor"] | changes
    return extractor


def settings_of(content: bytes, **changes: Any) -> dict[str, Any]:
    settings: dict[str, Any] = document_of(content)["settings"] | changes
    return settings


def test_images_are_exported_from_regular_files_alone(
    good: bytes, take_in: Callable[[bytes], Bank], tmp_path: Path
) -> None:
    pipe, large = tmp_path / "pipe", tmp_path / "large"
    os.mkfifo(pipe)
    with large.open("wb") as file:
        file.truncate(10_000_000_000)
    for origin in ("/dev/zero", str(pipe), str(large), "/proc/self/maps", "/etc"):
        bank = take_in(with_image(good, origin=origin))
        with bank, pytest.raises(BankFileError) as raised:
            bank.export(tmp_path / "out.bank", with_images=True)
        assert str(raised.value).startswith(f"{origin}: ")
        assert not (tmp_path / "out.bank").exists()
