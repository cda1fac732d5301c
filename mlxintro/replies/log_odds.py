"""Logarithms of odds from log-probabilities of answers, summed over their spellings."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

LARGEST = math.log((1 - 1e-7) / 1e-7)
"""Bound of log-odds, that of a probability clipped to 1e-7 (Pearson-Vogel et al. 2026)."""
_NEVER = -1e3
"""Stands for the logarithm of a probability of 0, which no difference can be taken of."""


def log_total(logprobs: Sequence[float]) -> float:
    """Return the logarithm of the sum of probabilities; minus infinity where all of them are 0."""
    top = max(logprobs)
    return top + math.log(math.fsum(math.exp(value - top) for value in logprobs)) if top > -math.inf else top


def log_odds(
    logprobs: Mapping[str, float], answers: Sequence[str], others: Sequence[str] | None = None, *, clip: bool = True
) -> float:
    """Return log P(answers) - log P(others), in natural logarithms.

    Args:
        logprobs: by continuation.
        answers: spellings of one answer, e.g. of yes.
        others: spellings of the other; all that remain by default.
        clip: to +-16.1, as published figures are. A regression on log-odds needs them as they are.

    Returns:
        0 where neither side has any probability.
    """
    if others is None:
        others = [option for option in logprobs if option not in answers]
    gap = max(_NEVER, log_total([logprobs[one] for one in answers])) - max(
        _NEVER, log_total([logprobs[one] for one in others])
    )
    return max(-LARGEST, min(LARGEST, gap)) if clip else gap
