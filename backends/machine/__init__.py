"""What a machine has for models: memory, devices, and whose turn it is."""
