"""PostgreSQL with pgvector. Knows no vision."""
