"""What a search found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from patchbank.inspection.judging.similarity_rule import ReferenceStanding
from patchbank.store.hnsw_index import Metric

Among = Literal["references", "defects"]


@dataclass(frozen=True)
class Match:
    """A stored image, patch or defect that was found.

    Attributes
    ----------
    similarity
        1 - cosine distance, from -1 to 1: of the embeddings, centred on the bank's mean, for images
        and defects; of the features for patches.
    distance
        Euclidean distance of the same vectors.
    label
        ``good``, or a defect's own.
    synthetic
        Whether it is a synthetic defect.
    itself
        Whether it is what was searched for, perhaps under another name: the same file, the same
        pixels, the same vector. The similarity rule leaves it out.
    """

    name: str
    similarity: float
    distance: float
    label: str | None
    synthetic: bool = False
    itself: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {
            "name": self.name,
            "similarity": round(self.similarity, 6),
            "distance": self.distance,
            "label": self.label,
            "synthetic": self.synthetic,
            "itself": self.itself,
        }


@dataclass(frozen=True)
class SearchResult:
    """What was found.

    Attributes
    ----------
    query
        The name of what was searched for.
    matches
        Best first.
    method
        How it was found: ``exact scan`` (and why, where an index could not), or by which index.
    threshold, normal
        Of the similarity rule, where there is one, and whether any reference but the image itself
        reaches it.
    standing
        How the reference images stand to one another, for the rule.
    raw
        Whether the embeddings were compared uncentred.
    remarks
        What a reader should know, a line each.
    """

    query: str
    category: str
    among: Among
    metric: Metric
    method: str
    matches: tuple[Match, ...]
    threshold: float | None = None
    normal: bool | None = None
    standing: ReferenceStanding | None = None
    raw: bool = False
    remarks: tuple[str, ...] = ()

    @property
    def verdict(self) -> str | None:
        """The similarity rule's answer in words, None where it was not asked for."""
        if self.normal is None:
            return None
        if self.normal:
            found = len(self.matches)
            references = (
                "most similar reference" if found == 1 else f"{found} most similar references"
            )
            return f"Good image: the {references}"
        other = "other" if any(match.itself for match in self.matches) else "stored"
        return f"Anomalous image: no {other} reference reaches {self.threshold:.4g}"

    def to_json(self) -> dict[str, Any]:
        """Return the JSON object the commands print."""
        return {
            "image": self.query,
            "category": self.category,
            "among": self.among,
            "metric": self.metric,
            "method": self.method,
            "threshold": self.threshold,
            "normal": self.normal,
            "references": None
            if self.standing is None or self.threshold is None
            else self.standing.to_json(self.threshold),
            "raw": self.raw,
            "similar": [match.to_json() for match in self.matches],
            "remarks": list(self.remarks),
        }
