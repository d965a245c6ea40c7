"""The graph that computes the features of some settings."""

from __future__ import annotations

from patchbank.vision.backbones import get_backbone
from patchbank.vision.backbones.features import write_feature_graph
from patchbank.vision.extractor_settings import ExtractorSettings
from patchbank.vision.quantised import QuantisedGraph


def graph_of(settings: ExtractorSettings, quantised: QuantisedGraph | None) -> tuple[bytes, ...]:
    """Return the graph of these settings for `patchbank.vision.runtime.compile_graph`."""
    if quantised is not None:
        return quantised.description, quantised.weights
    graph = write_feature_graph(
        get_backbone(settings.backbone),
        settings.layers,
        settings.preprocessing.side,
        settings.pooling,
        settings.resize_precision,
    )
    return (graph,)
