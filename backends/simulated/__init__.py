"""A simulated subject with known answers."""
