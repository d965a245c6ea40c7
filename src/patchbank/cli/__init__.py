"""The command line."""

from __future__ import annotations

from patchbank.cli.app import main

__all__ = ["main"]
