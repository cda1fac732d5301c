"""Filters over the trials of a run: what matches, where to look for it, and the pages that are in sight."""
