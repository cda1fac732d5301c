"""The MLX backend, on mlx-lm's models."""
