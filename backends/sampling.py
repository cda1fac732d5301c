"""Random numbers that belong to the row, not to the batch.

A row draws one uniform number per step from a counter-based generator keyed by its own seed, and a token is found by
inverting the cumulative distribution. So a trial's text depends on nothing but its own prompt, injections and seed, and
MLX and PyTorch draw the same token from the same logits. The functions here define the rule; backends do the same on
their device.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def uniforms(seed: int, count: int) -> NDArray[np.float64]:
    """Return the ``count`` numbers in [0, 1) that a row with this seed uses, in order.

    The first k of them do not depend on ``count``.
    """
    return np.random.Generator(np.random.Philox(seed)).random(count)


def choose(logits: NDArray[np.float32], temperature: float, top_p: float, uniform: float) -> int:
    """Pick a token id from logits of shape (vocabulary,).

    Greedy at temperature 0 (lowest id among equals). Otherwise softmax at that temperature, cut to the smallest set
    of most probable tokens whose mass reaches ``top_p`` (Holtzman et al. 2019, section 3.1), then the first id, in
    vocabulary order, whose cumulative probability exceeds ``uniform`` times the remaining mass.
    """
    if temperature == 0:
        return int(np.argmax(logits))
    scaled = logits.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    weights /= weights.sum()
    if top_p < 1:
        order = np.argsort(-weights, kind="stable")
        before = np.cumsum(weights[order]) - weights[order]
        weights[order[before >= top_p]] = 0.0
    cumulative = np.cumsum(weights)
    index = int(np.searchsorted(cumulative, uniform * cumulative[-1], side="right"))
    return min(index, int(np.flatnonzero(weights)[-1]))
