"""What an Anomalib file holds: its memory bank, and the settings that made it.

Read off Anomalib 0.7 to 2.7: ``models/image/patchcore``, ``pre_processing`` and ``deploy/export``.
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
from patchbank.torch_files.reader import Inert, Tensor, TorchFile, read_torch_file

_MEMORY_BANK: Final = "memory_bank"
_NETWORK: Final = "feature_extractor.feature_extractor."
# Where Anomalib 2.7 and newer keep what their pre-processor does.
_PRE_PROCESSOR: Final = "anomalib_pre_processor_config"
_OTHER_EXPORTS: Final = (".onnx", ".xml", ".bin")
_ALBUMENTATIONS: Final = (
    "was made with Anomalib 0, which resizes images by OpenCV and without antialiasing, as "
    "patchbank does not; fit the category again from its good images"
)


@dataclass(eq=False)
class AnomalibFile:
    """What was found in a file.

    Attributes
    ----------
    kind
        What sort of file it is, for people.
    memory_bank
        The bank; its elements are still in the file.
    settings
        What the file says, under the names of `patchbank import-anomalib`'s options, and
        ``coreset_ratio`` and ``num_neighbors``.
    defaults
        What Anomalib does where the file does not say, where that is not what its newest does.
    network
        The weights of the backbone under timm's names, where the file holds them.
    """

    file: TorchFile
    kind: str
    memory_bank: Tensor
    settings: dict[str, Any] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Tensor] = field(default_factory=dict)


def read_anomalib_file(path: Path, limit: int) -> AnomalibFile:
    """Read a file of at most `limit` bytes without running anything of it.

    Raises
    ------
    WeightsError
        It cannot be read, is damaged or hostile.
    BankFileError
        It holds no memory bank of a PatchCore, or one that was made in a way that cannot be
        reproduced here.
    """
    if path.suffix.lower() in _OTHER_EXPORTS:
        raise BankFileError(
            f"{path}: is an export to ONNX or OpenVINO by its name; give the checkpoint, or a "
            "model exported to torch"
        )
    file = read_torch_file(path, inert=True, limit=limit)
    try:
        return _found(file)
    except BankFileError as error:
        raise BankFileError(f"{path}: {error}") from error


def _found(file: TorchFile) -> AnomalibFile:
    value = file.value
    if isinstance(value, Tensor):
        return AnomalibFile(file, "memory-bank tensor", value)
    if isinstance(value, Mapping):
        state = value.get("state_dict")
        if isinstance(state, Mapping):
            return _of_checkpoint(file, value, state)
        model, metadata = value.get("model"), value.get("metadata")
        if isinstance(model, Inert):
            if isinstance(metadata, Mapping) and "transform" in metadata:
                raise BankFileError(_ALBUMENTATIONS)
            return _of_module(file, "exported model", model)
        if any(isinstance(one, Tensor) for one in value.values()):
            return _of_state(file, "state dictionary", value)
    if isinstance(value, Inert):
        return _of_module(file, "saved model", value)
    raise BankFileError(
        "holds no memory bank; give a torch.save'd memory_bank, a Lightning checkpoint of "
        "Anomalib's Patchcore, or a model it exported to torch"
    )


def _of_state(file: TorchFile, kind: str, state: Mapping[Any, Any]) -> AnomalibFile:
    names = [
        name
        for name, value in state.items()
        if isinstance(name, str)
        and isinstance(value, Tensor)
        and name.rpartition(".")[2] == _MEMORY_BANK
    ]
    if len(names) != 1:
        raise BankFileError(
            f"holds {len(names)} tensors called memory_bank, expected one; "
            "is it a checkpoint of Anomalib's Patchcore?"
        )
    prefix = names[0].removesuffix(_MEMORY_BANK) + _NETWORK
    network = {
        name.removeprefix(prefix): value
        for name, value in state.items()
        if isinstance(name, str) and name.startswith(prefix) and isinstance(value, Tensor)
    }
    return AnomalibFile(file, kind, state[names[0]], network=network)


def _of_checkpoint(
    file: TorchFile, value: Mapping[Any, Any], state: Mapping[Any, Any]
) -> AnomalibFile:
    found = _of_state(file, "Lightning checkpoint", state)
    given = value.get("hyper_parameters")
    given = given.items if isinstance(given, Inert) else given
    given = given if isinstance(given, Mapping) else {}
    if name_of(value.get("hyper_parameters")) == "DictConfig" or {"dataset", "model"} <= set(given):
        raise BankFileError(_ALBUMENTATIONS)
    _take(found.settings, given)
    if _PRE_PROCESSOR in value:
        config = value[_PRE_PROCESSOR]
        # Others of their own keep other things there.
        transform = config.get("transform") if isinstance(config, Mapping) else None
        if transform is not None and len(config) == 1:
            found.settings |= read_transform(transform)
    elif "transform" in value:
        # Anomalib 1.
        if value["transform"] is None:
            found.defaults["center_crop"] = 224
        else:
            found.settings |= read_transform(value["transform"])
    elif "pre_processor" in given:
        found.settings |= _of_pre_processor(given["pre_processor"], given)
    return found


def _of_pre_processor(value: object, given: Mapping[Any, Any]) -> dict[str, Any]:
    """Return what the pre-processor of Anomalib 2.0 to 2.6 does, where the file says so."""
    if value is True:
        # Its own. Anomalib 2.0 crops to 224, 2.1 and newer do not; 2.3 brought the precision.
        own = {"image_size": 256}
        return {**own, "center_crop": None} if "precision" in given else own
    transform = child_of(value, "transform")
    return {} if transform is None else read_transform(transform)


def _of_module(file: TorchFile, kind: str, root: Inert) -> AnomalibFile:
    patchcore = next((one for one in modules_below(root) if _bank_of(one) is not None), None)
    memory_bank = None if patchcore is None else _bank_of(patchcore)
    if patchcore is None or memory_bank is None:
        raise BankFileError(f"its model ({root.name or 'unknown'}) has no memory bank")
    found = AnomalibFile(file, kind, memory_bank)
    attributes = attributes_of(patchcore)
    if attributes.get("tiler") is not None:
        raise BankFileError("was made with tiling, which patchbank does not do")
    _take(found.settings, attributes_of(root))
    _take(found.settings, attributes)
    pooler = child_of(patchcore, "feature_pooler")
    if pooler is not None and attributes_of(pooler).get("kernel_size", 3) not in (3, (3, 3)):
        raise BankFileError("pools over another neighbourhood than 3 x 3")
    pre_processor, transform = child_of(root, "pre_processor"), child_of(root, "transform")
    if pre_processor is not None:
        found.settings |= _of_pre_processor(pre_processor, {})
    elif transform is not None:
        found.settings |= read_transform(transform)
    extractor = child_of(child_of(patchcore, "feature_extractor"), "feature_extractor")
    if extractor is not None:
        found.network = dict(tensors_below(extractor))
    return found


def _take(settings: dict[str, Any], given: Mapping[Any, Any]) -> None:
    """Take over what Patchcore was made with."""
    backbone, layers = given.get("backbone"), given.get("layers")
    if isinstance(backbone, str):
        settings["backbone"] = backbone
    layers = layers.values if isinstance(layers, Inert) else layers
    if isinstance(layers, list | tuple) and layers and all(type(one) is str for one in layers):
        settings["layers"] = tuple(layers)
    ratio, neighbours = given.get("coreset_sampling_ratio"), given.get("num_neighbors")
    if isinstance(ratio, float | int) and 0.0 < ratio <= 1.0:
        settings["coreset_ratio"] = float(ratio)
    if type(neighbours) is int and neighbours > 0:
        settings["num_neighbors"] = neighbours


def _bank_of(module: Inert) -> Tensor | None:
    buffers = attributes_of(module).get("_buffers")
    found = buffers.get(_MEMORY_BANK) if isinstance(buffers, Mapping) else None
    return found if isinstance(found, Tensor) else None
