"""Addresses of what the service has."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import quote


def address(category: str, *parts: str | int, **query: str) -> str:
    """Return the address of something in a category."""
    path = "/".join(_quoted(str(part)) for part in ("categories", category, *parts))
    asked = "&".join(f"{name}={_quoted(value)}" for name, value in query.items())
    return f"/v1/{path}" + (f"?{asked}" if asked else "")


@lru_cache(4096)
def _quoted(text: str) -> str:
    # Every answer names ten references: to quote them took as long as all else in it.
    return quote(text, safe="")


def inspection_urls(
    category: str,
    inspection_id: int | None,
    *,
    image_kept: bool,
    similar: Iterable[str],
) -> dict[str, Any]:
    """Return the addresses of what belongs to an inspection; `similar` names its references."""
    base = None if inspection_id is None else address(category, "inspections", inspection_id)
    # A heatmap is computed of the image.
    pictures = base if image_kept else None
    return {
        "inspection": base,
        "picture": base and f"{base}/picture",
        "map": base and f"{base}/map",
        "image": pictures and f"{pictures}/image",
        "heatmap": pictures and f"{pictures}/heatmap",
        "similar": [address(category, "references", "thumbnail", name=name) for name in similar],
    }


def with_urls(category: str, document: dict[str, Any]) -> dict[str, Any]:
    """Return the document of a recorded inspection with the addresses of what belongs to it."""
    similar = (match["image"] for match in document["similar"])
    urls = inspection_urls(
        category, document["inspection_id"], image_kept=document["image_kept"], similar=similar
    )
    return {**document, "urls": urls}
