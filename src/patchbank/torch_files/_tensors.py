"""Tensors and storages, as described by the pickle of a weights file."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import numpy as np
import numpy.typing as npt

from patchbank.errors import WeightsError
from patchbank.torch_files._pickles import ORDERED_DICT, Function, Unknown, Vocabulary

Array = npt.NDArray[Any]

_STORAGE_DTYPES: Final[Mapping[str, str]] = {
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    # NumPy has no bfloat16: the bits are read as integers and converted to float32.
    "BFloat16Storage": "<u2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}

# NumPy's own limit.
_MOST_DIMENSIONS: Final = 64
_LARGEST_NUMBER: Final = 1 << 62


@dataclass(frozen=True, slots=True, eq=False)
class StorageType:
    """A stand-in for a storage class such as ``torch.FloatStorage``; it cannot be called."""

    name: str

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(_STORAGE_DTYPES[self.name])


@dataclass(frozen=True, slots=True, eq=False)
class Storage:
    """A storage that the pickle refers to; its bytes are elsewhere in the file."""

    type: StorageType
    key: str
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Tensor:
    """A view of a storage."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def count(self) -> int:
        return math.prod(self.shape)

    def array(self, stored: Array) -> Array:
        """Copy the elements out of the storage's one-dimensional array."""
        if self.count == 0:
            array = np.zeros(self.shape, stored.dtype)
        else:
            steps = zip(self.shape, self.strides, strict=True)
            last = self.offset + sum((n - 1) * step for n, step in steps)
            # The only check: `as_strided` below makes none. A view that repeats elements could
            # claim any amount of memory.
            lowest = min((self.offset, *self.shape, *self.strides))
            if lowest < 0 or last >= stored.size or self.count > stored.size:
                raise WeightsError("a tensor in the weights file extends beyond its storage")
            strides = tuple(step * stored.itemsize for step in self.strides)
            view = np.lib.stride_tricks.as_strided(stored[self.offset :], self.shape, strides)
            array = np.array(view, order="C")
        if self.storage.type.name == "BFloat16Storage":
            array = (array.astype(np.uint32) << 16).view(np.float32)
        return array


def _rebuild_tensor(
    storage: object,
    offset: object,
    shape: object,
    strides: object,
    requires_grad: object,
    backward_hooks: object,
    metadata: object = None,
) -> Tensor:
    """Stand for ``torch._utils._rebuild_tensor_v2``."""
    if (
        not isinstance(storage, Storage)
        or not _is_count(offset)
        or not _are_counts(shape)
        or not _are_counts(strides)
        or len(shape) != len(strides)
    ):
        raise WeightsError("a tensor in the weights file is malformed")
    return Tensor(storage, offset, shape, strides)


def _rebuild_parameter(data: object, requires_grad: object, backward_hooks: object) -> object:
    """Stand for ``torch._utils._rebuild_parameter``: a parameter is its tensor."""
    return data


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value <= _LARGEST_NUMBER


def _are_counts(values: object) -> TypeGuard[tuple[int, ...]]:
    return type(values) is tuple and len(values) <= _MOST_DIMENSIONS and all(map(_is_count, values))


_FUNCTIONS: Final[Mapping[tuple[str, str], Function]] = {
    ("collections", "OrderedDict"): ORDERED_DICT,
    ("torch._utils", "_rebuild_tensor_v2"): Function(_rebuild_tensor),
    ("torch._utils", "_rebuild_parameter"): Function(_rebuild_parameter),
}


def find(module: str, name: str) -> object:
    """Return the stand-in for a name that state dictionaries use; refuse any other name."""
    if module == "torch" and name in _STORAGE_DTYPES:
        return StorageType(name)
    if (module, name) in _FUNCTIONS:
        return _FUNCTIONS[module, name]
    return _find_nothing(module, name)


# Never used by a bank or a network. Nothing would be run in any case, but a file that names these
# is an attack and is refused as a whole.
# fmt: off
_HOSTILE_MODULES: Final = frozenset([
    "_pickle", "_posixsubprocess", "_winapi", "asyncio", "code", "codeop", "ctypes", "http",
    "importlib", "marshal", "multiprocessing", "nt", "os", "pickle", "pip", "pkgutil", "posix",
    "pty", "runpy", "shutil", "signal", "socket", "subprocess", "sys", "timeit", "urllib",
    "webbrowser",
])
_HOSTILE_BUILTINS: Final = frozenset([
    "__import__", "breakpoint", "compile", "delattr", "eval", "exec", "execfile", "exit",
    "file", "globals", "input", "locals", "open", "quit", "setattr", "vars",
])
# fmt: on
_HOSTILE_NAMES: Final = frozenset(
    [
        ("numpy", "load"),
        ("torch", "load"),
        ("torch.serialization", "load"),
        ("types", "CodeType"),
        ("types", "FunctionType"),
    ]
)


def find_or_stand_in(module: str, name: str) -> object:
    """Return the result of `find`, or an inert stand-in; refuse names that only attacks use."""
    root = module.split(".", 1)[0]
    if (
        root in _HOSTILE_MODULES
        or (root in ("builtins", "__builtin__") and name.split(".", 1)[0] in _HOSTILE_BUILTINS)
        or (module, name) in _HOSTILE_NAMES
        or module.startswith(("torch.hub", "torch.utils.cpp_extension", "numpy.f2py"))
    ):
        raise WeightsError(
            f"weights file calls {module}.{name}, which no model needs; "
            "it is hostile and was not run"
        )
    if (module == "torch" and name in _STORAGE_DTYPES) or (module, name) in _FUNCTIONS:
        return find(module, name)
    return Unknown(module, name)


def _find_nothing(module: str, name: str) -> object:
    raise WeightsError(
        f"weights file loads {module}.{name}, which is not a tensor; "
        "it may be hostile and was not run"
    )


def _refer_to_nothing(identifier: object) -> object:
    raise WeightsError("weights file refers to something that is not a plain storage")


# For pickles of numbers, strings, lists and dictionaries.
PLAIN: Final = Vocabulary(_find_nothing, _refer_to_nothing)


class Storages(dict[str, Storage]):
    """The storages that a pickle refers to, by key, collected while it is read."""

    def refer(self, identifier: object) -> Storage:
        match identifier:
            case ("storage", StorageType() as kind, str(key), str(), count, *view) if _is_count(
                count
            ) and view in ([], [None]):
                known = self.setdefault(key, Storage(kind, key, count))
                if known.count != count or known.type.name != kind.name:
                    raise WeightsError("two storages of the weights file have the same key")
                return known
        raise WeightsError("weights file refers to something that is not a plain storage")

    def refer_or_stand_in(self, identifier: object) -> object:
        """Return the result of `refer`, or the class where a module is saved with its source."""
        match identifier:
            case ("module", Unknown() as kind, *_):
                return kind
        return self.refer(identifier)
