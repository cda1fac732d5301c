"""Commands that grade and label."""
