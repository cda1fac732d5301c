"""A study as data: experiment, preset, concepts, windows and trials, before anything runs."""
