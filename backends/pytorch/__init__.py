"""The PyTorch backend: CUDA, Apple GPUs and the CPU."""
