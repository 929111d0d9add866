"""Reaching PostgreSQL and Redis: sessions, statements, locks, the schema and the embedded servers."""
