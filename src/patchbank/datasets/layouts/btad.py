"""BTAD's folder layout (Mishra et al., ISIE 2021): that of MVTec AD with other names.

::

    ROOT/01/train/ok/0000.bmp
    ROOT/01/test/ok/0000.bmp
    ROOT/01/test/ko/0000.bmp
    ROOT/01/ground_truth/ko/0000.png
"""

from __future__ import annotations

from patchbank.datasets.layouts.tree import Tree
from patchbank.datasets.pairing import masks_by_name

BTAD = Tree(
    "ROOT/01/train/ok and ROOT/01/test/ok and ko",
    good="ok",
    masks=masks_by_name,
    mask_name="STEM.png",
)
