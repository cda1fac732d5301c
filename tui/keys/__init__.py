"""Keys: which there are, a person's own, the order in which they work, and jumping by letters."""
