"""Storage in PostgreSQL with pgvector, independent of vision."""
