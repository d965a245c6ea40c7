"""The surface set: images of five materials with five kinds of defect each, made by code.

Metrics and benchmarks can run on it anywhere. Its images are synthetic, so that results say nothing
about real images; they are labelled synthetic wherever they appear.
"""

from patchbank.datasets.surfaces.drawing import Drawing, draw
from patchbank.datasets.surfaces.making import CATEGORIES, make_surfaces

__all__ = ["CATEGORIES", "Drawing", "draw", "make_surfaces"]
