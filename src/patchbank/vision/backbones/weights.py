"""Read and verify weight files without the framework that wrote them.

A ``.pth`` file is a pickle, and a pickle is a program. `read_state_dict` runs it with a machine
that can build dictionaries and tensors and nothing else (`_pickles`): a hostile file gets an error.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from patchbank.errors import MissingExtraError, WeightsError
from patchbank.vision.backbones._pickles import PickleReader, Vocabulary
from patchbank.vision.backbones._tensors import PLAIN, Array, Storage, Storages, Tensor, find

# What `torch.save` wrote before its zip format: this number, this protocol, the machine's sizes.
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001

# A storage's number of elements, before its bytes.
_COUNT: Final = struct.Struct("<q")
# A bit of the flags of an archive's entry.
_ENCRYPTED: Final = 1

# Tensors may share a storage, as tied layers do; but many of one storage take memory without end.
_MOST_COPIES: Final = 16

# What NumPy and the standard library's reader of archives raise on damage.
_DAMAGE: Final = (
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    ValueError,
)


@dataclass(frozen=True)
class PackagedWeights:
    """A weights file that an installed Python package brings.

    Parameters
    ----------
    package : str
        The package's import name.
    file : str
        The file's path inside the package.
    sha256 : str
        Hex digest that the file's bytes must have.
    install : str
        What a user types to get it.
    """

    package: str
    file: str
    sha256: str
    install: str

    def path(self) -> Path:
        """Return the file's path.

        Raises
        ------
        MissingExtraError
            The package is not installed.
        """
        # The package is looked up and not imported: its code has nothing to say here.
        found = importlib.util.find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            raise MissingExtraError(
                f"the weights package {self.package!r} is not installed; "
                f"install it with: {self.install}"
            )
        return Path(found.submodule_search_locations[0]) / self.file

    def is_installed(self) -> bool:
        """Return whether the file is there (its content is not checked)."""
        try:
            return self.path().is_file()
        except MissingExtraError:
            return False

    def read(self) -> dict[str, Array]:
        """Return the arrays of the file by name.

        Raises
        ------
        MissingExtraError
            The package is not installed.
        WeightsError
            The file is missing, damaged or has another SHA-256.
        """
        path = self.path()
        if not path.is_file():
            raise WeightsError(
                f"{path}: weights file is missing; reinstall it with: {self.install}"
            )
        return read_state_dict(path, sha256=self.sha256)


def read_state_dict(path: Path, *, sha256: str | None = None) -> dict[str, Array]:
    """Read a PyTorch state dictionary: both the zip format and the one before it.

    Parameters
    ----------
    path : Path
        A file written by ``torch.save(module.state_dict())``.
    sha256 : str, optional
        Hex digest the file must have; checked before anything else is done with the file.

    Returns
    -------
    dict of str to ndarray
        Arrays of their own memory, in the file's order; bfloat16 widened to float32.

    Raises
    ------
    WeightsError
        The file cannot be read, has another digest, is damaged, or holds anything but tensors.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights file ({error.strerror})") from error
    if sha256 is not None and (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise WeightsError(
            f"{path}: weights file has SHA-256 {actual[:16]}… and not {sha256[:16]}…; "
            "reinstall the package"
        )
    try:
        if content.startswith(b"PK\x03\x04"):
            return _read_zip(content)
        return _read_legacy(content)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{path}: weights file is damaged ({reason}); get it again") from error


def _read_zip(content: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entries = archive.infolist()
        pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise WeightsError("not a PyTorch weights file (no data.pkl in the archive)")
        root = pickles[0].removesuffix("data.pkl")
        # PyTorch stores without compression; anything else could unpack to any size.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise WeightsError("not a PyTorch weights file (its parts are compressed)")
        if any(entry.flag_bits & _ENCRYPTED for entry in entries):
            raise WeightsError("weights file is encrypted; get it without a password")
        # Parts that lie over one another would unpack to more than there is, without compression.
        if sum(entry.file_size for entry in entries) > len(content):
            raise WeightsError("weights file is damaged (its parts claim more than its size)")
        order = f"{root}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise WeightsError(
                "weights file was written on a big-endian machine; save it again on another"
            )
        storages = Storages()
        reader = PickleReader(archive.read(pickles[0]))
        tensors = _checked_state_dict(reader.load(Vocabulary(find, storages.refer)))
        stored = {
            key: _stored_array(storage, archive.read(f"{root}data/{key}"))
            for key, storage in storages.items()
        }
    return _arrays(tensors, stored)


def _read_legacy(content: bytes) -> dict[str, Array]:
    reader = PickleReader(content)
    if reader.load(PLAIN) != _LEGACY_MAGIC:
        raise WeightsError("not a PyTorch weights file")
    if reader.load(PLAIN) != _LEGACY_PROTOCOL:
        raise WeightsError("weights file has an unknown protocol")
    machine = reader.load(PLAIN)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise WeightsError(
            "weights file was written on a big-endian machine; save it again on another"
        )
    storages = Storages()
    tensors = _checked_state_dict(reader.load(Vocabulary(find, storages.refer)))
    keys = reader.load(PLAIN)
    if (
        not isinstance(keys, list)
        or not all(type(key) is str for key in keys)
        or sorted(keys) != sorted(storages)
    ):
        raise WeightsError("weights file does not hold the storages it refers to")
    stored = {}
    for key in keys:
        storage = storages[key]
        count = reader.number(_COUNT)
        if count != storage.count:
            raise WeightsError(
                f"storage {_shown(key)} of the weights file has {count} elements, "
                f"not {storage.count}"
            )
        stored[key] = _stored_array(storage, reader.take(count * storage.type.dtype.itemsize))
    return _arrays(tensors, stored)


def _arrays(tensors: Mapping[str, Tensor], stored: Mapping[str, Array]) -> dict[str, Array]:
    claimed = sum(tensor.count * stored[tensor.storage.key].itemsize for tensor in tensors.values())
    present = sum(array.nbytes for array in stored.values())
    if claimed > _MOST_COPIES * present:
        raise WeightsError(
            f"tensors of the weights file claim {claimed / 1e6:,.1f} MB of {present / 1e6:,.1f} MB "
            "stored; it may be hostile and was not read"
        )
    return {name: tensor.array(stored[tensor.storage.key]) for name, tensor in tensors.items()}


def _shown(name: str) -> str:
    """Return a name of the file as messages show it: on one line, and not all of a long one."""
    return repr(name if len(name) <= 100 else f"{name[:100]}…")


def _stored_array(storage: Storage, content: bytes) -> Array:
    expected = storage.count * storage.type.dtype.itemsize
    if len(content) != expected:
        raise WeightsError(
            f"weights file is truncated: storage {_shown(storage.key)} has {len(content)} bytes, "
            f"not {expected}"
        )
    return np.frombuffer(content, storage.type.dtype)


def _checked_state_dict(loaded: object) -> dict[str, Tensor]:
    if not isinstance(loaded, dict):
        raise WeightsError("weights file does not hold a state dictionary")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(f"entry {_shown(str(name))} of the weights file is not a tensor")
    return dict(loaded)
