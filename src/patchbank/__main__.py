"""``python -m patchbank``: the command line."""

from patchbank.cli import main

main()
