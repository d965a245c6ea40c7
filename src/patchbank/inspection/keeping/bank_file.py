"""One file that holds a whole bank: an archive of JSON, safetensors and pictures; no program.

``bank.json`` says what the bank is and gives the SHA-256 of every other part; ``bank.safetensors``
has the numbers, bit for bit; ``thumbnails/`` and, if asked for, ``images/`` the pictures.
"""

from __future__ import annotations

import contextlib
import hashlib
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load, save

from patchbank.errors import BankFileError, ParameterError
from patchbank.files import new_file, open_regular, writing
from patchbank.inspection.judging.judge import likeness_of
from patchbank.inspection.keeping.bank_checks import (
    check_count,
    check_description,
    check_grid,
    check_held_out,
    check_share,
    check_size,
    checked_label,
    checked_radius,
    checked_scores,
    checked_text,
    checked_texture,
    checked_thumbnail,
)
from patchbank.store.bank_content import BankContent, CalibrationScores, ReferenceImage
from patchbank.store.categories import checked_category_name

FORMAT: Final = "patchbank bank"
FORMAT_VERSION: Final = 4
# Without likeness to defects; without groups of images either. Otherwise the same as the fourth.
_WITHOUT_LIKENESS: Final = 3
_WITHOUT_GROUPS: Final = 2

_DOCUMENT: Final = "bank.json"
_NUMBERS: Final = "bank.safetensors"
_MOST_DOCUMENT_BYTES: Final = 256_000_000
_ENCRYPTED: Final = 1
# The same bank gives the same bytes, whenever it is written.
_NO_DATE: Final = (1980, 1, 1, 0, 0, 0)
# Parts that a bank may have or not, by the name of `BankContent`'s field; each is bytes.
_OPTIONAL_PARTS: Final[Mapping[str, str]] = {
    "quantised_graph": "quantised-graph.bin",
    "likeness": "likeness.safetensors",
}
# Parts of the numbers, by what they are in the bank's scores.
_SCORES: Final[Mapping[str, str]] = {
    "score_image": "image",
    "score": "score",
    "map_maximum": "map_maximum",
    "held_out": "held_out",
    "counts": "counts",
    "group": "group",
    "added": "added",
}

_Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Image(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    name: str
    sha256: _Digest
    pixels_sha256: _Digest | None = None
    width: int
    height: int
    label: str
    origin: str | None
    thumbnail: str
    file: str | None = None
    brightness: Annotated[float, Field(ge=0)] | None = None
    sharpness: Annotated[float, Field(ge=0)] | None = None
    texture: str | None = None


class _Document(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    format: Literal["patchbank bank"]
    format_version: Literal[1, 2, 3, 4]
    category: str
    bank_version: Annotated[int, Field(ge=1)]
    extractor_fingerprint: _Digest
    extractor: dict[str, Any]
    settings: dict[str, Any]
    # Of the first format, a sorted list of scores that names no image.
    calibration: dict[str, Any] | None = None
    coreset_ratio: float
    images: list[_Image]
    parts: dict[str, _Digest]


_REMEDY = "give another name or folder"


@dataclass(frozen=True, eq=False)
class BankFile:
    """What a bank's file holds.

    Attributes
    ----------
    category, bank_version
        What the bank was called where it was exported.
    image_files
        The file of each image by its index in the bank's images; empty without images.
    """

    category: str
    bank_version: int
    bank: BankContent
    image_files: Mapping[int, bytes] = field(default_factory=dict)


def check_target(path: Path, *, force: bool = False) -> None:
    """Raise BankFileError unless a bank's file can go there, before any work is done."""
    # A name may be too long to be asked for.
    with writing(path.name, path.parent, BankFileError, _REMEDY):
        if path.is_dir():
            raise BankFileError(f"{path}: is a folder; give a file name")
        if not path.parent.is_dir():
            raise BankFileError(f"{path}: there is no folder {path.parent}; create it first")
        if path.exists() and not force:
            raise BankFileError(f"{path}: already exists; give another name, or use --force")


def write_bank_file(path: Path, content: BankFile, *, force: bool = False) -> int:
    """Write a bank's file, whole or not at all; return its size in bytes.

    Raises
    ------
    BankFileError
        If the file exists and `force` is false, or the file cannot be written.
    """
    check_target(path, force=force)
    with writing(path.name, path.parent, BankFileError, _REMEDY), new_file(path) as draft:
        with zipfile.ZipFile(draft, "w", zipfile.ZIP_STORED) as archive:
            _write(archive, content)
        return draft.stat().st_size


def read_bank_file(path: Path, limit: int, *, with_images: bool = False) -> BankFile:
    """Read a bank's file of at most `limit` bytes; every part is checked against its digest.

    Raises
    ------
    BankFileError
        If the file is not a bank's file, is damaged, or was written by a newer patchbank.
    """
    try:
        with open_regular(path, limit) as file, _damage(path), zipfile.ZipFile(file) as archive:
            return _read(archive, path, with_images=with_images)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BankFileError(f"{path}: cannot be read: {reason}") from error


def _write(archive: zipfile.ZipFile, content: BankFile) -> None:
    bank, parts, images = content.bank, {}, []

    def add(name: str, data: bytes) -> str:
        archive.writestr(zipfile.ZipInfo(name, _NO_DATE), data)
        parts[name] = hashlib.sha256(data).hexdigest()
        return name

    add(_NUMBERS, save(_numbers(bank)))
    for attribute, name in _OPTIONAL_PARTS.items():
        if (part := getattr(bank, attribute)) is not None:
            add(name, part)
    for index, image in enumerate(bank.images):
        file = content.image_files.get(index)
        images.append(
            _Image(
                name=image.name,
                sha256=image.sha256,
                pixels_sha256=image.pixels_sha256,
                width=image.width,
                height=image.height,
                label=image.label,
                origin=image.origin,
                thumbnail=add(f"thumbnails/{index:06}.jpg", image.thumbnail),
                file=None if file is None else add(f"images/{index:06}", file),
                brightness=image.brightness,
                sharpness=image.sharpness,
                texture=add(f"textures/{index:06}", image.texture) if image.texture else None,
            )
        )
    document = _Document(
        format=FORMAT,
        format_version=_version_of(bank),
        category=content.category,
        bank_version=content.bank_version,
        extractor_fingerprint=bank.extractor_fingerprint,
        extractor=bank.extractor,
        settings=_without_rule(bank.settings),
        coreset_ratio=bank.coreset_ratio,
        images=images,
        parts=parts,
    )
    archive.writestr(zipfile.ZipInfo(_DOCUMENT, _NO_DATE), document.model_dump_json(indent=1))


def _version_of(bank: BankContent) -> Literal[2, 3, 4]:
    """Return the least format that can hold a bank, which older versions of patchbank read."""
    if bank.likeness is not None:
        return FORMAT_VERSION
    return _WITHOUT_LIKENESS if (bank.scores.group >= 0).any() else _WITHOUT_GROUPS


def _numbers(bank: BankContent) -> dict[str, NDArray[Any]]:
    return {
        "features": bank.features,
        "patch_image": bank.patch_image,
        "patch_row": bank.patch_row,
        "patch_column": bank.patch_column,
        "embeddings": bank.embeddings,
        "embedding_mean": bank.embedding_mean,
        # Both may be NaN, for which JSON has no word.
        **{
            name: getattr(bank.scores, field)
            for name, field in _SCORES.items()
            if (field != "group" or (bank.scores.group >= 0).any())
            and (field != "added" or bank.likeness is not None)
        },
        "covering_radius": np.array([bank.covering_radius]),
    }


def _read(archive: zipfile.ZipFile, path: Path, *, with_images: bool) -> BankFile:
    entries = {entry.filename: entry for entry in archive.infolist()}
    if _DOCUMENT not in entries:
        raise BankFileError(f"{path}: is not a bank file; give a file written by patchbank export")
    # We write without compression; anything else could unpack to any size.
    if any(
        entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & _ENCRYPTED
        for entry in entries.values()
    ):
        raise BankFileError(
            f"{path}: is compressed or encrypted, which patchbank export never does"
        )
    if sum(entry.file_size for entry in entries.values()) > path.stat().st_size:
        raise BankFileError(f"{path}: is damaged (its parts claim more than its size)")
    if entries[_DOCUMENT].file_size > _MOST_DOCUMENT_BYTES:
        raise BankFileError(f"{path}: is damaged (its {_DOCUMENT} is too large)")
    document = _document(path, archive.read(_DOCUMENT))
    read = set()

    def part(name: str) -> bytes:
        # One part under many names would take memory without end.
        if name in read:
            raise BankFileError(f"{path}: is damaged (its part {name!r} is named twice)")
        read.add(name)
        if name not in entries or name not in document.parts:
            raise BankFileError(f"{path}: is damaged (its part {name!r} is missing); export again")
        data = archive.read(name)
        if hashlib.sha256(data).hexdigest() != document.parts[name]:
            raise BankFileError(f"{path}: is damaged (its part {name!r} differs); export again")
        return data

    _check(document)
    numbers = load(part(_NUMBERS))
    radius = numbers.pop("covering_radius")
    if document.format_version != 1:
        numbers.setdefault("group", np.full(len(numbers["score"]), -1))
        numbers.setdefault("added", np.zeros(len(numbers["score"])))
    scores = checked_scores(
        _scores_of_format_1(numbers.pop("scores"), document)
        if document.format_version == 1
        else CalibrationScores(*(numbers.pop(name) for name in _SCORES))
    )
    optional: dict[str, Any] = {
        attribute: part(name) for attribute, name in _OPTIONAL_PARTS.items() if name in entries
    }
    bank = BankContent(
        **{**numbers, **optional},
        extractor_fingerprint=document.extractor_fingerprint,
        extractor=document.extractor,
        settings=_without_rule(document.settings),
        scores=scores,
        coreset_ratio=document.coreset_ratio,
        covering_radius=checked_radius(radius),
        images=[
            ReferenceImage(
                name=image.name,
                sha256=image.sha256,
                pixels_sha256=image.pixels_sha256,
                width=image.width,
                height=image.height,
                thumbnail=checked_thumbnail(part(image.thumbnail)),
                label=checked_label(image.label),
                origin=image.origin,
                brightness=image.brightness,
                sharpness=image.sharpness,
                texture=b"" if image.texture is None else checked_texture(part(image.texture)),
            )
            for image in document.images
        ],
    )
    bank.check()
    likeness_of(bank)
    files = {}
    if with_images:
        for index, image in enumerate(document.images):
            if image.file is None:
                raise BankFileError(
                    f"{path}: contains no images; export it again with --with-images"
                )
            files[index] = part(image.file)
    return BankFile(document.category, document.bank_version, bank, files)


def _without_rule(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings without the rule of groups: it is one for names on the machine of the fit.

    A pattern from a file of others is not searched for in names: it may take for ever.
    """
    return {name: value for name, value in settings.items() if name != "group_by"}


def _scores_of_format_1(scores: NDArray[Any], document: _Document) -> CalibrationScores:
    """Return the scores of a file of the first format, whose calibration names no image."""
    calibration = document.calibration or {"scores": [], "map_maxima": []}
    if (
        calibration.get("score_method", document.settings["image_score"])
        != (document.settings["image_score"])
    ):
        raise ValueError(
            f"its calibration uses scores by {calibration['score_method']}, but it judges by "
            f"{document.settings['image_score']}"
        )
    if scores.shape != (len(document.images),):
        raise ValueError(f"it has {len(scores)} scores of {len(document.images)} images")
    # Not a number where a streamed fit did not draw the image.
    known = np.flatnonzero(~np.isnan(scores))
    learned = len(scores) - int(calibration.get("held_out", 0))
    nowhere = np.full(len(known), np.nan)
    counted = len(calibration["scores"])
    return CalibrationScores(
        known,
        scores[known].astype(np.float64),
        nowhere,
        known >= learned,
        np.zeros(len(known), np.bool_),
        np.full(len(known), -1),
        np.zeros(len(known)),
    ).with_more(
        CalibrationScores.of_images(
            np.full(counted, -1), calibration["scores"], calibration["map_maxima"]
        )
    )


def _check(document: _Document) -> None:
    """Raise ValueError for what digests cannot tell: values that make no sense."""
    checked_category_name(document.category)
    check_share("coreset_ratio", document.coreset_ratio)
    for name in ("extractor", "settings", "calibration"):
        check_description(name, getattr(document, name))
    check_grid(document.extractor.get("grid"))
    check_held_out(document.calibration, len(document.images))
    for image in document.images:
        check_size(image.width, image.height)
        checked_text("a name", image.name)
        checked_text("an origin", image.origin or "")


def _document(path: Path, text: bytes) -> _Document:
    check_count(text)
    try:
        return _Document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        if where in ("format_version", "format"):
            raise BankFileError(
                f"{path}: its {where} is {first['input']!r}, not {first['ctx']['expected']}; "
                "upgrade patchbank"
            ) from error
        raise BankFileError(
            f"{path}: is damaged or was written by a newer patchbank ({where or 'its description'} "
            "is not as expected); export again, or upgrade patchbank"
        ) from error


@contextlib.contextmanager
def _damage(path: Path) -> Iterator[None]:
    """Turn what damage makes the readers raise into one line that names the file."""
    try:
        yield
    except zipfile.BadZipFile as error:
        raise BankFileError(
            f"{path}: is not a bank file, or is damaged ({error}); give a file written by "
            f"patchbank export"
        ) from error
    except (SafetensorError, ParameterError, LookupError, TypeError, ValueError, EOFError,
            NotImplementedError) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BankFileError(f"{path}: is damaged ({reason}); export again") from error
