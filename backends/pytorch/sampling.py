"""``backends.sampling`` for all rows of a batch at once, with PyTorch, with one transfer to the host."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..base import Sampling

_BLOCK = 256


def log_softmax(logits: Tensor) -> Tensor:
    """Turn float32 logits (..., vocabulary) into log-probabilities.

    Not ``torch.log_softmax``: on the CPU it adds a vocabulary up one by one, 2e-5 off over 49,152 words.
    """
    return logits - logits.logsumexp(-1, keepdim=True)


def choose(logits: Tensor, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> list[int | None]:
    """Do what ``backends.sampling.choose`` does for all rows.

    Args:
        logits: float32 (rows, vocabulary).
        draws: one uniform number per row.

    Returns:
        Token ids; ``None`` for a row whose logits are not numbers.
    """
    vocabulary = logits.shape[-1]
    if logits.device.type == "cpu":
        top, tokens = logits.max(-1)
    else:
        # Which of several maxima is returned differs between devices; the rule wants the first.
        top = logits.amax(-1)
        ids = torch.arange(vocabulary, device=logits.device)
        tokens = torch.where(logits == top[:, None], ids, vocabulary).amin(-1)
    tokens = torch.where(top.isfinite(), tokens, vocabulary)
    warm = [row for row, sampling in enumerate(samplings) if sampling.temperature > 0]
    if warm:
        index = torch.tensor(warm, device=logits.device)
        chosen = logits if len(warm) == len(samplings) else logits[index]
        drawn = _draw(chosen, top[index], [samplings[row] for row in warm], draws[warm])
        tokens[index] = torch.where(tokens[index] < vocabulary, drawn, vocabulary)
    return [None if token == vocabulary else token for token in tokens.tolist()]


def _draw(logits: Tensor, top: Tensor, samplings: Sequence[Sampling], draws: NDArray[np.float64]) -> Tensor:
    # float64 as in the reference, but for Apple GPUs, which have none.
    precision = torch.float32 if logits.device.type == "mps" else torch.float64
    settings = np.stack([[s.temperature for s in samplings], draws])
    temperature, uniform = torch.from_numpy(settings).to(precision).to(logits.device)[..., None]
    weights = logits.to(precision).sub_(top[:, None])
    if any(sampling.temperature != 1 for sampling in samplings):
        weights.div_(temperature)
    weights.exp_()
    cut = [row for row, sampling in enumerate(samplings) if sampling.top_p < 1]
    if cut:
        index = torch.tensor(cut, device=logits.device)
        limits = torch.tensor([[samplings[row].top_p] for row in cut], dtype=precision, device=logits.device)
        weights[index] = _nucleus(weights[index], limits)
    return _invert(weights, uniform)


def _invert(weights: Tensor, uniform: Tensor) -> Tensor:
    """First id whose cumulative weight exceeds ``uniform`` (rows, 1) times the total.

    First the block, then the id inside it: a running sum over a whole vocabulary takes as long as all the rest.
    """
    missing = -weights.shape[-1] % _BLOCK
    padded = torch.nn.functional.pad(weights, (0, missing)) if missing else weights
    blocks = padded.reshape(len(weights), -1, _BLOCK)
    sums = blocks.sum(-1)
    ends = sums.cumsum(-1)
    target = uniform * ends[:, -1:]
    block = torch.minimum(torch.searchsorted(ends, target, right=True), _last(sums))
    before = (ends - sums).gather(-1, block)
    inside = blocks.gather(1, block[..., None].expand(-1, -1, _BLOCK))[:, 0]
    at = torch.searchsorted(inside.cumsum(-1), target - before, right=True)
    return (block * _BLOCK + torch.minimum(at, _last(inside)))[:, 0]


def _last(weights: Tensor) -> Tensor:
    """(rows, 1): index of the last weight above 0, where rounding at the very end must not lead beyond."""
    ids = torch.arange(weights.shape[-1], device=weights.device)
    return torch.where(weights > 0, ids, 0).amax(-1, keepdim=True)


def _nucleus(weights: Tensor, limits: Tensor) -> Tensor:
    """Zero every token that is not among the most probable ones whose mass reaches the limit."""
    ordered, order = (weights / weights.sum(-1, keepdim=True)).sort(dim=-1, descending=True, stable=True)
    beyond = ordered.cumsum(-1) - ordered >= limits
    return weights.scatter(-1, order, weights.gather(-1, order).masked_fill(beyond, 0.0))
