"""The surface set: five materials with five kinds of defect each, made by code.

It gives metrics and benchmarks something to run on anywhere. Its images are synthetic, and its
figures say nothing about real ones; wherever they appear they are labelled so.
"""

from patchbank.datasets.surfaces.drawing import Drawing, draw
from patchbank.datasets.surfaces.making import CATEGORIES, make_surfaces

__all__ = ["CATEGORIES", "Drawing", "draw", "make_surfaces"]
