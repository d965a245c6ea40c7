"""Banks that cannot judge: all that they were made of looks the same."""

from __future__ import annotations

from typing import Final

import numpy as np

from patchbank.store.bank_content import BankContent

# A distance this small beside the features themselves is the rounding of float32.
_ROUNDING: Final = 1e-6


def why_useless(bank: BankContent, threshold: float | None) -> str | None:
    """Return why a bank cannot judge, in a phrase; None where it can.

    `threshold` is the threshold of the image score, or None before the calibration.
    """
    features, embeddings = bank.features, bank.embeddings
    least, most = features.min(axis=0).astype(np.float64), features.max(axis=0).astype(np.float64)
    rounding = _ROUNDING * float(max(-least.min(), most.max()))
    if len(features) > 1 and float((most - least).max()) <= rounding:
        return "all its patches are identical"
    if len(embeddings) > 1:
        largest = float(np.abs(bank.embedding_mean).max())
        if float(np.abs(embeddings).max()) <= _ROUNDING * largest:
            return "all its images are identical"
    # A bank that was to keep all patches has the radius 0 by right; it is NaN where unknown.
    if bank.coreset_ratio < 1 and bank.covering_radius <= rounding:
        return f"all its images consist of the same {len(features):,} patches (covering radius 0)"
    if threshold is not None and threshold <= rounding:
        return "good images score 0, so its threshold is 0"
    return None
