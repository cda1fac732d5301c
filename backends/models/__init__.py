"""Where a model's files come from, and how its text becomes tokens."""
