"""Patch features to distances. Knows no image and no database."""
