"""Read files written by ``torch.save``, in the zip and the legacy format, without PyTorch.

Such a file is a pickle, and a pickle is a program. An interpreter that can only build plain values
and tensors runs it (`_pickles`); a hostile file gets an error.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from patchbank.errors import WeightsError
from patchbank.files import LARGEST_WEIGHTS, read_regular
from patchbank.torch_files._pickles import Inert, PickleReader, Unknown, Vocabulary
from patchbank.torch_files._tensors import (
    PLAIN,
    Array,
    Storage,
    Storages,
    StorageType,
    Tensor,
    find,
    find_or_stand_in,
)

__all__ = [
    "Inert",
    "NotTorchFileError",
    "Storage",
    "StorageType",
    "Tensor",
    "TorchFile",
    "Unknown",
    "read_torch_file",
    "shown",
]

# The code that every pickle of PyTorch starts with, for its protocol.
_PICKLE_START: Final = b"\x80"
# The legacy format starts with this number, this protocol and the machine's sizes.
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001

# The number of elements in a storage, in front of its bytes.
_COUNT: Final = struct.Struct("<q")
# A flag of an archive entry.
_ENCRYPTED: Final = 1

# Raised by NumPy and zipfile for damaged files.
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


@dataclass(frozen=True, eq=False)
class TorchFile:
    """The content of a file.

    Attributes
    ----------
    path : Path
        The file.
    sha256 : str
        SHA-256 of its content, in hexadecimal.
    value : object
        The saved object: plain values, `Tensor` and, if requested, `Inert`.
    storages : mapping of str to Storage
        All storages that its tensors refer to, by key.
    read : callable (key) returning bytes
        Returns the bytes of a storage.
    """

    path: Path
    sha256: str
    value: object
    storages: Mapping[str, Storage]
    read: Callable[[str], bytes]

    def stored(self, storage: Storage) -> Array:
        """Return a storage's elements as a one-dimensional array; bfloat16 as raw bits.

        Raises
        ------
        WeightsError
            If the file is damaged.
        """
        with _named_damage(self.path):
            content = self.read(storage.key)
            expected = storage.count * storage.type.dtype.itemsize
            if len(content) != expected:
                raise WeightsError(
                    f"weights file is truncated: storage {shown(storage.key)} has {len(content)} "
                    f"bytes, not {expected}"
                )
            return np.frombuffer(content, storage.type.dtype)

    def array(self, tensor: Tensor, stored: Array | None = None) -> Array:
        """Return a copy of a tensor's elements; bfloat16 is converted to float32.

        `stored` holds the elements of its storage, if they have been read already.
        """
        with _named_damage(self.path):
            return tensor.array(self.stored(tensor.storage) if stored is None else stored)


def read_torch_file(
    path: Path,
    *,
    sha256: str | None = None,
    inert: bool = False,
    limit: int = LARGEST_WEIGHTS,
) -> TorchFile:
    """Read a file written by ``torch.save``; tensor elements are read on request.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str, optional
        The digest that the file must have, in hexadecimal; it is checked before anything else.
    inert : bool
        Whether objects of unknown classes are allowed, returned as `Inert`; otherwise a file with
        anything but tensors and plain values is refused.
    limit : int
        Size of the largest file that is read, in bytes.

    Raises
    ------
    WeightsError
        If the file cannot be read, has another digest, is damaged, or contains forbidden objects.
    """
    try:
        content = read_regular(path, limit)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights file ({error.strerror})") from error
    actual = hashlib.sha256(content).hexdigest()
    if sha256 is not None and actual != sha256:
        raise WeightsError(
            f"{path}: weights file has SHA-256 {actual[:16]}…, expected {sha256[:16]}…; "
            "reinstall the package"
        )
    storages = Storages()
    vocabulary = Vocabulary(find, storages.refer)
    if inert:
        vocabulary = Vocabulary(find_or_stand_in, storages.refer_or_stand_in, inert=True)
    with _named_damage(path):
        read_format = _read_zip if content.startswith(b"PK\x03\x04") else _read_legacy
        value, read = read_format(content, vocabulary, storages)
    return TorchFile(path, actual, value, storages, read)


class NotTorchFileError(WeightsError):
    """A file was not written by ``torch.save``."""


@contextlib.contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    """Add the file's path to every error."""
    prefix = f"{path}: "
    try:
        yield
    except WeightsError as error:
        message = str(error)
        message = message if message.startswith(prefix) else prefix + message
        raise type(error)(message) from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(
            f"{prefix}weights file is damaged ({reason}); download it again"
        ) from error


def _read_zip(
    content: bytes, vocabulary: Vocabulary, storages: Storages
) -> tuple[object, Callable[[str], bytes]]:
    archive = zipfile.ZipFile(io.BytesIO(content))
    entries = archive.infolist()
    pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
    if len(pickles) != 1:
        raise NotTorchFileError("not a PyTorch weights file (no data.pkl in the archive)")
    root = pickles[0].removesuffix("data.pkl")
    # PyTorch does not compress; a compressed part could unpack to any size.
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
        raise WeightsError("not a PyTorch weights file (its parts are compressed)")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise WeightsError("weights file is encrypted; use one without a password")
    # Overlapping parts could unpack to more than the file's size, even without compression.
    if sum(entry.file_size for entry in entries) > len(content):
        raise WeightsError("weights file is damaged (its parts claim more than its size)")
    order = f"{root}byteorder"
    if order in archive.namelist() and archive.read(order) != b"little":
        raise WeightsError(
            "weights file was written on a big-endian machine; save it on a little-endian one"
        )
    value = PickleReader(archive.read(pickles[0])).load(vocabulary)
    return value, lambda key: archive.read(f"{root}data/{key}")


def _read_legacy(
    content: bytes, vocabulary: Vocabulary, storages: Storages
) -> tuple[object, Callable[[str], bytes]]:
    reader = PickleReader(content)
    if content[:1] != _PICKLE_START or reader.load(PLAIN) != _LEGACY_MAGIC:
        raise NotTorchFileError("not a PyTorch weights file; download it again")
    if reader.load(PLAIN) != _LEGACY_PROTOCOL:
        raise WeightsError("weights file has an unknown protocol")
    machine = reader.load(PLAIN)
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise WeightsError(
            "weights file was written on a big-endian machine; save it on a little-endian one"
        )
    value = reader.load(vocabulary)
    keys = reader.load(PLAIN)
    if (
        not isinstance(keys, list)
        or not all(type(key) is str for key in keys)
        or sorted(keys) != sorted(storages)
    ):
        raise WeightsError("weights file does not contain the storages it refers to")
    stored = {}
    for key in keys:
        storage = storages[key]
        count = reader.number(_COUNT)
        if count != storage.count:
            raise WeightsError(
                f"storage {shown(key)} in the weights file has {count} elements, "
                f"not {storage.count}"
            )
        stored[key] = reader.take(count * storage.type.dtype.itemsize)
    return value, stored.__getitem__


def shown(name: str) -> str:
    """Return a name from the file for a message: on one line, and shortened if long."""
    return repr(name if len(name) <= 100 else f"{name[:100]}…")
