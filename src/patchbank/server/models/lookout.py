"""What Amazon Lookout for Vision answers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from patchbank.server.models import Model


class LookoutSource(Model):
    """Where the image came from."""

    Type: Literal["direct"]


class PixelAnomaly(Model):
    """How much of the image a kind of anomaly covers."""

    TotalPercentageArea: float = Field(ge=0, le=1, description="A share, 0 to 1.")
    Color: str = Field(description="Its colour in the mask, such as `#23A436`.")


class LookoutAnomaly(Model):
    """A kind of anomaly, or the background."""

    Name: str
    PixelAnomaly: PixelAnomaly


class DetectAnomalyResult(Model):
    """How an image was judged."""

    Source: LookoutSource
    IsAnomalous: bool
    Confidence: float = Field(ge=0, le=1)
    Anomalies: list[LookoutAnomaly] | None = None
    AnomalyMask: str | None = Field(default=None, description="A PNG picture in base64.")


class DetectAnomaliesAnswer(Model):
    """The answer of `DetectAnomalies`."""

    DetectAnomalyResult: DetectAnomalyResult


class LookoutError(Model):
    """An error; its kind is in the header `x-amzn-ErrorType`."""

    Message: str
