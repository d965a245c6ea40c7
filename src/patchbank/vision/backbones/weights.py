"""Read and verify weights files without PyTorch.

A ``.pth`` file is a pickle, and a pickle is a program. `read_state_dict` uses a reader that only
builds dictionaries and tensors (`patchbank.torch_files`), so that a hostile file gives an error.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from patchbank.errors import MissingExtraError, WeightsError
from patchbank.torch_files._tensors import Array, Tensor
from patchbank.torch_files.reader import read_torch_file, shown

# Tensors may share a storage, as tied layers do; but many copies of one would exhaust the memory.
_MOST_COPIES: Final = 16


@dataclass(frozen=True)
class PackagedWeights:
    """A weights file in a Python package.

    Parameters
    ----------
    package : str
        The package's import name.
    file : str
        The file's path in the package.
    sha256 : str
        The expected hex digest of the file.
    install : str
        The command that installs the package.
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
            If the package is not installed.
        """
        # Find the package without importing it: its code is not needed.
        found = importlib.util.find_spec(self.package)
        if found is None or not found.submodule_search_locations:
            raise MissingExtraError(
                f"the weights package {self.package!r} is not installed; "
                f"install it with: {self.install}"
            )
        return Path(found.submodule_search_locations[0]) / self.file

    def is_installed(self) -> bool:
        """Return whether the file exists; its content is not checked."""
        try:
            return self.path().is_file()
        except MissingExtraError:
            return False

    def read(self) -> dict[str, Array]:
        """Return the arrays of the file by name.

        Raises
        ------
        WeightsError
            If the file is missing.
        """
        path = self.path()
        if not path.is_file():
            raise WeightsError(
                f"{path}: the weights file is missing; reinstall it with: {self.install}"
            )
        return read_state_dict(path, sha256=self.sha256)


def read_state_dict(path: Path, *, sha256: str | None = None) -> dict[str, Array]:
    """Read a PyTorch state dictionary, in the zip format or the older one.

    Parameters
    ----------
    path : Path
        A file written by ``torch.save(module.state_dict())``.
    sha256 : str, optional
        The expected hex digest, checked first.

    Returns
    -------
    dict of str to ndarray
        New arrays in the file's order; bfloat16 is widened to float32.

    Raises
    ------
    WeightsError
        If the file contains anything but tensors, or implausibly large ones.
    """
    file = read_torch_file(path, sha256=sha256)
    try:
        tensors = _checked_state_dict(file.value)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    stored = {key: file.stored(storage) for key, storage in file.storages.items()}
    claimed = sum(tensor.count * stored[tensor.storage.key].itemsize for tensor in tensors.values())
    present = sum(array.nbytes for array in stored.values())
    if claimed > _MOST_COPIES * present:
        raise WeightsError(
            f"{path}: tensors of the weights file claim {claimed / 1e6:,.1f} MB, but only "
            f"{present / 1e6:,.1f} MB are stored; it may be hostile and was not read"
        )
    return {
        name: file.array(tensor, stored[tensor.storage.key]) for name, tensor in tensors.items()
    }


def _checked_state_dict(loaded: object) -> dict[str, Tensor]:
    if not isinstance(loaded, dict):
        raise WeightsError("the weights file does not contain a state dictionary")
    for name, value in loaded.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise WeightsError(f"entry {shown(str(name))} of the weights file is not a tensor")
    return dict(loaded)
