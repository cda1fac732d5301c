"""How to run a model and touch its residual stream. The only folder that imports mlx or torch."""
