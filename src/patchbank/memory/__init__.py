"""Patch features, distances, scores and thresholds; independent of images and the database."""
