"""Trials as flat rows for other programs, and what each of their columns holds."""
