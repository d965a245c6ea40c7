"""The header `Retry-After` (RFC 9110)."""

from __future__ import annotations

import time
from datetime import UTC
from email.utils import parsedate_to_datetime


def seconds_to_wait(header: str) -> float:
    """Return the seconds that a header asks to wait, as a number or a time; 0 for anything else."""
    if header.isdecimal():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, moment.timestamp() - time.time())
