"""What helps around an experiment: check, dose, bench, demo, list of models."""
