"""The routes under `/v1`, one subject a file."""
