"""Replies that begin with a thought: how templates write one, and how a thought and its answer are made."""
