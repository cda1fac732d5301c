"""Commands that start and manage runs."""
