"""A bank that changes: images added and withdrawn, changes undone, reviews, drift."""
