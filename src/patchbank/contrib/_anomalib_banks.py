"""Banks from what Anomalib trained: what is checked, and the bank that is stored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchbank.contrib._anomalib_files import AnomalibFile
from patchbank.contrib._anomalib_settings import Setting, architecture, resolve_settings
from patchbank.errors import BankFileError, ExtractorMismatchError, ParameterError
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.settings import DEFAULT_FALSE_ALARM_RATE, FitSettings, parse_layers
from patchbank.inspection.workspace import Workspace
from patchbank.memory.scoring import checked_score_method
from patchbank.printable import counted
from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.vision.backbones import get_backbone
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.regions import Regions

# Neighbours in the re-weighted score, as in the paper.
_NEIGHBOURS: Final = 9
_OWN_WEIGHTS: Final = "efficientnet-lite"


@dataclass(frozen=True)
class ImportReport:
    """The result of an import."""

    category: str
    bank_version: int
    file: str
    kind: str
    bank_size: int
    dimension: int
    image_score: str
    settings: tuple[Setting, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the command prints."""
        return {
            "category": self.category,
            "bank_version": self.bank_version,
            "file": self.file,
            "kind": self.kind,
            "bank_size": self.bank_size,
            "dimension": self.dimension,
            "image_score": self.image_score,
            "settings": [setting.to_json() for setting in self.settings],
            "remarks": list(self.remarks),
            "calibrated": False,
        }


@dataclass(frozen=True, eq=False)
class CheckedModel:
    """A model whose settings and network are those of this installation."""

    found: AnomalibFile
    settings: Mapping[str, Setting]
    fit_settings: FitSettings
    remarks: tuple[str, ...]

    def save(
        self,
        workspace: Workspace,
        category: str,
        features: NDArray[np.float32],
        *,
        replace: bool,
    ) -> ImportReport:
        """Save its memory bank as the bank of a category."""
        path = self.found.file.path
        # Not before a training in this process: the coreset of Anomalib then took more memory.
        extractor = workspace.extractor(self.fit_settings.extractor)
        bank = _bank(features, extractor, self.fit_settings)
        if (reason := why_useless(bank, None)) is not None:
            raise BankFileError(f"{path}: its bank cannot judge images: {reason}; train it again")
        version = workspace.database.banks.save(
            category,
            bank,
            cause="import-anomalib",
            only_new=not replace,
        )
        return ImportReport(
            category=category,
            bank_version=version,
            file=str(path),
            kind=self.found.kind,
            bank_size=features.shape[0],
            dimension=features.shape[1],
            image_score=self.fit_settings.image_score,
            settings=tuple(self.settings.values()),
            remarks=self.remarks,
        )


def checked_model(
    workspace: Workspace,
    found: AnomalibFile,
    dimension: int | None,
    *,
    backbone: str | None = None,
    layers: str | Sequence[str] | None = None,
    image_size: int | None = None,
    center_crop: int | None = None,
    image_score: str | None = None,
    assume_defaults: bool = False,
    regions: Regions | None = None,
) -> CheckedModel:
    """Check that this installation computes a model's features; see `import_anomalib_file`.

    A `dimension` of None is one that is not known yet, since the model has not been trained.
    """
    named = {
        "backbone": backbone,
        "layers": None if layers is None else parse_layers(layers),
        "image_size": image_size,
        "center_crop": center_crop,
    }
    options = {name: value for name, value in named.items() if value is not None}
    resolved = resolve_settings(found, options, assume_defaults=assume_defaults)
    settings = {setting.name: setting for setting in resolved}
    extractor_settings = _extractor_settings(found.file.path, settings, dimension)
    if regions is not None:
        extractor_settings = replace(extractor_settings, regions=_checked_regions(regions))
    remarks = _remarks(found, settings)
    score = checked_score_method(image_score or _score(settings["num_neighbors"].value, remarks))
    if found.network:
        remarks += _check_network(found, extractor_settings.backbone)
    fit_settings = FitSettings(
        extractor=extractor_settings,
        coreset_ratio=settings["coreset_ratio"].value,
        image_score=score,
        false_alarm_rate=DEFAULT_FALSE_ALARM_RATE,
    )
    return CheckedModel(found, settings, fit_settings, tuple(remarks))


def _checked_regions(regions: Regions) -> Regions:
    if not regions.boxes_in_pixels:
        # Its patches were learned without: painted over, those beside the region would stand out.
        return replace(regions, filled=False)
    raise ParameterError(
        f"box {regions.boxes_in_pixels[0]}: a bank of Anomalib does not say what size its images "
        "have; give the box in per cent, such as 10%,20%,30%,5%"
    )


def memory_bank_of(found: AnomalibFile) -> NDArray[np.float32]:
    """Return the rows of its memory bank, checked."""
    tensor, path = found.memory_bank, found.file.path
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise BankFileError(
            f"{path}: its memory bank has shape {tensor.shape}, expected (patches, dimensions); "
            "was the model trained?"
        )
    array = found.file.array(tensor)
    if array.dtype.kind != "f":
        raise BankFileError(f"{path}: its memory bank has type {array.dtype}, expected floats")
    # Values too large for float32 become infinite, and are refused below.
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(features).all():
        raise BankFileError(f"{path}: its memory bank has values that are not finite")
    return features


