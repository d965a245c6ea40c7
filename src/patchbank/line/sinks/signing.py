"""Signatures of webhooks, as in Standard Webhooks (https://www.standardwebhooks.com)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

from patchbank.errors import ParameterError

_PREFIX = "whsec_"
_SECRET_BYTES = 32
_FEWEST_BYTES, _MOST_BYTES = 24, 64


def new_secret() -> str:
    """Return a random secret."""
    return _PREFIX + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def key_of(secret: str) -> bytes:
    """Return the key that signs.

    Raises
    ------
    ParameterError
        If the secret is not one of Standard Webhooks.
    """
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except ValueError:  # also where it is not ASCII
        key = b""
    if not _FEWEST_BYTES <= len(key) <= _MOST_BYTES:
        raise ParameterError(
            f"the secret must be {_PREFIX} and {_FEWEST_BYTES} to {_MOST_BYTES} bytes in base64; "
            "leave --secret-file out, and one is made and printed"
        )
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """Return the header ``webhook-signature`` of a message."""
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
