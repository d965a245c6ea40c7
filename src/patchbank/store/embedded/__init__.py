"""The embedded PostgreSQL: installed, started, shared by processes, stopped when idle."""
