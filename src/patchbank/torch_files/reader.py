"""Read files that ``torch.save`` wrote, without PyTorch: in its zip format and the one before it.

Such a file is a pickle, and a pickle is a program. It is run by a machine that can build plain
values and tensors and nothing else (`_pickles`); a hostile file gets an error.
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
from patchbank.torch_files._pickles import Inert, PickleReader, Vocabulary
from patchbank.torch_files._tensors import (
    PLAIN,
    Array,
    Storage,
    Storages,
    Tensor,
    find,
    find_or_stand_in,
)

__all__ = ["Inert", "Tensor", "TorchFile", "read_torch_file", "shown"]

# What `torch.save` wrote before its zip format: this number, this protocol, the machine's sizes.
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001

# A storage's number of elements, before its bytes.
_COUNT: Final = struct.Struct("<q")
# A bit of the flags of an archive's entry.
_ENCRYPTED: Final = 1

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


@dataclass(frozen=True, eq=False)
class TorchFile:
    """What a file holds.

    Attributes
    ----------
    path : Path
        The file.
    sha256 : str
        Of its content, in hexadecimal.
    value : object
        What was saved: plain values, `Tensor` and, where it was asked for, `Inert`.
    storages : mapping of str to Storage
        All that its tensors refer to, by key.
    read : callable (key) returning bytes
        Gives the bytes of a storage.
    """

    path: Path
    sha256: str
    value: object
    storages: Mapping[str, Storage]
    read: Callable[[str], bytes]

    def stored(self, storage: Storage) -> Array:
        """Return a storage's elements, one-dimensional; bfloat16 as its bits.

        Raises
        ------
        WeightsError
            The file is damaged.
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
        """Return a tensor's elements, copied; bfloat16 widened to float32.

        `stored` is its storage's, where that was read already.

        Raises
        ------
        WeightsError
            The file is damaged, or the tensor reaches outside its storage.
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
    """Read a file that ``torch.save`` wrote; elements of tensors are read when asked for.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str, optional
        Hex digest the file must have; checked before anything else is done with the file.
    inert : bool
        Whether objects of unknown classes may be in it, which come as `Inert`; without it, a file
        with anything but tensors and plain values is refused.
    limit : int
        The largest file that is read, in bytes.

    Raises
    ------
    WeightsError
        The file cannot be read, has another digest, is damaged, or holds what it must not.
    """
    try:
        content = read_regular(path, limit)
    except OSError as error:
        raise WeightsError(f"{path}: cannot read the weights file ({error.strerror})") from error
    actual = hashlib.sha256(content).hexdigest()
    if sha256 is not None and actual != sha256:
        raise WeightsError(
            f"{path}: weights file has SHA-256 {actual[:16]}… and not {sha256[:16]}…; "
            "reinstall the package"
        )
    storages = Storages()
    words = Vocabulary(find, storages.refer)
    if inert:
        words = Vocabulary(find_or_stand_in, storages.refer_or_stand_in, inert=True)
    with _named_damage(path):
        read_one = _read_zip if content.startswith(b"PK\x03\x04") else _read_legacy
        value, read = read_one(content, words, storages)
    return TorchFile(path, actual, value, storages, read)


@contextlib.contextmanager
def _named_damage(path: Path) -> Iterator[None]:
    """Name the file in every error."""
    prefix = f"{path}: "
    try:
        yield
    except WeightsError as error:
        message = str(error)
        raise WeightsError(message if message.startswith(prefix) else prefix + message) from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise WeightsError(f"{prefix}weights file is damaged ({reason}); get it again") from error


def _read_zip(
    content: bytes, words: Vocabulary, storages: Storages
) -> tuple[object, Callable[[str], bytes]]:
    archive = zipfile.ZipFile(io.BytesIO(content))
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
    value = PickleReader(archive.read(pickles[0])).load(words)
    return value, lambda key: archive.read(f"{root}data/{key}")


def _read_legacy(
    content: bytes, words: Vocabulary, storages: Storages
) -> tuple[object, Callable[[str], bytes]]:
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
    value = reader.load(words)
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
                f"storage {shown(key)} of the weights file has {count} elements, "
                f"not {storage.count}"
            )
        stored[key] = reader.take(count * storage.type.dtype.itemsize)
    return value, stored.__getitem__


def shown(name: str) -> str:
    """Return a name of the file as messages show it: on one line, and not all of a long one."""
    return repr(name if len(name) <= 100 else f"{name[:100]}…")
