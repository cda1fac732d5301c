"""A study becomes a run: plan, measure, store, and tell what happens."""
