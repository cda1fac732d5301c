"""GGUF files as models: read, and converted once into folders that both backends load."""
