"""What a machine can do at best with a loaded model: the inputs of a floor under its running time.

A backend fills one in with its own framework's fastest operations, so that the floor is what this library could reach
on this machine, not a number from a data sheet. Nothing here knows a framework.

Source: Williams, Waterman, Patterson 2009, "Roofline: an insightful visual performance model".
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Roofline:
    """Holds two measured rates of the machine, and what the model asks of them."""

    bandwidth: float
    """Bytes per second, read from memory."""
    matmul: float
    """Operations per second (a multiplication and an addition are two) of a large product of matrices, of the kind and
    in the precision the model uses."""
    weight_bytes: int
    """Weights in memory that every forward pass reads."""
    block_parameters: int
    """Weights of the blocks every token is multiplied with."""
    head_parameters: int
    """Weights of the unembedding, needed where a token is predicted."""
    cache_bytes: int
    """Keys and values of one position, all layers."""


def shortest(run: Callable[[], object], *, seconds: float = 0.4) -> float:
    """Return the seconds of the fastest call among those that fit into a time.

    At least three are made, after one to warm up.

    Args:
        run: returns when its work is done, not when it is queued.
    """
    run()
    best, calls, begun = float("inf"), 0, time.perf_counter()
    while calls < 3 or time.perf_counter() - begun < seconds:
        started = time.perf_counter()
        run()
        best, calls = min(best, time.perf_counter() - started), calls + 1
    return best
