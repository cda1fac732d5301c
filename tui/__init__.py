"""The terminal app: looking at the store and driving runs. It does no work of its own."""
