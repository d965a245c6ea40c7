"""How long a header `Retry-After` asks to wait, whatever it holds."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from patchbank.retry_after import seconds_to_wait


def test_a_number_or_a_time() -> None:
    assert seconds_to_wait("30") == 30
    later = datetime.now(UTC) + timedelta(minutes=10)
    assert seconds_to_wait(format_datetime(later, usegmt=True)) == pytest.approx(600, abs=60)
    assert seconds_to_wait("Fri, 31 Dec 1999 23:59:59 GMT") == 0


@pytest.mark.parametrize(
    "header",
    [
        "",
        "soon",
        "-1",
        "²",
        "Fri, 99999999999999999999 Dec 2026 00:00:00 GMT",
        "Fri, 1 Dec 2026 00:00:00 +99999999999999",
    ],
)
def test_anything_else_asks_for_no_wait(header: str) -> None:
    assert seconds_to_wait(header) == 0
