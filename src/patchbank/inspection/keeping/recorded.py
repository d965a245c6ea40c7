"""A recorded inspection, as it is given to users."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from patchbank.store.inspections import InspectionRecord


@dataclass(frozen=True)
class RecordedInspection:
    """An inspection as the database has it.

    Attributes
    ----------
    inspection_id
        Its number, unique in the database.
    inspected_at
        When it was recorded, in the local time zone.
    image, sha256
        Name of the image, and the SHA-256 of its content in hexadecimal.
    verdict, score, pass_below, fail_above, p_value
        The verdict and its basis; there is no p-value in records of the first versions.
    regions, similar
        As in the JSON of `patchbank inspect`.
    bank_version
        The version of the bank that judged.
    timings_ms
        Milliseconds that each stage took, until it was recorded.
    extractor_fingerprint, extractor
        Of the version that judged; of the extractor ``backbone``, ``layers``, ``image_size``,
        ``center_crop``, ``scale``, ``precision``, and all of these ``in_words``.
    part, station
        The inspected part and where it was inspected; None if not given.
    review
        What a person answered: ``answer``, ``label``, ``actor`` and ``reviewed_at``; None without.
    image_kept
        Whether the database has the image too.
    brightness, sharpness
        Of the inspected part of the image.
    share_outside
        The share of patches farther from the bank than its covering radius.
    width, height
        Of the image, in pixels. This and the following are None, or empty, in inspections recorded
        before patchbank kept them.
    calibration_images, independent_references
        How many images of good parts the p-value compares with, and how many are independent.
    likeness, similar_defects, probable_defect, remarks
        As in the JSON of `patchbank inspect`.
    actor
        On whose behalf it was judged: the user's account, or the name of a key of the service.
    """

    inspection_id: int
    inspected_at: datetime
    category: str
    image: str
    sha256: str
    verdict: str
    score: float
    pass_below: float
    fail_above: float
    p_value: float | None
    regions: tuple[dict[str, Any], ...]
    similar: tuple[dict[str, Any], ...]
    bank_version: int
    timings_ms: dict[str, float]
    extractor_fingerprint: str
    extractor: dict[str, Any]
    part: str | None = None
    station: str | None = None
    review: dict[str, Any] | None = None
    image_kept: bool = False
    brightness: float | None = None
    sharpness: float | None = None
    share_outside: float | None = None
    width: int | None = None
    height: int | None = None
    calibration_images: int | None = None
    independent_references: int | None = None
    likeness: dict[str, Any] | None = None
    similar_defects: tuple[dict[str, Any], ...] = ()
    probable_defect: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    actor: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object that the command prints."""
        return {
            "inspection_id": self.inspection_id,
            "inspected_at": self.inspected_at.isoformat(),
            "image": self.image,
            "category": self.category,
            "verdict": self.verdict,
            "score": self.score,
            "likeness": self.likeness,
            "pass_below": self.pass_below,
            "fail_above": self.fail_above,
            "p_value": self.p_value,
            "calibration_images": self.calibration_images,
            "independent_references": self.independent_references,
            "regions": list(self.regions),
            "similar": list(self.similar),
            "similar_defects": list(self.similar_defects),
            "probable_defect": self.probable_defect,
            "bank_version": self.bank_version,
            "extractor_fingerprint": self.extractor_fingerprint,
            "extractor": self.extractor,
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "brightness": self.brightness,
            "sharpness": self.sharpness,
            "share_outside": self.share_outside,
            "part": self.part,
            "station": self.station,
            "actor": self.actor,
            "remarks": list(self.remarks),
            "review": self.review,
            "image_kept": self.image_kept,
            "timings_ms": {name: round(value, 3) for name, value in self.timings_ms.items()},
        }


def recorded(category: str, record: InspectionRecord) -> RecordedInspection:
    """Return a row of the database as it is given to users."""
    assert record.inspection_id is not None
    assert record.inspected_at is not None
    # The database gives the extractor of the bank with every inspection.
    assert record.extractor is not None
    extractor = {**record.extractor, "in_words": _extractor_in_words(record.extractor)}
    return RecordedInspection(
        inspection_id=record.inspection_id,
        inspected_at=record.inspected_at.astimezone(),
        category=category,
        image=record.image_name,
        sha256=record.sha256,
        verdict=record.verdict,
        score=record.score,
        pass_below=record.pass_below,
        fail_above=record.fail_above,
        p_value=record.p_value,
        regions=tuple(record.regions),
        similar=tuple(record.similar),
        bank_version=record.bank_version,
        timings_ms=record.timings_ms,
        part=record.part,
        station=record.station,
        review=record.review,
        image_kept=record.image_kept,
        extractor_fingerprint=extractor.pop("fingerprint"),
        extractor=extractor,
        brightness=record.brightness,
        sharpness=record.sharpness,
        share_outside=record.share_outside,
        width=record.width,
        height=record.height,
        calibration_images=record.calibration_images,
        independent_references=record.independent_references,
        likeness=record.likeness,
        similar_defects=tuple(record.similar_defects),
        probable_defect=record.probable_defect,
        remarks=tuple(record.remarks),
        actor=record.actor,
    )


def _extractor_in_words(extractor: dict[str, Any]) -> str:
    size = f"{extractor['image_size']} pixels"
    if extractor["scale"] is not None:
        size = f"scale {extractor['scale']:g} in tiles of {size}"
    elif extractor["center_crop"] is not None:
        size += f", cropped to the central {extractor['center_crop']}"
    layers = ", ".join(map(str, extractor["layers"]))
    return f"{extractor['backbone']}, layers {layers}; {size}; {extractor['precision']}"
