"""The schema of the store, as migrations that are never edited once released."""
