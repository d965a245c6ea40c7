"""Read folders and data sets into lists of samples."""
