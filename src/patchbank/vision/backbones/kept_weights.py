"""Weights of a built-in network: a safetensors file from the hub or from the user."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from patchbank.errors import MissingWeightsError, WeightsError
from patchbank.files import LARGEST_WEIGHTS, read_regular
from patchbank.vision.backbones import weights_folder

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]
Shapes = Mapping[str, tuple[int, ...]]

# Statistics of ImageNet's pixels on a scale from 0 to 1: red, green, blue.
IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
IMAGENET_STD: Final = (0.229, 0.224, 0.225)

HUB_FILE: Final = "model.safetensors"
# NumPy has no bfloat16, so its bits are read as integers and widened to float32.
_BFLOAT16: Final = "BF16"
_DTYPES: Final[Mapping[str, str]] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    _BFLOAT16: "<u2",
}


def _unchanged(arrays: Arrays) -> Arrays:
    return arrays


@dataclass(frozen=True)
class KeptWeights:
    """The weights of a built-in network.

    Parameters
    ----------
    name : str
        The backbone's name.
    repository : str
        The repository of `HUB_FILE` on the Hugging Face hub.
    shapes : mapping of str to tuple of int
        All arrays that the network needs; others in the file are ignored.
    translate : callable
        Renames the arrays of other publishers.
    """

    name: str
    repository: str
    shapes: Shapes
    translate: Callable[[Arrays], Arrays] = _unchanged

    @property
    def install(self) -> str:
        """The command that installs the weights."""
        return f"patchbank backbone pull {self.name}"

    @property
    def remedies(self) -> str:
        """Both ways to install the weights, for a message."""
        return (
            f"run: {self.install}; or download {HUB_FILE} from "
            f"https://huggingface.co/{self.repository} and run: "
            f"patchbank backbone add {self.name} --file {HUB_FILE}"
        )

    @property
    def origin(self) -> str:
        """The recorded source, or the hub if no source is recorded."""
        kept = weights_folder.find(self.name)
        return f"hub {self.repository}" if kept is None else kept.origin

    @property
    def sha256(self) -> str:
        """Hex digest, as recorded when the file was added."""
        return self._kept().sha256

    def path(self) -> Path | None:
        """Return the file's path, None if it is not on this machine."""
        kept = weights_folder.find(self.name)
        return None if kept is None or not kept.path.is_file() else kept.path

    def read(self) -> Arrays:
        """Return the arrays by name, all float32.

        Raises
        ------
        MissingWeightsError
            If the weights are not on this machine.
        """
        kept = self._kept()
        try:
            return self.read_file(kept.path, sha256=kept.sha256)
        except FileNotFoundError as error:
            raise self._missing() from error

    def read_file(self, path: Path, *, sha256: str | None = None) -> Arrays:
        """Return the arrays of any file after checking that they are this network's.

        Raises
        ------
        WeightsError
            If an array is missing, or has another type or shape or invalid values.
        """
        read, other_types = read_weights(path, sha256)
        arrays = self.translate(read)
        source = f"download {HUB_FILE} from https://huggingface.co/{self.repository}"
        for key, shape in self.shapes.items():
            if key not in arrays and key in other_types:
                raise WeightsError(
                    f"{path}: {key} is {other_types[key]}, not floating-point; {source}"
                )
            if key not in arrays:
                raise WeightsError(
                    f"{path}: not the weights of {self.name}: it has no {key}; {source}"
                )
            if arrays[key].shape != shape:
                raise WeightsError(
                    f"{path}: not the weights of {self.name}: {key} is {arrays[key].shape}, "
                    f"not {shape}; {source}"
                )
            if not np.isfinite(arrays[key]).all():
                raise WeightsError(
                    f"{path}: {key} has values that are not finite; get the file again"
                )
            if key.endswith(".running_var") and arrays[key].min() < 0:
                raise WeightsError(f"{path}: {key} has a negative variance; get the file again")
        return {key: arrays[key] for key in self.shapes}

    def _kept(self) -> weights_folder.Kept:
        kept = weights_folder.find(self.name)
        if kept is None:
            raise self._missing()
        return kept

    def _missing(self) -> MissingWeightsError:
        return MissingWeightsError(
            f"{self.name}: its weights are not on this machine; {self.remedies}"
        )


def read_weights(path: Path, sha256: str | None) -> tuple[dict[str, Array], dict[str, str]]:
    """Return the floating-point arrays, and the types of the others."""
    # Imported here because it is not needed if the graph is cached.
    from safetensors import SafetensorError, deserialize

    try:
        content = read_regular(path, LARGEST_WEIGHTS)
    except FileNotFoundError:
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WeightsError(f"{path}: cannot read the weights file ({reason})") from error
    if sha256 is not None and (actual := hashlib.sha256(content).hexdigest()) != sha256:
        raise WeightsError(
            f"{path}: weights file has SHA-256 {actual[:16]}…, not the recorded {sha256[:16]}…; "
            "it was changed or damaged: remove it and get it again"
        )
    try:
        # The library leaves this function without types.
        entries = deserialize(content)  # type: ignore[no-untyped-call]
    except SafetensorError as error:
        reason = " ".join(str(error).split())
        raise WeightsError(f"{path}: not a safetensors file ({reason})") from error
    arrays = {
        name: _float32(entry["data"], entry["dtype"], tuple(entry["shape"]))
        for name, entry in entries
        if entry["dtype"] in _DTYPES
    }
    return arrays, {name: str(entry["dtype"]) for name, entry in entries if name not in arrays}


def _float32(data: bytes, kind: str, shape: tuple[int, ...]) -> Array:
    array = np.frombuffer(data, _DTYPES[kind])
    if kind == _BFLOAT16:
        array = (array.astype(np.uint32) << 16).view(np.float32)
    return array.astype(np.float32, copy=False).reshape(shape)
