"""Processes that the app starts, watches and steers."""
