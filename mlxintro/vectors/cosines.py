"""How much of a concept is in the residual stream: cosines of activations with concept vectors.

Raw, and centred: with the mean over other activations subtracted first, because in some models a few huge dimensions
that say nothing of the concept dominate every cosine.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from mlxintro.backends.base import Float32, Float64
from mlxintro.backends.errors import UsageError


def mean_cosines(activations: Float32, directions: Float32, centre: Float64 | None = None) -> Float64:
    """Return the cosine of every token's activation with every direction, averaged over tokens.

    Args:
        activations: (layers, tokens, width).
        directions: (words, layers, width).
        centre: (layers, width), subtracted from the activations.

    Returns:
        float64 (words, layers); an activation of length zero has cosine 0.

    Raises:
        UsageError: a direction has length zero, so that nothing can be measured along it.
    """
    _refuse_zero(directions)
    streams = activations.astype(np.float64)
    if centre is not None:
        streams = streams - centre[:, None]
    return np.asarray(np.einsum("ltd,wld->wl", _unit(streams), _unit(directions.astype(np.float64))) / streams.shape[1])


def token_cosines(activations: Float32, direction: Float32) -> Float64:
    """Return the cosine of every token's activation (tokens, width) with one direction (width,); float64 (tokens,).

    An activation of length zero has cosine 0.

    Raises:
        UsageError: the direction has length zero.
    """
    _refuse_zero(direction)
    return np.asarray(_unit(activations.astype(np.float64)) @ _unit(direction.astype(np.float64)))


def band(cosines: Float64) -> dict[str, Any]:
    """Return the mean, and the middle 90 %, of many words' cosines (words, layers), as plain data by layer."""
    low, high = np.quantile(cosines, (0.05, 0.95), axis=0)
    return {"mean": cosines.mean(axis=0).tolist(), "low": low.tolist(), "high": high.tolist()}


def _refuse_zero(directions: Float32) -> None:
    if not np.any(directions, axis=-1).all():
        raise UsageError(
            "a concept vector is zero, where all words look alike to the model: nothing can be measured along it; "
            "choose later layers, or see with `mlxintro check` that the prompt reaches the model"
        )


def _unit(values: Float64) -> Float64:
    norms = np.linalg.norm(values, axis=-1, keepdims=True)
    return np.asarray(np.divide(values, norms, out=np.zeros_like(values), where=norms > 0))
