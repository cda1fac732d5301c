"""Experiments from outside: files of one's own, and the presets that other packages bring."""
