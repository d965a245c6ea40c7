"""The content of an Anomalib file: its memory bank, and the settings it was made with.

Based on Anomalib 0.7 to 2.7: ``models/image/patchcore``, ``pre_processing`` and ``deploy/export``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from patchbank.contrib._anomalib_modules import (
    attributes_of,
    child_of,
    modules_below,
    name_of,
    tensors_below,
)
from patchbank.contrib._anomalib_preprocessing import read_transform
from patchbank.errors import BankFileError
from patchbank.torch_files.reader import (
    Inert,
    NotTorchFileError,
    Tensor,
    TorchFile,
    read_torch_file,
)

_MEMORY_BANK: Final = "memory_bank"
_NETWORK: Final = "feature_extractor.feature_extractor."
# Where Anomalib 2.7 and newer store the pre-processor's settings.
_PRE_PROCESSOR: Final = "anomalib_pre_processor_config"
_OTHER_EXPORTS: Final = (".onnx", ".xml", ".bin")
_EXPECTED: Final = (
    "give a memory_bank saved with torch.save, a Lightning checkpoint of Anomalib's Patchcore, or "
    "a model exported to torch"
)
_ALBUMENTATIONS: Final = (
    "was made with Anomalib 0, which resizes images with OpenCV and without antialiasing, which "
    "patchbank does not support; fit the category again from images of good parts"
)


@dataclass(eq=False)
class AnomalibFile:
    """The content of a file.

    Attributes
    ----------
    kind
        The kind of file, for messages.
    memory_bank
        The bank; its elements have not been read yet.
    settings
        The settings in the file, named like the options of `patchbank import-anomalib`, and
        ``coreset_ratio`` and ``num_neighbors``.
    defaults
        Defaults of the Anomalib version that wrote the file, where the newest has others.
    network
        The weights of the backbone under timm's names, if the file contains them.
    """

    file: TorchFile
    kind: str
    memory_bank: Tensor
    settings: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Tensor] = field(default_factory=dict)


def read_anomalib_file(path: Path, limit: int) -> AnomalibFile:
    """Read a file of at most `limit` bytes without running anything in it.

    Raises
    ------
    BankFileError
        If it contains no PatchCore memory bank, or one that cannot be reproduced here.
    """
    if path.suffix.lower() in _OTHER_EXPORTS:
        raise BankFileError(
            f"{path}: looks like an export to ONNX or OpenVINO; give the checkpoint, or a model "
            "exported to torch"
        )
    try:
        file = read_torch_file(path, inert=True, limit=limit)
    except NotTorchFileError as error:
        raise BankFileError(f"{path}: is not a file of Anomalib; {_EXPECTED}") from error
    return interpreted(file)


def interpreted(file: TorchFile) -> AnomalibFile:
    """Return the memory bank in what was read, with its settings.

    Raises
    ------
    BankFileError
        If the file has no memory bank, or its bank cannot be reproduced here.
    """
    try:
        return _interpreted(file)
    except BankFileError as error:
        raise BankFileError(f"{file.path}: {error}") from error


def _interpreted(file: TorchFile) -> AnomalibFile:
    value = file.value
    if isinstance(value, Tensor):
        return AnomalibFile(file, "memory-bank tensor", value)
    if isinstance(value, Mapping):
        state = value.get("state_dict")
        if isinstance(state, Mapping):
            return _from_checkpoint(file, value, state)
        model, metadata = value.get("model"), value.get("metadata")
        if isinstance(model, Inert):
            if isinstance(metadata, Mapping) and "transform" in metadata:
                raise BankFileError(_ALBUMENTATIONS)
            return _from_module(file, "exported model", model)
        if any(isinstance(item, Tensor) for item in value.values()):
            return _from_state(file, "state dictionary", value)
    if isinstance(value, Inert):
        return _from_module(file, "saved model", value)
    raise BankFileError(f"contains no memory bank; {_EXPECTED}")


def _from_state(file: TorchFile, kind: str, state: Mapping[Any, Any]) -> AnomalibFile:
    names = [
        name
        for name, value in state.items()
        if isinstance(name, str)
        and isinstance(value, Tensor)
        and name.rpartition(".")[2] == _MEMORY_BANK
    ]
    if len(names) != 1:
        raise BankFileError(
            f"contains {len(names)} tensors named memory_bank, expected one; "
            "give a checkpoint of Anomalib's Patchcore"
        )
    prefix = names[0].removesuffix(_MEMORY_BANK) + _NETWORK
    network = {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if isinstance(name, str) and name.startswith(prefix) and isinstance(value, Tensor)
    }
    return AnomalibFile(file, kind, state[names[0]], network=network)


def _from_checkpoint(
    file: TorchFile, value: Mapping[Any, Any], state: Mapping[Any, Any]
) -> AnomalibFile:
    found = _from_state(file, "Lightning checkpoint", state)
    stored = value.get("hyper_parameters")
    parameters = stored.items if isinstance(stored, Inert) else stored
    parameters = parameters if isinstance(parameters, Mapping) else {}
    if name_of(stored) == "DictConfig" or {"dataset", "model"} <= set(parameters):
        raise BankFileError(_ALBUMENTATIONS)
    _add_settings(found.settings, parameters)
    if _PRE_PROCESSOR in value:
        config = value[_PRE_PROCESSOR]
        # Custom pre-processors store other things there.
        transform = config.get("transform") if isinstance(config, Mapping) else None
        if transform is not None and len(config) == 1:
            found.settings |= read_transform(transform)
    elif "transform" in value:
        # Anomalib 1.
        if value["transform"] is None:
            found.defaults["center_crop"] = 224
        else:
            found.settings |= read_transform(value["transform"])
    elif "pre_processor" in parameters:
        found.settings |= _from_pre_processor(parameters["pre_processor"], parameters)
    return found


def _from_pre_processor(value: object, parameters: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the settings of the pre-processor of Anomalib 2.0 to 2.6, if the file has them."""
    if value is True:
        # The default one. Anomalib 2.0 crops to 224, 2.1 and newer do not; "precision" means 2.3
        # or newer.
        default = {"image_size": 256}
        return {**default, "center_crop": None} if "precision" in parameters else default
    transform = child_of(value, "transform")
    return {} if transform is None else read_transform(transform)


