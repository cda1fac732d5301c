"""How far a vector moves the distribution of the next token: the measured impact of an injection.

Vectors of equal norm differ in impact many times over, so controls are matched on this and not only on the norm
(Shah 2026).
"""

from __future__ import annotations

import numpy as np

from mlxintro.backends.base import Float32

_FLOOR = 1e-30


def divergence(steered: Float32, plain: Float32) -> Float32:
    """Return KL(steered || plain) of each row of log-probabilities, in nats."""
    p, q = steered.astype(np.float64), plain.astype(np.float64)
    weights = np.exp(p)
    terms = np.where(weights > _FLOOR, weights * (p - q), 0.0)
    return np.asarray(terms.sum(axis=-1), np.float32)


def entropy(logprobs: Float32) -> Float32:
    """Return the entropy of each row of log-probabilities, in nats."""
    p = np.exp(logprobs.astype(np.float64))
    terms = np.where(p > _FLOOR, p * logprobs, 0.0)
    return np.asarray(-terms.sum(axis=-1), np.float32)
