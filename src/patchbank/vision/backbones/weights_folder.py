"""The folder of weights and networks that are not Python packages.

Each has a subfolder with the file, named by its digest, and a record that describes the file. The
record is written last and by a rename, so readers see either the old or the new one with its file.
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
    """The source of a file: the hub, or a path.

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
    """An output of a user's network."""

    name: str
    channels: int
    stride: int


@dataclass(frozen=True)
class Network:
    """The description of a user's network.

    Parameters
    ----------
    mean, std : tuple of float
        Statistics of its training pixels on a scale from 0 to 1: red, green, blue.
    layers : tuple of NetworkLayer
        Sorted by stride.
    side : int, optional
        The fixed height and width of its input; None if any size is accepted.
    """

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    layers: tuple[NetworkLayer, ...]
    side: int | None = None


@dataclass(frozen=True)
class Kept:
    """The record of a kept file.

    Parameters
    ----------
    name : str
        The backbone's name.
    kind : str
        ``"weights"`` of a built-in network, or a user's whole ``"network"``.
    sha256 : str
        Hex digest of the file.
    size : int
        Size of the file in bytes.
    source : Source
    added_at : datetime
    network : Network, optional
        The description of a whole network.
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
        """The path of the file, whether or not it exists."""
        suffix = "safetensors" if self.kind == "weights" else "onnx"
        return resolve_trusted(folder() / self.name) / f"{self.sha256[:16]}.{suffix}"

    def to_json(self) -> dict[str, Any]:
        """Return the record and its file's path as JSON-compatible values."""
        return {**_KEPT.dump_python(self, mode="json"), "path": str(self.path)}

    @property
    def identity(self) -> tuple[str, Network | None]:
        """The parts that features depend on."""
        return self.sha256, self.network

    @property
    def origin(self) -> str:
        """The source, for messages."""
        if self.source.revision is None:
            return f"file {self.source.place}"
        return f"hub {self.source.place} at {self.source.revision[:12]}"


_KEPT: Final = TypeAdapter(Kept)


def folder() -> Path:
    """Return the folder of all kept files."""
    settings = get_settings()
    return resolve_trusted((settings.backbones or settings.home / "backbones").expanduser())


def names() -> list[str]:
    """Return the names of all subfolders with a record, even a damaged one or an invalid name."""
    return sorted(path.parent.name for path in folder().glob(f"*/{_RECORD}"))


def is_name(name: str) -> bool:
    """Return whether `name` is a valid name of a backbone."""
    return _NAME.fullmatch(name) is not None


def find(name: str) -> Kept | None:
    """Return the record of a name, None if there is none.

    Raises
    ------
    WeightsError
        If the record is damaged.
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
        raise WeightsError(f"{path}: the record is for another backbone; {_remedy(name)}")
    return kept


def check_name(name: str) -> None:
    """Check the name of a user's network.

    Raises
    ------
    ParameterError
        If it is not valid.
    """
    if not is_name(name):
        raise ParameterError(
            f"backbone name {name!r}: give up to 64 lowercase letters, digits, '.', '_' or '-', "
            "starting with a letter or digit"
        )


def keep(kept: Kept, file: Path, *, move: bool = False) -> Path:
    """Store a file and its record; replace what had the name before.

    Raises
    ------
    WeightsError
        If the file has changed since its digest was computed.
    """
    target = kept.path
    target.parent.mkdir(parents=True, exist_ok=True)
    if move:
        file.replace(target)
    else:
        with new_file(target) as draft:
            if _copy(file, draft) != kept.sha256:
                raise WeightsError(f"{file}: was changed while being copied; try again")
    record = target.parent / _RECORD
    with new_file(record) as draft:
        draft.write_bytes(_KEPT.dump_json(kept, indent=2) + b"\n")
    for path in target.parent.iterdir():
        if path.name not in {target.name, record.name, _LOCK} and path.is_file():
            path.unlink(missing_ok=True)
    _log.info("kept the backbone %s at %s", kept.name, target)
    return target


def remove(name: str) -> None:
    """Remove a file and its record, even a damaged one.

    Raises
    ------
    WeightsError
        If the folder cannot be removed.
    """
    path = folder() / name
    try:
        if path.is_symlink():
            path.unlink()
        else:
            shutil.rmtree(path)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"{path}: cannot be removed ({reason})") from error
    _log.info("removed the backbone %s", name)


@contextlib.contextmanager
def locked(name: str) -> Iterator[Path]:
    """Lock the folder of a name and yield its path.

    Raises
    ------
    ParameterError
        If another process holds the lock.
    """
    path = resolve_trusted(folder() / name)
    descriptor = open_folder(path, make=True)
    try:
        lock = FileLock(path / _LOCK, within=descriptor, mode=0o644)
        is_free = lock.try_acquire()
    finally:
        os.close(descriptor)
    if not is_free:
        raise ParameterError(f"{name}: another process is downloading it; wait until it finishes")
    try:
        yield path
    finally:
        lock.release()


def now() -> datetime:
    """Return the current time for a record, in whole seconds."""
    return datetime.now(UTC).replace(microsecond=0)


def digest(path: Path) -> str:
    """Return the hex SHA-256 of a file; raise `WeightsError` if it cannot be read."""
    with _readable(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of_bytes(content: bytes) -> str:
    """Return the hex SHA-256 of bytes."""
    return hashlib.sha256(content).hexdigest()


def digest_of(sha256: str, mean: Sequence[float], std: Sequence[float]) -> str:
    """Return a hex SHA-256 of a network's file and its input's normalisation."""
    content = {"onnx": sha256, "mean": list(mean), "std": list(std)}
    return digest_of_bytes(json.dumps(content, sort_keys=True).encode())


def _remedy(name: str) -> str:
    return f"remove it with `patchbank backbone remove {name}` and get it again"


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
