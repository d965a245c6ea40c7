"""Pixels to patch features. Knows no database and no bank."""
