"""The folder where weights and networks are kept that do not come as packages.

Each has a folder of its name with the file, which is named by its digest, and a record, which says
what the file must be. The record is written last and by a rename: whoever reads sees the old one or
the new one, each with its file.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from io import BufferedReader
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from patchbank.errors import ParameterError, WeightsError
from patchbank.files import LARGEST_WEIGHTS, new_file, open_regular, read_regular
from patchbank.links import open_folder, resolve_trusted
from patchbank.locks import FileLock
from patchbank.settings import get_settings

_log = logging.getLogger(__name__)

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_RECORD: Final = "backbone.json"
_LOCK: Final = ".lock"
_LARGEST_RECORD: Final = 1_000_000
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Source:
    """Where a file came from: the hub, or a path of the user's.

    Parameters
    ----------
    place : str
        The hub's repository, or the path.
    revision : str, optional
        The hub's commit; None for a path.
    """

    place: str
    revision: str | None = None


@dataclass(frozen=True)
class NetworkLayer:
    """An output of a user's own network."""

    name: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Network:
    """What is known of a user's own network, beside its file.

    Parameters
    ----------
    mean, std : tuple of float
        Of the pixels it was trained on, on a scale from 0 to 1: red, green, blue.
    layers : tuple of NetworkLayer
        By stride.
    side : int, optional
        Height and width of the only images it takes; without it, it takes others too.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layers: tuple[NetworkLayer, ...]
    side: int | None = None


@dataclass(frozen=True)
class Kept:
    """The record of one file that is kept.

    Parameters
    ----------
    name : str
        The backbone's.
    kind : str
        ``"weights"`` of a known network, or a whole ``"network"`` of the user's.
    sha256 : str
        Hex digest of the file.
    size : int
        Of the file, in bytes.
    source : Source
    added_at : datetime
    network : Network, optional
        For a whole network.
    """

    name: str
    kind: Literal["weights", "network"]
    sha256: str
    size: int
    source: Source
    added_at: datetime
    network: Network | None = None

    @property
    def path(self) -> Path:
        """Where the file is, or should be."""
        suffix = "safetensors" if self.kind == "weights" else "onnx"
        return resolve_trusted(folder() / self.name) / f"{self.sha256[:16]}.{suffix}"

    def to_json(self) -> dict[str, Any]:
        """Return the record and where its file is, in JSON's types."""
        return {**_KEPT.dump_python(self, mode="json"), "path": str(self.path)}

    @property
    def identity(self) -> tuple[str, Network | None]:
        """What features depend on."""
        return self.sha256, self.network

    @property
    def origin(self) -> str:
        """Where it came from, for people."""
        if self.source.revision is None:
            return f"file {self.source.place}"
        return f"hub {self.source.place} at {self.source.revision[:12]}"


_KEPT: Final = TypeAdapter(Kept)


def folder() -> Path:
    """Return the folder of all of them.

    Raises
    ------
    UnsafePathError
        Where a link that root must not follow leads there.
    """
    settings = get_settings()
    return resolve_trusted((settings.backbones or settings.home / "backbones").expanduser())


def names() -> list[str]:
    """Return the names of all folders that have a record, damaged ones and odd names too."""
    return sorted(path.parent.name for path in folder().glob(f"*/{_RECORD}"))


def is_name(name: str) -> bool:
    """Return whether a backbone may be called so."""
    return _NAME.fullmatch(name) is not None


def find(name: str) -> Kept | None:
    """Return the record of a name, None where there is none.

    Raises
    ------
    WeightsError
        The record is damaged.
    """
    if not is_name(name):
        return None
    path = folder() / name / _RECORD
    try:
        kept = _KEPT.validate_json(read_regular(path, _LARGEST_RECORD))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"{path}: cannot read the record ({reason}); {_remedy(name)}") from error
    except ValidationError as error:
        raise WeightsError(f"{path}: the record is damaged; {_remedy(name)}") from error
    if kept.name != name or re.fullmatch(r"[0-9a-f]{64}", kept.sha256) is None:
        raise WeightsError(f"{path}: the record is of another backbone; {_remedy(name)}")
    return kept


def check_name(name: str) -> None:
    """Check a name for a network of the user's own.

    Raises
    ------
    ParameterError
        It is none.
    """
    if not is_name(name):
        raise ParameterError(
            f"backbone name {name!r}: give up to 64 small letters, digits, '.', '_' or '-', "
            "a letter or digit first"
        )


def keep(kept: Kept, file: Path, *, move: bool = False) -> Path:
    """Put a file where `kept` says, then the record; whatever had the name before is removed.

    Raises
    ------
    WeightsError
        The file has become another since its digest was taken.
    """
    target = kept.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if move:
        file.replace(target)
    else:
        with new_file(target) as part:
            if _copy(file, part) != kept.sha256:
                raise WeightsError(f"{file}: was changed while it was copied; try again")
    record = target.parent / _RECORD
    with new_file(record) as part:
        part.write_bytes(_KEPT.dump_json(kept, indent=2) + b"\n")
    for other in target.parent.iterdir():
        if other.name not in {target.name, record.name, _LOCK} and other.is_file():
            other.unlink(missing_ok=True)
    _log.info("kept the backbone %s at %s", kept.name, target)
    return target


def remove(name: str) -> None:
    """Remove a file and its record, whatever the record says.

    Raises
    ------
    WeightsError
        The folder cannot be removed.
    """
    place = folder() / name
    try:
        if place.is_symlink():
            place.unlink()
        else:
            shutil.rmtree(place)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"{place}: cannot be removed ({reason})") from error
    _log.info("removed the backbone %s", name)


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """Lend the folder of a name to one process at a time.

    Raises
    ------
    ParameterError
        Another process has it.
    """
    place = resolve_trusted(folder() / name)
    descriptor = open_folder(place, make=True)
    try:
        lock = FileLock(place / _LOCK, within=descriptor, mode=0o644)
        is_free = lock.try_acquire()
    finally:
        os.close(descriptor)
    if not is_free:
        raise ParameterError(f"{name}: another process is downloading it; wait until it is done")
    try:
        yield place
    finally:
        lock.release()


def now() -> datetime:
    """Return the time for a record."""
    return datetime.now(UTC).replace(microsecond=0)


def digest(path: Path) -> str:
    """Return the hex SHA-256 of a file.

    Raises
    ------
    WeightsError
        It cannot be read, or is none of the size of weights.
    """
    with _readable(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_bytes(content: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def digest_of(sha256: str, mean: Sequence[float], std: Sequence[float]) -> str:
    """Return a hex SHA-256 that stands for a network's file and how its input is normalised."""
    content = {"onnx": sha256, "mean": list(mean), "std": list(std)}
    return digest_of_bytes(json.dumps(content, sort_keys=True).encode())


def _remedy(name: str) -> str:
    return f"remove it with: patchbank backbone remove {name}, and get it again"


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[BufferedReader]:
    with contextlib.ExitStack() as stack:
        try:
            file = stack.enter_context(open_regular(path, LARGEST_WEIGHTS))
        except OSError as error:
            raise WeightsError(f"{path}: {(error.strerror or str(error)).lower()}") from error
        yield file


def _copy(source: Path, target: Path) -> str:
    state = hashlib.sha256()
    with _readable(source) as reader, target.open("wb") as writer:
        while chunk := reader.read(_CHUNK_BYTES):
            state.update(chunk)
            writer.write(chunk)
    return state.hexdigest()
