"""Take over a PatchCore memory bank that was trained with Anomalib; neither it nor PyTorch is used.

The bank's rows do not say which images they came from, and the file has no threshold that good
images alone gave: the category judges once `patchbank calibrate` was run.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from patchbank.contrib._anomalib_files import AnomalibFile, read_anomalib_file
from patchbank.contrib._anomalib_settings import Setting, known_name, settle
from patchbank.errors import BankFileError, ExtractorMismatchError
from patchbank.inspection.learning.indistinct import why_useless
from patchbank.inspection.settings import DEFAULT_FALSE_ALARM_RATE, FitSettings, parse_layers
from patchbank.inspection.workspace import Workspace
from patchbank.memory.scoring import checked_score_method
from patchbank.store.bank_content import BankContent, CalibrationScores
from patchbank.store.categories import checked_category_name
from patchbank.vision.backbones import get_backbone
from patchbank.vision.extractor import Extractor
from patchbank.vision.extractor_settings import ExtractorSettings

# Neighbours in the re-weighted score, here as in the paper.
_NEIGHBOURS: Final = 9
_OWN_WEIGHTS: Final = "efficientnet-lite"


@dataclass(frozen=True)
class ImportReport:
    """What an import did."""

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
            "settings": [one.to_json() for one in self.settings],
            "remarks": list(self.remarks),
            "calibrated": False,
        }


def import_anomalib_file(
    workspace: Workspace,
    path: Path,
    category: str,
    *,
    backbone: str | None = None,
    layers: str | Sequence[str] | None = None,
    image_size: int | None = None,
    center_crop: int | None = None,
    image_score: str | None = None,
    assume_defaults: bool = False,
    replace: bool = False,
) -> ImportReport:
    """Make an Anomalib file's memory bank the bank of a category.

    Parameters
    ----------
    path
        A ``torch.save``d memory bank, a Lightning checkpoint, or a model exported to torch.
    backbone, layers, image_size, center_crop
        What made the bank, where the file does not say; a `center_crop` of 0 is none.
    image_score
        ``"max"``, ``"top1percent"`` or ``"reweighted"``; by default Anomalib's own.
    assume_defaults
        Whether what neither the file nor an option says is what Anomalib does by default.
    replace
        Whether a category that has a bank gets this one as its next version.

    Raises
    ------
    WeightsError, BankFileError
        If the file is damaged or hostile, or holds no bank, or one that cannot be reproduced.
    ParameterError
        If the file says otherwise than an option, or neither says what made the bank.
    ExtractorMismatchError
        If this installation computes other features than those in the bank.
    CategoryExistsError
        If the category has a bank and it is not to be replaced.
    """
    category = checked_category_name(category)
    found = read_anomalib_file(path, workspace.largest_bank_file)
    features = _features(found)
    given = {
        "backbone": backbone,
        "layers": None if layers is None else parse_layers(layers),
        "image_size": image_size,
        "center_crop": center_crop,
    }
    options = {name: value for name, value in given.items() if value is not None}
    settled = settle(found, options, assume_defaults=assume_defaults)
    settings = {one.name: one for one in settled}
    extractor_settings = _extractor_settings(path, settings, features.shape[1])
    remarks = _remarks(found, settings)
    score = checked_score_method(image_score or _score(settings["num_neighbors"].value, remarks))
    extractor = workspace.extractor(extractor_settings)
    if found.network:
        remarks += _check_network(found, extractor_settings.backbone)
    fit_settings = FitSettings(
        extractor=extractor_settings,
        coreset_ratio=settings["coreset_ratio"].value,
        image_score=score,
        false_alarm_rate=DEFAULT_FALSE_ALARM_RATE,
    )
    bank = _bank(features, extractor, fit_settings)
    if (reason := why_useless(bank, None)) is not None:
        raise BankFileError(f"{path}: its bank cannot judge: {reason}; train it again")
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
        kind=found.kind,
        bank_size=features.shape[0],
        dimension=features.shape[1],
        image_score=score,
        settings=tuple(settings.values()),
        remarks=tuple(remarks),
    )


def import_anomalib(
    file: str | Path,
    category: str,
    *,
    backbone: str | None = None,
    layers: str | Sequence[str] | None = None,
    image_size: int | None = None,
    center_crop: int | None = None,
    image_score: str | None = None,
    assume_defaults: bool = False,
    replace: bool = False,
    home: str | Path | None = None,
    database_url: str | None = None,
) -> ImportReport:
    """Make an Anomalib file's memory bank the bank of a category; see `import_anomalib_file`.

    Open it with `patchbank.open` and call `calibrate` with good images; then it judges.

    Parameters
    ----------
    home, database_url
        As in `patchbank.open`.
    """
    with Workspace(
        home=None if home is None else Path(home), database_url=database_url
    ) as workspace:
        return import_anomalib_file(
            workspace,
            Path(file),
            category,
            backbone=backbone,
            layers=layers,
            image_size=image_size,
            center_crop=center_crop,
            image_score=image_score,
            assume_defaults=assume_defaults,
            replace=replace,
        )


def _features(found: AnomalibFile) -> NDArray[np.float32]:
    tensor, path = found.memory_bank, found.file.path
    if len(tensor.shape) != 2 or 0 in tensor.shape:
        raise BankFileError(
            f"{path}: its memory bank has shape {tensor.shape}, expected (patches, dimensions); "
            "was the model trained?"
        )
    array = found.file.array(tensor)
    if array.dtype.kind != "f":
        raise BankFileError(f"{path}: its memory bank is of {array.dtype}, expected floats")
    # What is too large for float32 becomes infinite.
    with np.errstate(over="ignore"):
        features = np.ascontiguousarray(array, dtype=np.float32)
    if not np.isfinite(features).all():
        raise BankFileError(f"{path}: its memory bank has values that are not finite")
    return features


def _extractor_settings(
    path: Path, settings: Mapping[str, Setting], dimension: int
) -> ExtractorSettings:
    backbone, layers = settings["backbone"], settings["layers"].value
    name = known_name(backbone.value)
    if backbone.source == "file" and name.replace("_", "-").startswith(_OWN_WEIGHTS):
        raise ExtractorMismatchError(
            f"{path}: was made with timm's {backbone.value}, whose weights and normalisation are "
            "others than those of patchbank's network of that name; fit the category again from "
            "its good images"
        )
    image_size, center_crop = settings["image_size"].value, settings["center_crop"].value
    surplus = image_size - (image_size if center_crop is None else center_crop)
    # Torchvision rounds half a pixel to the even number.
    if surplus > 0 and round(surplus / 2) != surplus // 2:
        raise ExtractorMismatchError(
            f"{path}: was made by a crop of {image_size} pixels to {center_crop}, off the centre "
            "by one, which patchbank does not do; fit the category again from its good images"
        )
    made = ExtractorSettings(
        backbone=name,
        layers=layers,
        image_size=image_size,
        center_crop=center_crop,
        # Anomalib resizes images of floats.
        resize_precision="float32",
    )
    if made.layers != tuple(layers):
        raise ExtractorMismatchError(
            f"{path}: was made with the layers {', '.join(layers)} in this order, and patchbank "
            f"joins them in the network's, {', '.join(made.layers)}"
        )
    channels = {one: get_backbone(name).layer(one).channels for one in made.layers}
    if sum(channels.values()) != dimension:
        parts = " + ".join(f"{count} ({one})" for one, count in channels.items())
        raise ExtractorMismatchError(
            f"{path}: its memory bank has {dimension} dimensions, and {name} gives {parts}; "
            "name what made it with --backbone and --layers"
        )
    return made


def _remarks(found: AnomalibFile, settings: Mapping[str, Setting]) -> list[str]:
    remarks = []
    assumed = [one.name for one in settings.values() if one.assumed]
    if assumed:
        remarks.append(
            f"the file does not say {', '.join(assumed)}: Anomalib's defaults are assumed, and "
            "distances are wrong if others made it"
        )
    if not found.network:
        remarks.append(
            "the file does not hold the network's weights: that they are those installed here "
            "could not be checked"
        )
    if known_name(settings["backbone"].value).startswith(_OWN_WEIGHTS):
        remarks.append(
            "this network normalises images as (x - 127) / 128, not by ImageNet's mean and "
            "deviation as Anomalib does: distances are right only if the bank was made so"
        )
    if found.memory_bank.storage.type.name in ("HalfStorage", "BFloat16Storage"):
        remarks.append(
            "the bank was made in half precision: distances differ from Anomalib's by the "
            "rounding of its features"
        )
    return remarks


def _score(num_neighbors: int, remarks: list[str]) -> str:
    """Return the score that Anomalib gives an image."""
    if num_neighbors == 1:
        return "max"
    if num_neighbors != _NEIGHBOURS:
        remarks.append(
            f"Anomalib re-weighted image scores over {num_neighbors} neighbours, patchbank does "
            f"over {_NEIGHBOURS}: image scores differ, patch distances do not"
        )
    return "reweighted"


def _check_network(found: AnomalibFile, backbone: str) -> list[str]:
    """Compare the file's network with the one installed.

    Raises
    ------
    ExtractorMismatchError
        If a weight differs.
    """
    ours = get_backbone(backbone).read_weights()
    common = [name for name in found.network if name in ours and ours[name].ndim > 0]
    if not any(ours[name].ndim == 4 for name in common):
        return [
            "the file's network names its weights otherwise than patchbank: that they are the same "
            "could not be checked"
        ]
    for name in common:
        theirs = found.file.array(found.network[name])
        mine = ours[name].astype(theirs.dtype)
        if theirs.shape != mine.shape or not np.array_equal(theirs, mine):
            raise ExtractorMismatchError(
                f"{found.file.path}: was made with other weights of {backbone} than are installed "
                f"here ({name} differs); install those it was made with"
            )
    return []


def _bank(
    features: NDArray[np.float32], extractor: Extractor, settings: FitSettings
) -> BankContent:
    nowhere = np.full(len(features), -1)
    embedding_dimension = extractor.embedding_dimension
    return BankContent(
        extractor_fingerprint=extractor.fingerprint,
        extractor=extractor.describe(),
        settings=settings.to_json(),
        coreset_ratio=settings.coreset_ratio,
        covering_radius=math.nan,
        features=features,
        patch_image=nowhere,
        patch_row=nowhere.astype(np.int16),
        patch_column=nowhere.astype(np.int16),
        images=[],
        embeddings=np.empty((0, embedding_dimension), np.float32),
        embedding_mean=np.zeros(embedding_dimension, np.float32),
        scores=CalibrationScores.none(),
    )
