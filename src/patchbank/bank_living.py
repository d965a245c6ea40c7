"""What changes a bank, or tells how its world changes, in Python."""

from __future__ import annotations

from patchbank.inspection.workspace import Workspace


class BankLiving:
    """The part of `Bank` that changes it image by image."""

    category: str
    _workspace: Workspace
