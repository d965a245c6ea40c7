"""Folders and data sets to one kind of sample list."""
