"""Versions of banks: numbered, inserted, and finished in the transaction that saves them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

from patchbank.store import queries
from patchbank.store.bank_content import BankContent
from patchbank.store.bank_key import BankKey
from patchbank.store.categories import add_event
from patchbank.store.notices import announce

if TYPE_CHECKING:
    from patchbank.store.migrate import Connection


@dataclass(frozen=True)
class Retention:
    """Which retired versions keep their rows: the last ones, and those of the last days."""

    versions: int = 20
    days: float = 90.0


DEFAULT_RETENTION = Retention()


def active_of(connection: Connection, category_id: int) -> BankKey | None:
    """Return the key of the category's active bank, if any."""
    row = connection.execute(
        queries.load("banks")["active_of"], {"category_id": category_id}
    ).fetchone()
    return None if row is None else BankKey(category_id, *row)


def begin_version(connection: Connection, category_id: int) -> int:
    """Retire the active version and return the number of the next one."""
    key = {"category_id": category_id}
    last = connection.execute(queries.load("banks")["last_version"], key).fetchone()
    assert last is not None
    connection.execute(queries.load("banks")["retire"], key)
    return int(last[0]) + 1


def insert_version(
    connection: Connection, key: BankKey, bank: BankContent, patches: int, images: int
) -> None:
    """Insert the row of a bank, which becomes the active one."""
    digest = None if bank.likeness is None else hashlib.sha256(bank.likeness).digest()
    if digest is not None:
        connection.execute(
            queries.load("banks")["insert_likeness"],
            {**key.parameters(), "likeness_sha256": digest, "content": bank.likeness},
        )
    connection.execute(
        queries.load("banks")["insert"],
        {
            **key.parameters(),
            "extractor_fingerprint": bank.extractor_fingerprint,
            "extractor": Jsonb(bank.extractor),
            "settings": Jsonb(bank.settings),
            "coreset_ratio": float(bank.coreset_ratio),
            "covering_radius": float(bank.covering_radius),
            "patch_count": patches,
            "dimensions": bank.features.shape[1],
            "image_count": images,
            "embedding_mean": bank.embedding_mean.tolist(),
            "likeness_sha256": digest,
        },
    )


def finish_version(
    connection: Connection,
    category: str,
    key: BankKey,
    cause: str,
    detail: Mapping[str, Any],
    retention: Retention,
) -> None:
    """Prune old rows, record the event and notify listeners.

    The event names the references that came and went, except for a fit, which exchanges them all.
    """
    came, went = _exchanged(connection, key)
    kept = {"keep_versions": retention.versions, "keep_days": retention.days}
    for name in (
        "prune_banks",
        "prune_patches",
        "prune_references",
        "prune_features",
        "prune_neighbours",
        "prune_scores",
        "prune_changes_of_patches",
        "prune_changes_of_references",
        "prune_graphs",
        "prune_likeness",
        "prune_images",
    ):
        connection.execute(queries.load("banks")[name], key.parameters() | kept)
    changed = {name: names for name, names in (("came", came), ("went", went)) if names}
    add_event(connection, key.category_id, cause, {"version": key.version, **detail, **changed})
    announce(connection, category, key.version)


def _exchanged(connection: Connection, key: BankKey) -> tuple[list[str], list[str]]:
    """Return the names of the references that came and went with a version."""
    row = connection.execute(queries.load("banks")["exchanged"], key.parameters()).fetchone()
    assert row is not None
    return row[0], row[1]
