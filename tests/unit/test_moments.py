"""Points in time as people give them."""

from __future__ import annotations

import time as clock
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pytest

from patchbank.errors import ParameterError
from patchbank.inspection.keeping.moments import Moment, moment, zone_text

# 14:00 in Berlin.
NOW = datetime(2026, 11, 26, 13, 0, tzinfo=UTC)


@pytest.fixture(autouse=True)
def _berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    clock.tzset()
    yield
    monkeypatch.undo()
    clock.tzset()


@pytest.mark.parametrize(
    ("given", "begin", "end"),
    [
        ("now", "2026-11-26T14:00+01:00", None),
        ("today", "2026-11-26T00:00+01:00", "2026-11-27T00:00+01:00"),
        ("yesterday", "2026-11-25T00:00+01:00", "2026-11-26T00:00+01:00"),
        ("30m", "2026-11-26T13:30+01:00", None),
        ("3h", "2026-11-26T11:00+01:00", None),
        ("2 d", "2026-11-24T14:00+01:00", None),
        ("1w", "2026-11-19T14:00+01:00", None),
        # Summer time, and the day of 25 hours on which it ends.
        ("2026-10-25", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00"),
        ("20261101", "2026-11-01T00:00+01:00", "2026-11-02T00:00+01:00"),
        (" 2026-11-01 ", "2026-11-01T00:00+01:00", "2026-11-02T00:00+01:00"),
        ("9:30", "2026-11-26T09:30+01:00", None),
        ("09:30", "2026-11-26T09:30+01:00", None),
        ("2026-07-01T14:30", "2026-07-01T14:30+02:00", None),
        ("2026-07-01 14:30:15", "2026-07-01T14:30:15+02:00", None),
        ("2026-07-01T14:30Z", "2026-07-01T14:30+00:00", None),
        ("2026-07-01T14:30-05:00", "2026-07-01T14:30-05:00", None),
        (date(2026, 11, 1), "2026-11-01T00:00+01:00", "2026-11-02T00:00+01:00"),
        (datetime(2026, 11, 1, 12, 0), "2026-11-01T12:00+01:00", None),
        (datetime(2026, 11, 1, 12, 0, tzinfo=UTC), "2026-11-01T13:00+01:00", None),
        (timedelta(hours=1), "2026-11-26T13:00+01:00", None),
        *((text, None, None) for text in (
            "", "gestern", "-3h", "3x", "2026-13-01", "2026-11-31", "25:00", "1" * 12 + "d",
            "9999-12-31", "2026-W48", "2026W484", "2026-11-01T14:30+99:00",
        )),
    ],
)  # fmt: skip
def test_times_are_understood_or_refused(given: Moment, begin: str | None, end: str | None) -> None:
    if begin is None:
        with pytest.raises(ParameterError, match=r"^since .*: not a date or a time; give for ex"):
            # A year that begins may not end.
            moment(given, "since", now=NOW, end=True)
        return
    found = moment(given, "since", now=NOW)
    assert found == datetime.fromisoformat(begin)
    # Shown in local time.
    assert found.utcoffset() in (timedelta(hours=1), timedelta(hours=2))
    assert moment(given, "until", now=NOW, end=True) == datetime.fromisoformat(end or begin)


def test_the_zone_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # Of inspections of July, listed in winter, the times are in summer time.
    assert zone_text(NOW) == "local time, now CET (UTC+01:00)"
    assert zone_text(datetime(2026, 7, 1, tzinfo=UTC)) == "local time, now CEST (UTC+02:00)"
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    clock.tzset()
    assert zone_text(NOW) == "JST (UTC+09:00)"
    monkeypatch.setenv("TZ", "UTC")
    clock.tzset()
    assert zone_text(NOW) == "UTC"
