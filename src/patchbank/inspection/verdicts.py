"""What an inspection answers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchbank.errors import ImageError, ParameterError
from patchbank.inspection.matches import DefectMatch, Similar
from patchbank.memory.calibration import Thresholds, Verdict, rarity
from patchbank.memory.defect_book import Probable
from patchbank.memory.maps import Region, place_map
from patchbank.vision.decoded_image import ImageSource

if TYPE_CHECKING:
    from patchbank.store.watched_files import WatchedFile

# Why the verdict may be pass although a region is outlined.
PASSES_WITH_REGION = (
    "passes although a region is outlined, because the score of the whole image is below the "
    "threshold; check the region, and fit with --score max if small defects must fail"
)


@dataclass(frozen=True)
class Refused:
    """An image that could not be used, and why, in one line."""

    image: str
    error: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {"image": self.image, "error": self.error}


def share_of_limit(score: float, limit: float) -> str:
    """Return a score divided by the limit; empty without a limit."""
    if not limit > 0:
        return ""
    share = score / limit
    text = f"{share:.2f}"
    # So that nobody wonders on which side of the limit it is.
    return f"{share:.4f}" if text == "1.00" and share != 1 else text


class LikenessEffect(NamedTuple):
    """What likeness to labelled defects did to a score.

    Attributes
    ----------
    added
        What it added; negative where it lowered the score.
    label
        Of the defects that added most to a score that was raised; None for those without one.
    """

    added: float
    label: str | None


@dataclass(frozen=True, eq=False)
class Judgement:
    """What a bank says of an image.

    Attributes
    ----------
    score, thresholds
        Anomaly score of the image, and where it passes and where it fails; all in units of feature
        distance.
    p_value
        Fraction of good images expected to score at least this high (split-conformal).
    anomaly_map
        float32 (rows, columns), over the part of the image that was inspected.
    map_threshold
        A pixel of the map belongs to a region above it.
    inspected_box
        That part as (x0, y0, x1, y1) in pixels of the original image.
    width, height
        Of the original image.
    regions
        Where the anomaly map exceeds the map's own threshold, strongest first.
    inspected_map
        bool (rows, columns): where the map, which is 0 elsewhere, was inspected; None for all.
    calibration_images
        How many images of good parts the p-value compares with.
    independent_references
        How many of them are independent of one another; None for all.
    outside
        bool (rows, columns): which patches are farther from the bank than its covering radius;
        None where that is unknown.
    likeness
        What likeness to labelled defects did to the score; None where it changes none.
    region_embedding
        float32 (d,), of the strongest region; None if the image passes. See `region_embedding`.
    """

    score: float
    thresholds: Thresholds
    p_value: float
    anomaly_map: NDArray[np.float32]
    map_threshold: float
    inspected_box: tuple[int, int, int, int]
    width: int
    height: int
    regions: tuple[Region, ...]
    inspected_map: NDArray[np.bool_] | None = field(default=None, kw_only=True)
    calibration_images: int = field(kw_only=True)
    independent_references: int | None = field(default=None, kw_only=True)
    outside: NDArray[np.bool_] | None = field(default=None, kw_only=True)
    likeness: LikenessEffect | None = field(default=None, kw_only=True)
    region_embedding: NDArray[np.float32] | None = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        if not 0.0 < self.p_value <= 1.0:
            raise ParameterError(f"p_value must lie in (0, 1], got {self.p_value}")
        if self.anomaly_map.ndim != 2:
            raise ParameterError(
                f"anomaly_map must have rows and columns, got {self.anomaly_map.shape}"
            )

    @property
    def verdict(self) -> Verdict:
        """``pass``, ``review`` or ``fail``."""
        return self.thresholds.verdict(self.score)

    @property
    def pass_below(self) -> float:
        """The score up to which an image passes."""
        return self.thresholds.pass_below

    @property
    def fail_above(self) -> float:
        """The score above which an image fails."""
        return self.thresholds.fail_above

    @property
    def share_of_limit(self) -> str:
        """The score divided by the limit, above which an image fails; empty without a limit."""
        return share_of_limit(self.score, self.fail_above)

    @property
    def times_the_limit(self) -> str:
        """The score as a multiple of the limit in words; empty without a limit."""
        return f"{self.share_of_limit} times the limit" if self.share_of_limit else ""

    @property
    def against_the_limits(self) -> str:
        """The score in words against the limit, and for a review against the lower one too."""
        text = self.times_the_limit or self.thresholds.describe()
        if self.verdict != "review":
            return text
        return f"{text}, to review above {self.pass_below:.4g}"

    @property
    def rarity(self) -> str:
        """The p-value in words: how many good parts scored as high."""
        return rarity(self.p_value, self.calibration_images, self.independent_references)

    @property
    def added(self) -> float:
        """What likeness to labelled defects added to the score; it may be negative."""
        return 0.0 if self.likeness is None else self.likeness.added

    @property
    def score_without_likeness(self) -> float:
        """The score by the bank alone, without likeness to labelled defects."""
        return self.score - self.added

    @property
    def likeness_in_words(self) -> str:
        """What likeness to labelled defects did to the score; empty if nothing."""
        if self.likeness is None or not self.added:
            return ""
        without = f"without it {self.score_without_likeness:.4g}"
        if self.added < 0:
            return f"lowered by {-self.added:.2g}, as it is unlike the recorded defects; {without}"
        like = self.likeness.label or "recorded defects without a label"
        return f"raised by {self.added:.2g} by likeness to {like}; {without}"

    @property
    def summary(self) -> str:
        """The score in words: against the limit and against good parts, and what raised it."""
        likeness = f" ({self.likeness_in_words})" if self.added else ""
        return f"score {self.score:.4g}{likeness}, {self.against_the_limits}; {self.rarity}"

    @property
    def standing(self) -> str:
        """The score in words, without what likeness to labelled defects did to it."""
        return f"score {self.score:.4g}, {self.against_the_limits}; {self.rarity}"

    @property
    def position(self) -> str:
        """Where the strongest region is, in words.

        Without regions the strongest spot, where the image does not pass: its score may be above
        the limit, as by likeness to defects, though no part of the map is above the map threshold.
        """
        if not self.regions:
            return "" if self.passed else f"{self.strongest_spot}, not outlined"
        x0, y0, x1, y1 = self.regions[0].box_xyxy
        more = len(self.regions) - 1
        return f"x {x0}-{x1}, y {y0}-{y1}" + (f", and {more} more" if more else "")

    @property
    def strongest_spot(self) -> str:
        """Where the anomaly map is highest, in words."""
        row, column = np.unravel_index(self.anomaly_map.argmax(), self.anomaly_map.shape)
        x0, y0, x1, y1 = self.inspected_box
        rows, columns = self.anomaly_map.shape
        x = x0 + int((column + 0.5) * (x1 - x0) / columns)
        y = y0 + int((row + 0.5) * (y1 - y0) / rows)
        return f"x {x}, y {y}"

    @property
    def passed(self) -> bool:
        """Whether the verdict is ``pass``: an image to review has not passed."""
        return self.verdict == "pass"

    @property
    def share_outside(self) -> float | None:
        """The share of patches farther from the bank than its covering radius."""
        return None if self.outside is None else float(self.outside.mean())

    def full_map(self) -> NDArray[np.float32]:
        """Return the map on the whole original image, (height, width), NaN where uninspected."""
        return place_map(
            self.anomaly_map, self.inspected_box, self.width, self.height, self.inspected_map
        )


@dataclass(frozen=True, eq=False, repr=False)
class Inspection(Judgement):
    """One image judged once; what the bank says of it is a `Judgement`.

    Attributes
    ----------
    sha256
        Of the image's content, in hexadecimal.
    category_id, bank_version
        The bank that judged it: by its id, as a name may by now be that of a category learned anew.
    extractor_fingerprint
        Of the extractor that computed the features.
    similar
        The most similar references, best first.
    similar_defects
        The recorded defects most similar to the strongest region, best first; none if it passes.
    probable_defect
        What the region therefore probably is, if enough of them agree.
    timings_ms
        Milliseconds each stage took, and their sum as ``total``.
    recorded
        Whether the database has it.
    inspection_id
        Its number in the database; None where it was not recorded.
    inspected_at
        When it was recorded, or else judged, in UTC.
    remarks
        What one should know of it, as why it was not recorded though it should have been.
    source
        The image itself, for a notebook to show; of many images, only a path is kept.
    brightness, sharpness
        Of the inspected part: the mean grey value, 0 to 255, and how much pixels differ from their
        neighbours, relative to it.
    part, station
        The inspected part and where it was inspected, if named.
    actor
        On whose behalf it was judged: the user's account, or the name of a key of the service.
    image_kept
        Whether the database has the image too.
    encoded
        An image in memory as a file, until it is recorded.
    watched
        The file of a watched folder that it is, if it is one.
    """

    image: str
    sha256: str
    category: str
    category_id: int
    bank_version: int
    extractor_fingerprint: str
    similar: tuple[Similar, ...]
    heatmap: Path | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    recorded: bool = False
    remarks: tuple[str, ...] = ()
    inspection_id: int | None = None
    inspected_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    source: ImageSource | None = None
    brightness: float | None = None
    sharpness: float | None = None
    part: str | None = None
    station: str | None = None
    actor: str | None = None
    image_kept: bool = False
    encoded: bytes | None = None
    watched: WatchedFile | None = None
    similar_defects: tuple[DefectMatch, ...] = ()
    probable_defect: Probable | None = None

    def __repr__(self) -> str:
        return (
            f"<Inspection of {self.image!r}: {self.verdict}, score {self.score:.4g}, "
            f"{self.thresholds.describe()}>"
        )

    def _repr_html_(self) -> str:
        """Return what Jupyter shows: the verdict, and the image beside its anomaly map."""
        from patchbank.reports.notebook import inspection_html

        where = f"; at {self.position}" if self.position else ""
        similar = ", ".join(f"{match.image} ({match.similarity:.3f})" for match in self.similar[:3])
        return inspection_html(
            name=self.image,
            verdict=self.verdict,
            facts=[
                self.summary + where,
                *([str(self.probable_defect)] if self.probable_defect else []),
                *([f"most similar references: {similar}"] if similar else []),
                *self.remarks,
            ],
            pixels=self._pixels(),
            anomaly_map=self.full_map(),
            map_threshold=self.map_threshold,
        )

    def _pixels(self) -> NDArray[np.uint8] | None:
        """Return the pixels of the image if it is still what was judged."""
        if self.source is None:
            return None
        from patchbank.vision.images import decode

        try:
            image = decode(self.source)
        except ImageError:
            return None
        return image.pixels if image.sha256 == self.sha256 else None

    def explained(self) -> Inspection:
        """Return the inspection with a remark if it passes though it outlines a region."""
        if not self.passed or not self.regions:
            return self
        return replace(self, remarks=(*self.remarks, PASSES_WITH_REGION))

    def likeness_to_json(self) -> dict[str, Any] | None:
        """Return what likeness to labelled defects did to the score; None where it changes none."""
        if self.likeness is None:
            return None
        return {
            "added": self.added,
            "score_without": self.score_without_likeness,
            "label": self.likeness.label,
        }

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print; its keys are names of attributes.

        `docs/inspection.schema.json` describes it.
        """
        return {
            "inspection_id": self.inspection_id,
            "inspected_at": self.inspected_at.isoformat(),
            "image": self.image,
            "category": self.category,
            "verdict": self.verdict,
            "score": self.score,
            "likeness": self.likeness_to_json(),
            **self.thresholds.to_json(),
            "p_value": self.p_value,
            "calibration_images": self.calibration_images,
            "independent_references": self.independent_references or self.calibration_images,
            "regions": [region_to_json(region) for region in self.regions],
            "similar": [match.to_json() for match in self.similar],
            "similar_defects": [match.to_json() for match in self.similar_defects],
            "probable_defect": self.probable_defect and self.probable_defect.to_json(),
            "bank_version": self.bank_version,
            "extractor_fingerprint": self.extractor_fingerprint,
            "sha256": self.sha256,
            "width": self.width,
            "height": self.height,
            "brightness": self.brightness,
            "sharpness": self.sharpness,
            "share_outside": self.share_outside,
            "heatmap": None if self.heatmap is None else str(self.heatmap),
            "timings_ms": {name: round(value, 3) for name, value in self.timings_ms.items()},
            "recorded": self.recorded,
            "part": self.part,
            "station": self.station,
            "actor": self.actor,
            "image_kept": self.image_kept,
            "remarks": list(self.remarks),
        }


def region_to_json(region: Region) -> dict[str, Any]:
    """Return a region as the JSON object the commands print and the database keeps."""
    return {
        "box_xyxy": list(region.box_xyxy),
        "area_pixels": region.area_pixels,
        "area_percent": round(region.area_percent, 4),
        "peak_score": region.peak_score,
        "peak_xy": list(region.peak_xy),
    }
