"""The command palette, and what it finds in the store."""
