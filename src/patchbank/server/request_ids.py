"""A number for each request, which its log records and its answer carry."""

from __future__ import annotations

import logging
import secrets
from contextvars import ContextVar

_current: ContextVar[str] = ContextVar("patchbank_request_id", default="")


def begin_request() -> str:
    """Give this context a new number, and return it."""
    number = secrets.token_hex(8)
    _current.set(number)
    return number


def request_id() -> str:
    """Return the number of the request that is being answered; empty outside of one."""
    return _current.get()


class WithRequest(logging.Filter):
    """Gives records of a request its number, as the attribute ``request_id``."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep every record."""
        number = request_id()
        if number:
            record.request_id = number
        return True
