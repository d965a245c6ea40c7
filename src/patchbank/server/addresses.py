"""Addresses of what the service has."""

from __future__ import annotations

from urllib.parse import quote


def address(category: str, *parts: str | int, **query: str) -> str:
    """Return the address of something in a category."""
    path = "/".join(quote(str(part), safe="") for part in ("categories", category, *parts))
    asked = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    return f"/v1/{path}" + (f"?{asked}" if asked else "")
