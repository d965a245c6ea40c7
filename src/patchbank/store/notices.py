"""Notify other processes through PostgreSQL's NOTIFY."""

from __future__ import annotations

import json

from patchbank.store import queries
from patchbank.store.migrate import Connection

CHANNEL = "patchbank_bank"


def announce(connection: Connection, category: str, version: int | None) -> None:
    """Notify listeners, when this transaction commits, that a category's bank changed."""
    payload = json.dumps({"category": category, "version": version})
    connection.execute(queries.load("database")["notify"], {"channel": CHANNEL, "payload": payload})
