"""The bit depths that cameras have, of which values in 16 bits tell one."""

from __future__ import annotations

from typing import Final

BIT_DEPTHS: Final = (8, 10, 12, 14, 16)


def holding_depth(largest: int) -> int:
    """Return the least bit depth that holds a value of 16 bits."""
    return next((depth for depth in BIT_DEPTHS if largest < 2**depth), BIT_DEPTHS[-1])
