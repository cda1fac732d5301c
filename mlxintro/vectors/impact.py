"""How far a vector moves the distribution of the next token: the measured impact of an injection.

Vectors of equal norm differ in impact many times over, so controls are matched on this and not only on the norm
(Shah 2026).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mlxintro.backends.base import Backend, Float32, Prompt

_FLOOR = 1e-30


def next_token(backend: Backend, prompts: Sequence[Prompt]) -> Float32:
    """Log-probabilities of the whole vocabulary after each prompt, (prompts, vocabulary).

    The last block's output through the final norm and the unembedding is what the model itself computes.
    """
    last = backend.info.layers - 1
    captured = backend.capture(prompts, layers=[last], positions=[-1])
    return np.stack([backend.lens(one["resid_post"][0, 0]) for one in captured])


def divergence(steered: Float32, plain: Float32) -> Float32:
    """KL(steered || plain) of each row of log-probabilities, in nats."""
    p, q = steered.astype(np.float64), plain.astype(np.float64)
    weights = np.exp(p)
    terms = np.where(weights > _FLOOR, weights * (p - q), 0.0)
    return np.asarray(terms.sum(axis=-1), np.float32)


def entropy(logprobs: Float32) -> Float32:
    """Entropy of each row of log-probabilities, in nats."""
    p = np.exp(logprobs.astype(np.float64))
    terms = np.where(p > _FLOOR, p * logprobs, 0.0)
    return np.asarray(-terms.sum(axis=-1), np.float32)
