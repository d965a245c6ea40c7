"""The preprocessing in an Anomalib file: its torchvision transforms.

They are stored as modules or, since Anomalib 2.7, as plain data: ``class_path`` and ``init_args``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np

from patchbank.contrib._anomalib_modules import attributes_of, children_of, name_of
from patchbank.errors import BankFileError
from patchbank.torch_files.reader import Inert

_IMAGENET_MEAN: Final = (0.485, 0.456, 0.406)
_IMAGENET_STD: Final = (0.229, 0.224, 0.225)
# Transforms without effect here.
_HARMLESS: Final = frozenset(["Identity", "ToImage", "PILToTensor", "ToTensor"])
_CROPS: Final = frozenset(["CenterCrop", "ExportableCenterCrop"])
# The name, and Pillow's number.
_BILINEAR: Final = ("bilinear", 2)


class _Step(NamedTuple):
    """A transform: the name of its class, and its attributes."""

    name: str
    attributes: Mapping[Any, Any]


def read_transform(transform: object) -> dict[str, Any]:
    """Return the image size and crop of a transform.

    Raises
    ------
    BankFileError
        If patchbank does not support it.
    """
    size, crop, normalised = None, None, False
    for name, attributes in _steps(transform):
        if name == "Resize" and size is None and not normalised:
            size = _square("resizes", attributes.get("size"))
            # For tensors, None means no antialiasing as well.
            if attributes.get("antialias", True) is not True:
                raise BankFileError(
                    "resizes without antialiasing, which patchbank does not support"
                )
            if not _is_bilinear(attributes.get("interpolation", "bilinear")):
                raise BankFileError(
                    "resizes other than bilinearly, which patchbank does not support"
                )
        elif name in _CROPS and size is not None and crop is None:
            crop = _square("crops", attributes.get("size"))
            if crop > size:
                raise BankFileError(f"crops {size} pixels to {crop}, which adds a border")
        elif name == "Normalize" and not normalised:
            normalised = _is_imagenet(attributes)
        elif name not in _HARMLESS and not _keeps_floats(name, attributes):
            raise BankFileError(
                f"preprocesses images with {name or 'an unknown step'} at this point, which "
                "patchbank does not support"
            )
    if size is None or not normalised:
        raise BankFileError("does not resize images and normalise them like ImageNet's")
    return {"image_size": size, "center_crop": None if crop == size else crop}


def _steps(transform: object) -> list[_Step]:
    if isinstance(transform, Mapping):
        return _steps_of_data(transform)
    modules = (
        attributes_of(transform).get("transforms") if name_of(transform) == "Compose" else None
    )
    if modules is None:
        modules = list(children_of(transform).values()) or [transform]
    if not isinstance(modules, list) or not all(isinstance(step, Inert) for step in modules):
        raise _unknown()
    return [_Step(step.name, attributes_of(step)) for step in modules]


def _steps_of_data(transform: Mapping[Any, Any]) -> list[_Step]:
    step = _step_of_data(transform)
    if step.name != "Compose":
        return [step]
    transforms = step.attributes.get("transforms")
    if not isinstance(transforms, list):
        raise _unknown()
    return [_step_of_data(data) for data in transforms]


def _step_of_data(data: object) -> _Step:
    if isinstance(data, Mapping):
        path, arguments = data.get("class_path"), data.get("init_args")
        if isinstance(path, str) and isinstance(arguments, Mapping):
            return _Step(path.rpartition(".")[2], arguments)
    raise _unknown()


def _unknown() -> BankFileError:
    return BankFileError("preprocesses images with an unknown step")


def _is_bilinear(interpolation: object) -> bool:
    if isinstance(interpolation, Inert):
        return interpolation.arguments[:1] == ("bilinear",)
    return type(interpolation) in (str, int) and interpolation in _BILINEAR


def _keeps_floats(name: str, attributes: Mapping[Any, Any]) -> bool:
    """Return whether a step converts to float32, the type that images already have."""
    return name == "ToDtype" and getattr(attributes.get("dtype"), "name", "") in (
        "float32",
        "float",
    )


def _square(operation: str, size: object) -> int:
    if isinstance(size, list | tuple) and len(size) == 2 and size[0] == size[1]:
        (side, _) = size
        if type(side) is int and side > 0:
            return side
    raise BankFileError(f"{operation} to {size}, but patchbank supports squares only")


def _is_imagenet(attributes: Mapping[Any, Any]) -> bool:
    for name, expected in (("mean", _IMAGENET_MEAN), ("std", _IMAGENET_STD)):
        values = attributes.get(name)
        if (
            not isinstance(values, list | tuple)
            or len(values) != 3
            or not all(type(value) is float for value in values)
            or not np.allclose(values, expected, rtol=1e-6, atol=0.0)
        ):
            raise BankFileError(f"normalises images with a {name} other than ImageNet's")
    return True