def _from_module(file: TorchFile, kind: str, root: Inert) -> AnomalibFile:
    modules = modules_below(root)
    patchcore = next((module for module in modules if _bank_of(module) is not None), None)
    memory_bank = None if patchcore is None else _bank_of(patchcore)
    if patchcore is None or memory_bank is None:
        raise BankFileError(f"its model ({root.name or 'unknown'}) has no memory bank")
    found = AnomalibFile(file, kind, memory_bank)
    attributes = attributes_of(patchcore)
    if attributes.get("tiler") is not None:
        raise BankFileError("was made with tiling, which patchbank does not support")
    _add_settings(found.settings, attributes_of(root))
    _add_settings(found.settings, attributes)
    pooler = child_of(patchcore, "feature_pooler")
    if pooler is not None and attributes_of(pooler).get("kernel_size", 3) not in (3, (3, 3)):
        raise BankFileError("pools over a neighbourhood other than 3 x 3")
    pre_processor, transform = child_of(root, "pre_processor"), child_of(root, "transform")
    if pre_processor is not None:
        found.settings |= _from_pre_processor(pre_processor, {})
    elif transform is not None:
        found.settings |= read_transform(transform)
    extractor = child_of(child_of(patchcore, "feature_extractor"), "feature_extractor")
    if extractor is not None:
        found.network = dict(tensors_below(extractor))
    return found


def _add_settings(settings: dict[str, Any], parameters: Mapping[Any, Any]) -> None:
    """Add the settings among Patchcore's parameters."""
    backbone, layers = parameters.get("backbone"), parameters.get("layers")
    if isinstance(backbone, str):
        settings["backbone"] = backbone
    layers = layers.values if isinstance(layers, Inert) else layers
    if isinstance(layers, list | tuple) and layers and all(type(name) is str for name in layers):
        settings["layers"] = tuple(layers)
    ratio, neighbours = parameters.get("coreset_sampling_ratio"), parameters.get("num_neighbors")
    if isinstance(ratio, float | int) and 0.0 < ratio <= 1.0:
        settings["coreset_ratio"] = float(ratio)
    if type(neighbours) is int and neighbours > 0:
        settings["num_neighbors"] = neighbours


def _bank_of(module: Inert) -> Tensor | None:
    buffers = attributes_of(module).get("_buffers")
    found = buffers.get(_MEMORY_BANK) if isinstance(buffers, Mapping) else None
    return found if isinstance(found, Tensor) else None
