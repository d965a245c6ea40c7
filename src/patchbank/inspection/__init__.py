"""The use cases, one file each: what the command line, the pages and the Python API call."""
