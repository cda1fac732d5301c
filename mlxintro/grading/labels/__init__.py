"""Verdicts by people: which replies to show, and what they said."""