def _extractor_settings(
    path: Path, settings: Mapping[str, Setting], dimension: int | None
) -> ExtractorSettings:
    backbone, layers = settings["backbone"], settings["layers"].value
    name = architecture(backbone.value)
    if backbone.source == "file" and name.replace("_", "-").startswith(_OWN_WEIGHTS):
        raise ExtractorMismatchError(
            f"{path}: was made with timm's {backbone.value}, whose weights and normalisation "
            "differ from patchbank's network of that name; fit the category again from images of "
            "good parts"
        )
    image_size, center_crop = settings["image_size"].value, settings["center_crop"].value
    surplus = image_size - (image_size if center_crop is None else center_crop)
    # Torchvision rounds half a pixel to the even number.
    if surplus > 0 and round(surplus / 2) != surplus // 2:
        raise ExtractorMismatchError(
            f"{path}: was made with a crop of {image_size} pixels to {center_crop}, one pixel off "
            "the centre, which patchbank does not support; fit the category again from images of "
            "good parts"
        )
    made_with = ExtractorSettings(
        backbone=name,
        layers=layers,
        image_size=image_size,
        center_crop=center_crop,
        # Anomalib resizes images as floats.
        resize_precision="float32",
    )
    if made_with.layers != tuple(layers):
        raise ExtractorMismatchError(
            f"{path}: was made with the layers {', '.join(layers)} in this order, but patchbank "
            f"joins them in the network's order, {', '.join(made_with.layers)}"
        )
    channels = {layer: get_backbone(name).layer(layer).channels for layer in made_with.layers}
    if dimension is not None and sum(channels.values()) != dimension:
        parts = " + ".join(f"{count} ({layer})" for layer, count in channels.items())
        raise ExtractorMismatchError(
            f"{path}: its memory bank has {dimension} dimensions, but {name} gives {parts}; "
            "give what it was made with: --backbone and --layers"
        )
    return made_with


def _remarks(found: AnomalibFile, settings: Mapping[str, Setting]) -> list[str]:
    remarks = []
    assumed = [setting.name for setting in settings.values() if setting.assumed]
    if assumed:
        remarks.append(
            f"the file does not say {', '.join(assumed)}: Anomalib's defaults are assumed, and "
            "distances are wrong if the bank was made with other values"
        )
    if not found.network:
        remarks.append(
            "the file does not contain the network's weights: whether they are those installed "
            "here could not be checked"
        )
    if architecture(settings["backbone"].value).startswith(_OWN_WEIGHTS):
        remarks.append(
            "this network normalises images as (x - 127) / 128, not with ImageNet's mean and "
            "deviation as Anomalib does: distances are right only if the bank was made that way"
        )
    if found.memory_bank.storage.type.name in ("HalfStorage", "BFloat16Storage"):
        remarks.append(
            "the bank was made in half precision: distances differ from Anomalib's because its "
            "features are rounded"
        )
    return remarks


def _score(num_neighbors: int, remarks: list[str]) -> str:
    """Return the name of the score that Anomalib gives an image; add a remark where it differs."""
    if num_neighbors == 1:
        return "max"
    if num_neighbors != _NEIGHBOURS:
        remarks.append(
            f"Anomalib re-weights image scores over {counted(num_neighbors, 'neighbour')}, "
            f"patchbank over {_NEIGHBOURS}: image scores differ, patch distances do not"
        )
    return "reweighted"


def _check_network(found: AnomalibFile, backbone: str) -> list[str]:
    """Refuse a network whose weights differ from the installed ones; return remarks."""
    ours = get_backbone(backbone).read_weights()
    common = [name for name in found.network if name in ours and ours[name].ndim > 0]
    if not any(ours[name].ndim == 4 for name in common):
        return [
            "the weights in the file have names that patchbank does not know: whether they are "
            "those installed here could not be checked"
        ]
    for name in common:
        theirs = found.file.array(found.network[name])
        mine = ours[name].astype(theirs.dtype)
        if theirs.shape != mine.shape or not np.array_equal(theirs, mine):
            raise ExtractorMismatchError(
                f"{found.file.path}: was made with other weights of {backbone} than those "
                f"installed here ({name} differs); install the ones it was made with"
            )
    return []


def _bank(
    features: NDArray[np.float32], extractor: Extractor, settings: FitSettings
) -> BankContent:
    unknown = np.full(len(features), -1)
    embedding_dimension = extractor.embedding_dimension
    return BankContent(
        extractor_fingerprint=extractor.fingerprint,
        extractor=extractor.describe(),
        settings=settings.to_json(),
        coreset_ratio=settings.coreset_ratio,
        covering_radius=math.nan,
        features=features,
        patch_image=unknown,
        patch_row=unknown.astype(np.int16),
        patch_column=unknown.astype(np.int16),
        images=[],
        embeddings=np.empty((0, embedding_dimension), np.float32),
        embedding_mean=np.zeros(embedding_dimension, np.float32),
        scores=CalibrationScores.none(),
    )
