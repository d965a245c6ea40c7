"""What an Anomalib file holds: its memory bank, and the settings that made it.

Read off Anomalib 0.7 to 2.x: ``models/image/patchcore``, ``pre_processing`` and ``deploy/export``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from patchbank.errors import BankFileError
from patchbank.vision.backbones.torch_files import Inert, Tensor, TorchFile, read_torch_file

_MEMORY_BANK: Final = "memory_bank"
_NETWORK: Final = "feature_extractor.feature_extractor."
_MOST_MODULES: Final = 100_000
_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
# Of torchvision's transforms, those that change nothing that is not changed here as well.
_HARMLESS: Final = frozenset(["Identity", "ToDtype", "ToImage", "PILToTensor", "ToTensor"])
_CROPS: Final = frozenset(["CenterCrop", "ExportableCenterCrop"])


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
    network
        The weights of the backbone under timm's names, where the file holds them.
    """

    file: TorchFile
    kind: str
    memory_bank: Tensor
    settings: dict[str, Any] = field(default_factory=dict)
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
        model = value.get("model")
        if isinstance(model, Inert):
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
    _take(found.settings, given)
    if "transform" in value:
        # Anomalib 1: resized to 256 and cropped to 224 unless told otherwise.
        default = {"image_size": 256, "center_crop": 224}
        transform = value["transform"]
        found.settings |= default if transform is None else _preprocessing(transform)
    elif "pre_processor" in given:
        found.settings |= _of_pre_processor(given["pre_processor"])
    return found


def _of_pre_processor(value: object) -> dict[str, Any]:
    """Return what Anomalib 2's pre-processor does: its own, or by default resizing to 256."""
    if value is True:
        return {"image_size": 256, "center_crop": None}
    transform = _child(value, "transform")
    return {} if transform is None else _preprocessing(transform)


def _of_module(file: TorchFile, kind: str, root: Inert) -> AnomalibFile:
    patchcore = next((one for one in _modules(root) if _bank_of(one) is not None), None)
    memory_bank = None if patchcore is None else _bank_of(patchcore)
    if patchcore is None or memory_bank is None:
        raise BankFileError(f"its model ({root.name or 'unknown'}) has no memory bank")
    found = AnomalibFile(file, kind, memory_bank)
    attributes = _attributes(patchcore)
    if attributes.get("tiler") is not None:
        raise BankFileError("was made with tiling, which patchbank does not do")
    _take(found.settings, _attributes(root))
    _take(found.settings, attributes)
    pooler = _child(patchcore, "feature_pooler")
    if pooler is not None and _attributes(pooler).get("kernel_size", 3) not in (3, (3, 3)):
        raise BankFileError("pools over another neighbourhood than 3 x 3")
    pre_processor, transform = _child(root, "pre_processor"), _child(root, "transform")
    if pre_processor is not None:
        found.settings |= _of_pre_processor(pre_processor)
    elif transform is not None:
        found.settings |= _preprocessing(transform)
    extractor = _child(_child(patchcore, "feature_extractor"), "feature_extractor")
    if extractor is not None:
        found.network = dict(_tensors(extractor))
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


def _preprocessing(transform: object) -> dict[str, Any]:
    """Return image size and crop of a transform of torchvision.

    Raises
    ------
    BankFileError
        It does what patchbank does not.
    """
    size, crop, normalised = None, None, False
    for one in _steps(transform):
        attributes = _attributes(one)
        if one.name == "Resize" and crop is None and not normalised:
            size = _square("resize", attributes.get("size"))
            if attributes.get("antialias", True) is False:
                raise BankFileError("resizes without antialiasing, which patchbank does not do")
            how = attributes.get("interpolation")
            if isinstance(how, Inert) and how.arguments[:1] != ("bilinear",):
                raise BankFileError("does not resize bilinearly, as patchbank does")
        elif one.name in _CROPS and size is not None:
            crop = _square("crop", attributes.get("size"))
            surplus = size - crop
            if surplus < 0 or round(surplus / 2) != surplus // 2:
                raise BankFileError(f"crops {size} pixels to {crop}, off the centre by one")
        elif one.name == "Normalize":
            normalised = _is_imagenet(attributes)
        elif one.name not in _HARMLESS:
            raise BankFileError(
                f"preprocesses images with {one.name or 'something unknown'}, which patchbank "
                "does not do there"
            )
    if size is None or not normalised:
        raise BankFileError("does not resize images and normalise them as ImageNet's")
    return {"image_size": size, "center_crop": crop}


def _steps(transform: object) -> list[Inert]:
    steps = _attributes(transform).get("transforms") if _name(transform) == "Compose" else None
    if steps is None:
        steps = list(_children(transform).values()) or [transform]
    if not isinstance(steps, list) or not all(isinstance(one, Inert) for one in steps):
        raise BankFileError("preprocesses images with something unknown")
    return steps


def _square(what: str, size: object) -> int:
    if isinstance(size, list | tuple) and len(size) == 2 and size[0] == size[1]:
        (side, _) = size
        if type(side) is int and side > 0:
            return side
    raise BankFileError(f"its {what} is {size}, and patchbank's are to squares only")


def _is_imagenet(attributes: Mapping[Any, Any]) -> bool:
    for name, expected in (("mean", _IMAGENET_MEAN), ("std", _IMAGENET_STD)):
        values = attributes.get(name)
        if (
            not isinstance(values, list | tuple)
            or len(values) != 3
            or not all(type(one) is float for one in values)
            or not np.allclose(values, expected, atol=1e-4)
        ):
            raise BankFileError(f"normalises images with another {name} than ImageNet's")
    return True


def _name(value: object) -> str:
    return value.name if isinstance(value, Inert) else ""


def _attributes(value: object) -> Mapping[Any, Any]:
    state = value.state if isinstance(value, Inert) else None
    return state if isinstance(state, Mapping) else {}


def _children(value: object) -> Mapping[Any, Any]:
    """Return the modules of a module."""
    modules = _attributes(value).get("_modules")
    return modules if isinstance(modules, Mapping) else {}


def _child(value: object, name: str) -> Inert | None:
    child = _children(value).get(name, _attributes(value).get(name))
    return child if isinstance(child, Inert) else None


def _bank_of(module: Inert) -> Tensor | None:
    buffers = _attributes(module).get("_buffers")
    found = buffers.get(_MEMORY_BANK) if isinstance(buffers, Mapping) else None
    return found if isinstance(found, Tensor) else None


def _modules(root: Inert) -> Iterator[Inert]:
    """Yield a module and all below it, each once: a file may make them go round in circles."""
    waiting, seen = deque([root]), {id(root)}
    while waiting:
        module = waiting.popleft()
        yield module
        for child in _children(module).values():
            if isinstance(child, Inert) and id(child) not in seen and len(seen) < _MOST_MODULES:
                seen.add(id(child))
                waiting.append(child)


def _tensors(root: Inert) -> Iterator[tuple[str, Tensor]]:
    """Yield what a module's state dictionary would hold."""
    waiting, seen = deque([("", root)]), {id(root)}
    while waiting:
        prefix, module = waiting.popleft()
        for kind in ("_parameters", "_buffers"):
            held = _attributes(module).get(kind)
            for name, value in held.items() if isinstance(held, Mapping) else ():
                if isinstance(value, Tensor):
                    yield f"{prefix}{name}", value
        for name, child in _children(module).items():
            if isinstance(child, Inert) and id(child) not in seen and len(seen) < _MOST_MODULES:
                seen.add(id(child))
                waiting.append((f"{prefix}{name}.", child))
