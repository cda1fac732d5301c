"""Sums over a vocabulary that keep their digits, and what is built on them.

MLX on the CPU adds up a row one number after the other in float32. Over 50,000 probabilities that costs the fourth
digit, which shows in log-probabilities. Added up in blocks the error stays at the seventh.
"""

from __future__ import annotations

from collections.abc import Sequence

import mlx.core as mx
import numpy as np
from numpy.typing import NDArray

from ..base import Sampling

LOGITS_AT_ONCE = 2**26
"""Most logits held at a time while scoring or looking through the lens: 256 MiB in float32."""

_BLOCK = 256


def confirm() -> None:
    """Wait until the device has confirmed everything that it was asked to compute, before anything of it is handed out.

    Metal may report that a computation failed for lack of memory only after its results have been read.

    Raises:
        RuntimeError: something failed.
    """
    mx.synchronize()


def log_softmax(logits: mx.array) -> mx.array:
    """Turn logits (..., vocabulary) of any float dtype into float32 log-probabilities."""
    logits = logits.astype(mx.float32)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - mx.log(_blocks(mx.exp(shifted)).sum(axis=-1).sum(axis=-1))[..., None]


def choose(logits: mx.array, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> mx.array:
    """Do what ``backends.sampling.choose`` does for a batch, on the device and in float32.

    Args:
        logits: (rows, vocabulary), any float dtype.
        draws: (rows,), uniform numbers.

    Returns:
        int32 (rows,); -1 for a row whose logits are not numbers.
    """
    logits = logits.astype(mx.float32)
    greedy = mx.argmax(logits, axis=-1).astype(mx.int32)
    # What overflows in the stream is NaN in every logit, what overflows in the head alone is the largest one.
    broken = ~mx.isfinite(mx.take_along_axis(logits, greedy[:, None], axis=-1))[:, 0]
    greedy = mx.where(broken, -1, greedy)
    temperatures = np.array([sampling.temperature for sampling in samplings], np.float32)
    if not temperatures.any():
        return greedy
    hot = mx.array(np.where(temperatures > 0, temperatures, 1))[:, None]
    weights = mx.exp(log_softmax(logits / hot))
    limits = np.array([sampling.top_p for sampling in samplings], np.float32)
    if (limits < 1).any():
        # A limit above 1 keeps rows without top-p whole, however their sum is rounded.
        weights = _nucleus(weights, mx.array(np.where(limits < 1, limits, 2))[:, None])
    drawn = _invert(weights, mx.array(draws.astype(np.float32))[:, None])
    return mx.where(mx.array(temperatures > 0) & ~broken, drawn, greedy)


def _invert(weights: mx.array, uniform: mx.array) -> mx.array:
    """First id whose cumulative weight exceeds ``uniform`` times the total: first the block, then the id inside it."""
    blocks = _blocks(weights)
    ends = mx.cumsum(blocks.sum(axis=-1), axis=-1)
    target = uniform * ends[:, -1:]
    block = mx.minimum((ends <= target).sum(axis=-1, keepdims=True), _last(blocks.sum(axis=-1)))
    before = mx.where(block > 0, mx.take_along_axis(ends, mx.maximum(block - 1, 0), axis=-1), 0.0)
    inside = mx.take_along_axis(blocks, block[..., None], axis=1)[:, 0]
    at = (mx.cumsum(inside, axis=-1) <= target - before).sum(axis=-1, keepdims=True)
    return (block * _BLOCK + mx.minimum(at, _last(inside)))[:, 0].astype(mx.int32)


def _last(weights: mx.array) -> mx.array:
    """(rows, 1): index of the last weight above 0, where rounding at the very end must not lead beyond."""
    ids = mx.arange(weights.shape[-1], dtype=mx.int32)
    return mx.where(weights > 0, ids, 0).max(axis=-1, keepdims=True)


def _nucleus(weights: mx.array, limits: mx.array) -> mx.array:
    """Zero every token that is not among the most probable ones whose mass reaches the limit."""
    order = mx.argsort(-weights, axis=-1)
    ranked = mx.take_along_axis(weights, order, axis=-1)
    before = mx.cumsum(ranked, axis=-1, inclusive=False)
    kept = mx.where(before < limits, ranked, 0.0)
    return mx.put_along_axis(mx.zeros_like(weights), order, kept, axis=-1)


def _blocks(x: mx.array) -> mx.array:
    """(..., n) to (..., blocks, _BLOCK), filled up with zeros."""
    missing = -x.shape[-1] % _BLOCK
    if missing:
        x = mx.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, missing)])
    return x.reshape(*x.shape[:-1], -1, _BLOCK)
