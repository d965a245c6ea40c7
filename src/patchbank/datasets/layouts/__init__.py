"""Readers of data set layouts, one per file; each is registered in `datasets/catalogue.py`."""
