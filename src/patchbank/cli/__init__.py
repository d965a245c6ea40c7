"""The command line."""

from __future__ import annotations

import sys

from patchbank.descriptors import fill_standard_descriptors


def main() -> None:
    """Run the command line; an interrupt while it is still being loaded is quiet too."""
    fill_standard_descriptors()
    try:
        from patchbank.cli.app import app

        app()
    except KeyboardInterrupt:
        sys.exit(130)


__all__ = ["main"]
