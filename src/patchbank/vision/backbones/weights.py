"""Read and verify weight files without the framework that wrote them.

A ``.pth`` file is a pickle, and a pickle is a program. `read_state_dict` runs it with an unpickler
that can build ordered dictionaries and tensors and nothing else: a hostile file gets an error.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import math
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from patchbank.errors import MissingExtraError, WeightsError

Array = npt.NDArray[Any]

# What `torch.save` wrote before its zip format: this number, this protocol, the machine's sizes.
_LEGACY_MAGIC: Final = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL: Final = 1001

_STORAGE_DTYPES: Final[Mapping[str, str]] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    # NumPy has no bfloat16: the bits are read as integers and widened to float32.
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}

# All that the standard library raises on a damaged pickle or archive.
_DAMAGE: Final = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    NotImplementedError,
    RecursionError,
    TypeError,
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


class _StorageType:
    """Stands for a storage class such as ``torch.FloatStorage``; can be named and nothing else."""

    __slots__ = ("dtype", "name")

    def __init__(self, name: str) -> None:
        self.name = name
        self.dtype = np.dtype(_STORAGE_DTYPES[name])


class _Storage:
    """A storage the pickle refers to; its bytes lie elsewhere in the file."""

    __slots__ = ("count", "key", "type")

    def __init__(self, storage_type: _StorageType, key: str, count: int) -> None:
        self.type = storage_type
        self.key = key
        self.count = count


class _Tensor:
    """A view of a storage, checked to lie within it."""

    __slots__ = ("offset", "shape", "storage", "strides")

    def __init__(
        self, storage: object, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> None:
        if not isinstance(storage, _Storage) or len(shape) != len(strides):
            raise WeightsError("a tensor of the weights file is malformed")
        numbers = (offset, *shape, *strides)
        if not all(type(number) is int and number >= 0 for number in numbers):
            raise WeightsError("a tensor of the weights file is malformed")
        count = math.prod(shape)
        # Views that repeat elements are refused as well: they could claim any amount of memory.
        last = offset + sum((n - 1) * step for n, step in zip(shape, strides, strict=True))
        if count and (last >= storage.count or count > storage.count):
            raise WeightsError("a tensor of the weights file reaches outside its storage")
        self.storage = storage
        self.offset = offset
        self.shape = shape
        self.strides = strides

    def array(self, stored: Array) -> Array:
        if math.prod(self.shape) == 0:
            array = np.zeros(self.shape, stored.dtype)
        else:
            steps = tuple(step * stored.itemsize for step in self.strides)
            view = np.lib.stride_tricks.as_strided(stored[self.offset :], self.shape, steps)
            array = np.array(view, order="C")
        if self.storage.type.name == "BFloat16Storage":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array


class _RebuildTensor:
    """Stands for ``torch._utils._rebuild_tensor_v2``; has no attribute a pickle could set."""

    __slots__ = ()

    def __call__(
        self,
        storage: _Storage,
        offset: int,
        shape: tuple[int, ...],
        strides: tuple[int, ...],
        requires_grad: bool,
        backward_hooks: object,
        metadata: object = None,
    ) -> _Tensor:
        return _Tensor(storage, offset, shape, strides)


class _RebuildParameter:
    """Stands for ``torch._utils._rebuild_parameter``: a parameter is its tensor."""

    __slots__ = ()

    def __call__(self, data: _Tensor, requires_grad: bool, backward_hooks: object) -> _Tensor:
        return data


def _no_tensor(module: str, name: str) -> WeightsError:
    return WeightsError(
        f"weights file asks to load {module}.{name}, which is no tensor; "
        "it may be hostile and was not run"
    )


class _TensorUnpickler(pickle.Unpickler):
    """An unpickler that knows the names a state dictionary needs and refuses every other."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _RebuildTensor()
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _RebuildParameter()
        if module == "torch" and name in _STORAGE_DTYPES:
            return _StorageType(name)
        raise _no_tensor(module, name)

    def persistent_load(self, pid: Any) -> _Storage:
        match pid:
            case ("storage", _StorageType() as storage_type, str(key), str(), int(count)) | (
                "storage",
                _StorageType() as storage_type,
                str(key),
                str(),
                int(count),
                None,
            ) if count >= 0:
                known = self.storages.setdefault(key, _Storage(storage_type, key, count))
                if known.count != count or known.type.name != storage_type.name:
                    raise WeightsError("two storages of the weights file have the same key")
                return known
        raise WeightsError("weights file refers to something that is not a plain storage")


class _PlainUnpickler(pickle.Unpickler):
    """An unpickler for numbers, strings, lists and dictionaries."""

    def find_class(self, module: str, name: str) -> Any:
        raise _no_tensor(module, name)


def _read_zip(content: bytes) -> dict[str, Array]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        pickles = [name for name in archive.namelist() if name.split("/")[1:] == ["data.pkl"]]
        if len(pickles) != 1:
            raise WeightsError("not a PyTorch weights file (no data.pkl in the archive)")
        root = pickles[0].removesuffix("data.pkl")
        # PyTorch stores without compression; anything else could unpack to any size.
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise WeightsError("not a PyTorch weights file (its parts are compressed)")
        order = f"{root}byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise WeightsError(
                "weights file was written on a big-endian machine; save it again on another"
            )
        unpickler = _TensorUnpickler(io.BytesIO(archive.read(pickles[0])))
        tensors = _checked_state_dict(unpickler.load())
        stored = {
            key: _stored_array(storage, archive.read(f"{root}data/{key}"))
            for key, storage in unpickler.storages.items()
        }
    return {name: tensor.array(stored[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_legacy(content: bytes) -> dict[str, Array]:
    file = io.BytesIO(content)
    if _PlainUnpickler(file).load() != _LEGACY_MAGIC:
        raise WeightsError("not a PyTorch weights file")
    if _PlainUnpickler(file).load() != _LEGACY_PROTOCOL:
        raise WeightsError("weights file has an unknown protocol")
    machine = _PlainUnpickler(file).load()
    if not isinstance(machine, dict) or machine.get("little_endian") is not True:
        raise WeightsError(
            "weights file was written on a big-endian machine; save it again on another"
        )
    unpickler = _TensorUnpickler(file)
    tensors = _checked_state_dict(unpickler.load())
    keys = _PlainUnpickler(file).load()
    if not isinstance(keys, list) or set(keys) != set(unpickler.storages):
        raise WeightsError("weights file does not hold the storages it refers to")
    stored = {}
    for key in keys:
        storage = unpickler.storages[key]
        (count,) = struct.unpack("<q", file.read(8))
        if count != storage.count:
            raise WeightsError(
                f"storage {key} of the weights file has {count} elements, not {storage.count}"
            )
        stored[key] = _stored_array(storage, file.read(count * storage.type.dtype.itemsize))
    return {name: tensor.array(stored[tensor.storage.key]) for name, tensor in tensors.items()}


def _stored_array(storage: _Storage, content: bytes) -> Array:
    expected = storage.count * storage.type.dtype.itemsize
    if len(content) != expected:
        raise WeightsError(
            f"weights file is truncated: storage {storage.key} has {len(content)} bytes, "
            f"not {expected}"
        )
    return np.frombuffer(content, storage.type.dtype)


def _checked_state_dict(loaded: object) -> dict[str, _Tensor]:
    if not isinstance(loaded, dict):
        raise WeightsError("weights file does not hold a state dictionary")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, _Tensor):
            raise WeightsError(f"entry {name!r} of the weights file is not a tensor")
    return dict(loaded)
