"""How well scores separate good from anomalous images and, where masks exist, pixels."""

from patchbank.metrics.curve import Curve
from patchbank.metrics.images import (
    NO_IMAGE_METRICS,
    ImageMetrics,
    Proportion,
    Rates,
    image_metrics,
    proportion,
    rates_at,
)
from patchbank.metrics.pixels import PixelMetrics, PixelScores

__all__ = [
    "NO_IMAGE_METRICS",
    "Curve",
    "ImageMetrics",
    "PixelMetrics",
    "PixelScores",
    "Proportion",
    "Rates",
    "image_metrics",
    "proportion",
    "rates_at",
]
