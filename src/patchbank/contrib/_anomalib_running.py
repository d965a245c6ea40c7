"""A model in a running Anomalib, seen like one in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Any, Final

import torch

from patchbank.contrib._anomalib_files import AnomalibFile, interpreted
from patchbank.torch_files.reader import Inert, Storage, StorageType, Tensor, TorchFile, Unknown

# What takes the place of the file's name in messages.
_NAME: Final = Path("Anomalib's Patchcore")
_STORAGES: Final[Mapping[torch.dtype, str]] = {
    torch.float64: "DoubleStorage",
    torch.float32: "FloatStorage",
    torch.float16: "HalfStorage",
    torch.bfloat16: "BFloat16Storage",
    torch.int64: "LongStorage",
}


def read_running_model(patchcore: torch.nn.Module) -> AnomalibFile:
    """Return the content of a file that an export of the model would write.

    Raises
    ------
    BankFileError
        If its bank cannot be reproduced here.
    """
    reader = _Reader()
    parts = {
        name: reader.module(part)
        for name in ("model", "pre_processor")
        if isinstance(part := getattr(patchcore, name, None), torch.nn.Module)
    }
    ratio = getattr(patchcore, "coreset_sampling_ratio", None)
    state = {"coreset_sampling_ratio": ratio, "_modules": parts}
    root = Inert(_class_of(patchcore), (), state)
    found = interpreted(TorchFile(_NAME, "", root, {}, reader.content))
    found.kind = "running model"
    return found


class _Reader:
    """Reads modules; their tensors' elements are copied when they are asked for."""

    def __init__(self) -> None:
        self._tensors: list[torch.Tensor] = []

    def module(self, module: torch.nn.Module) -> Inert:
        state = {name: self._value(value) for name, value in vars(module).items()}
        return Inert(_class_of(module), (), state)

    def content(self, key: str) -> bytes:
        tensor = self._tensors[int(key)].contiguous().cpu()
        if tensor.dtype == torch.bfloat16:
            tensor = tensor.view(torch.int16)
        content: bytes = tensor.numpy().tobytes()
        return content

    def _value(self, value: object) -> Any:
        if value is None or isinstance(value, str | int | float):
            return value
        if isinstance(value, torch.Tensor):
            return self._tensor(value)
        if isinstance(value, torch.nn.Module):
            return self.module(value)
        if isinstance(value, Mapping):
            return {name: self._value(part) for name, part in value.items()}
        if isinstance(value, tuple):
            return tuple(map(self._value, value))
        if isinstance(value, Sequence):
            return list(map(self._value, value))
        if isinstance(value, torch.dtype):
            return Unknown("torch", str(value).removeprefix("torch."))
        if isinstance(value, Enum):
            return Inert(_class_of(value), (value.value,))
        return Inert(_class_of(value), ())

    def _tensor(self, tensor: torch.Tensor) -> Any:
        if tensor.dtype not in _STORAGES:
            return Inert(_class_of(tensor), ())
        self._tensors.append(tensor.detach())
        kind = StorageType(_STORAGES[tensor.dtype])
        storage = Storage(kind, str(len(self._tensors) - 1), tensor.numel())
        shape = tuple(tensor.shape)
        # Of the copy, whose elements follow one another.
        strides = torch.empty(shape, device="meta").stride()
        return Tensor(storage, 0, shape, tuple(strides))


def _class_of(value: object) -> Unknown:
    return Unknown(type(value).__module__, type(value).__name__)
