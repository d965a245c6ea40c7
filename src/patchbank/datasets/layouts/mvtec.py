"""MVTec AD's folder layout (Bergmann et al., CVPR 2019), and those of its two successors.

::

    ROOT/NAME/train/good/000.png
    ROOT/NAME/test/good/000.png
    ROOT/NAME/test/crack/000.png
    ROOT/NAME/ground_truth/crack/000_mask.png                    (optional)

MVTec AD 2 (Heckler-Kram et al., 2025) has three tests, two of them without published labels::

    ROOT/NAME/train/good/000_regular.png
    ROOT/NAME/validation/good/000_regular.png                    (not read)
    ROOT/NAME/test_public/good/000_regular.png
    ROOT/NAME/test_public/bad/000_regular.png
    ROOT/NAME/test_public/ground_truth/bad/000_regular_mask.png
    ROOT/NAME/test_private/000_regular.png
    ROOT/NAME/test_private_mixed/000_mixed.png

MVTec LOCO AD (Bergmann et al., IJCV 2022) has several masks per image, one for each alternative or
part of an anomaly; here their union counts, without the saturation used by the set's metric::

    ROOT/NAME/validation/good/000.png                            (not read)
    ROOT/NAME/test/logical_anomalies/000.png
    ROOT/NAME/test/structural_anomalies/000.png
    ROOT/NAME/ground_truth/logical_anomalies/000/000.png

Validation images are good images reserved for choosing parameters. No parameter is chosen here, and
learning from them would make results incomparable with published ones.
"""

from __future__ import annotations

from patchbank.datasets.layouts.tree import Tree
from patchbank.datasets.pairing import masks_by_folder

MVTEC_AD = Tree("ROOT/NAME/train/good and ROOT/NAME/test/KIND")
MVTEC_AD_2 = Tree(
    "ROOT/NAME/train/good and ROOT/NAME/test_public/good and bad",
    test="test_public",
    ground_truth="test_public/ground_truth",
    unlabelled=("test_private", "test_private_mixed"),
)
MVTEC_LOCO = Tree(
    "ROOT/NAME/train/good and ROOT/NAME/test/good, logical_anomalies and structural_anomalies",
    masks=masks_by_folder,
    mask_name="STEM/000.png",
)

list_categories = MVTEC_AD.list_categories
load = MVTEC_AD.load
