"""Training of adapters: a subject that is known to notice, and two that only look like it."""
