"""Points in time as people give them: ``yesterday``, ``3h``, a date, a time."""

from __future__ import annotations

import re
from datetime import date, datetime, time, timedelta

from patchbank.errors import ParameterError

#: A time as people give it; without a zone it is local.
Moment = str | date | timedelta

_AGO = re.compile(r"(\d+) ?(min|m|h|d|w)")
_UNITS = {"m": "minutes", "min": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}|\d{8}")
# ISO 8601 has weeks too, and whether one without a day stands for its first or its last is open.
_WEEK = re.compile(r"\d{4}-?[Ww]")
_EXAMPLES = "yesterday, 3h, 2026-11-01, 2026-11-01T14:30, 14:30 (today) or 2026-11-01T14:30+01:00"


def moment(given: Moment, name: str, *, now: datetime, end: bool = False) -> datetime:
    """Return the point in time that was given, with its zone.

    Parameters
    ----------
    given
        ``now``, ``today``, ``yesterday``, a time ago such as ``30m``, ``3h``, ``7d`` or ``2w``, a
        date, a time of today, or a date and time in ISO 8601; a `datetime.timedelta` is a time ago.
    name
        The parameter's name, for the error.
    now
        The present time.
    end
        Whether a day stands for its end instead of its beginning.

    Raises
    ------
    ParameterError
        If it is no point in time.
    """
    try:
        found = _moment(given.strip() if isinstance(given, str) else given, now, end=end)
        # Fails for a year that has no local time.
        return found.astimezone()
    except (ValueError, OverflowError, OSError) as error:
        shown = repr(given) if isinstance(given, str) else given
        raise ParameterError(
            f"{name} {shown}: not a date or a time; give for example {_EXAMPLES}"
        ) from error


def _moment(given: Moment, now: datetime, *, end: bool) -> datetime:
    if isinstance(given, datetime):
        return given
    if isinstance(given, timedelta):
        return now - given
    today = now.astimezone().date()
    if isinstance(given, date):
        return datetime.combine(given + timedelta(days=1) if end else given, time.min)
    if given == "now":
        return now
    if given in ("today", "yesterday"):
        day = today if given == "today" else today - timedelta(days=1)
        return _moment(day, now, end=end)
    ago = _AGO.fullmatch(given)
    if ago:
        return now - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    if _DATE.fullmatch(given):
        return _moment(date.fromisoformat(given), now, end=end)
    if _WEEK.match(given):
        raise ValueError("a week of the year")
    if ":" in given[:3]:
        return datetime.combine(today, time.fromisoformat(given.zfill(5)))
    return datetime.fromisoformat(given)


def zone_text(now: datetime) -> str:
    """Return the local time zone, such as ``JST (UTC+09:00)``.

    Where there is summer time, times of the other half of the year have another offset.
    """
    local = now.astimezone()
    offset = local.isoformat()[-6:]
    name = local.tzname() or ""
    zone = "UTC" if name == "UTC" else f"{name} (UTC{offset})".strip()
    offsets = {datetime(local.year, month, 1).astimezone().utcoffset() for month in (1, 7)}
    return zone if len(offsets) == 1 else f"local time, now {zone}"
