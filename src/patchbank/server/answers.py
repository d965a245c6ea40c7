"""What the use cases found, as it is answered."""

from __future__ import annotations

from typing import Any

from patchbank.inspection.verdicts import Inspection
from patchbank.server.addresses import inspection_urls


def answer_of(inspection: Inspection) -> dict[str, Any]:
    """Return an inspection as it is answered, with the addresses of its pictures."""
    return {
        **inspection.to_json(),
        "in_words": {
            "rarity": inspection.rarity,
            "against_the_limits": inspection.against_the_limits,
        },
        "urls": inspection_urls(
            inspection.category,
            inspection.inspection_id,
            image_kept=inspection.image_kept,
            similar=(match.image for match in inspection.similar),
        ),
    }
