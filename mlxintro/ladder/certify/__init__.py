"""The study that climbs the whole ladder: dose, size, calibration, and what is kept until it runs."""
