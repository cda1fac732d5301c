"""What the app reads from the store, and how it words it."""
