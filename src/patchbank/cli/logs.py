"""How log records are written on standard error: for people, or for a service."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Final, Literal

from patchbank.errors import ParameterError
from patchbank.printable import printable
from patchbank.settings import get_settings

Style = Literal["text", "json"]

OWN: Final = "patchbank"


def asked_for(option: str) -> bool:
    """Return whether an option that holds for every command is anywhere on the line."""
    return option in sys.argv[1:]


def log_style() -> Style | None:
    """Return how a service wants standard error, None where people read it."""
    try:
        return get_settings().log
    except ParameterError:
        # A wrong setting is said where settings are needed.
        return None


class OwnRecords(logging.Filter):
    """Lets patchbank's own records through, and those of libraries where these are wanted."""

    def __init__(self, *, libraries: bool) -> None:
        super().__init__(OWN)
        self._libraries = libraries

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a record is to be shown."""
        return self._libraries or super().filter(record)


class PlainLines(logging.Formatter):
    """Level and message, laid out as remarks are."""

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the library's name
        """Return the record on a line."""
        return f"{record.levelname.lower():<8} {record.message}"


class TextLines(logging.Formatter):
    """Time in UTC, level, origin and message on a line; a trace is part of the line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record on a line."""
        record.message = record.getMessage()
        text = f"{_time(record)} {record.levelname:<7} {record.name}: {record.message}"
        if hasattr(record, "request_id"):
            text += f" [request {record.request_id}]"
        if record.exc_info:
            text += f"\n{self.formatException(record.exc_info)}"
        return printable(text)


class JsonLines(logging.Formatter):
    """An object on a line, in ASCII: ``time``, ``level``, ``logger``, ``process``, ``message``."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        document = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "process": record.process,
            "message": record.getMessage(),
        }
        if hasattr(record, "request_id"):
            document["request_id"] = record.request_id
        if record.exc_info:
            document["trace"] = self.formatException(record.exc_info)
        # What JSON leaves as it is, and some terminals obey.
        return json.dumps(document).replace("\x7f", "\\u007f")


def formatter(style: Style | None) -> logging.Formatter:
    """Return what lays records out."""
    if style is None:
        return PlainLines()
    return JsonLines() if style == "json" else TextLines()


def _time(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
