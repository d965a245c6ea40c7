"""Entry point of ``python -m patchbank``."""

from patchbank.cli import main

main()
