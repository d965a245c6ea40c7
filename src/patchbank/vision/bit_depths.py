"""Bit depths of cameras, and the one that 16-bit values need."""

from __future__ import annotations

from typing import Final

BIT_DEPTHS: Final = (8, 10, 12, 14, 16)


def holding_depth(largest: int) -> int:
    """Return the smallest bit depth that holds a 16-bit value."""
    return next((depth for depth in BIT_DEPTHS if largest < 2**depth), BIT_DEPTHS[-1])
