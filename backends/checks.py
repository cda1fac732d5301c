"""What is checked for every backend: requests on their way in, proofs on their way out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import InjectionError, UsageError
from .values import OPERATIONS, SITES, Injection, ModelInfo, Prompt, Proof, Sampling


def check_prompt(prompt: Prompt, info: ModelInfo, extra: int) -> None:
    """Refuse what does not fit the model, before any work is done.

    Args:
        extra: how many tokens will follow the prompt.

    Raises:
        UsageError: with the offending value.
    """
    n = len(prompt.tokens)
    if n == 0:
        raise UsageError("the prompt has no tokens")
    if n + extra > info.context:
        raise UsageError(f"{n} prompt tokens and {extra} new ones exceed {info.model}'s context of {info.context}")
    if not 0 <= min(prompt.tokens) <= max(prompt.tokens) < info.vocabulary:
        raise UsageError(f"a token id is outside the vocabulary of {info.vocabulary}")
    for injection in prompt.injections:
        check_injection(injection, info, n + extra)


def check_injection(injection: Injection, info: ModelInfo, length: int) -> None:
    """Refuse an injection that would do nothing, do harm, or not fit.

    Raises:
        UsageError: with the offending value.
    """
    info.layer(injection.layer)
    if injection.site not in SITES or injection.operation not in OPERATIONS:
        raise UsageError(
            f"no such site or operation: {injection.site}, {injection.operation} "
            f"(sites: {', '.join(SITES)}; operations: {', '.join(OPERATIONS)})"
        )
    vector: Any = injection.vector
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.shape != (info.width,):
        shape = getattr(vector, "shape", None)
        raise UsageError(f"an injected vector must be float32 of shape ({info.width},), got {shape}")
    if not np.isfinite(vector).all():
        raise UsageError(f"the vector for layer {injection.layer} holds NaN or infinity: check its strength")
    if injection.operation == "ablate" and not np.any(vector):
        raise UsageError("a zero vector has no direction to ablate")
    if injection.start < 0 or (injection.stop is not None and injection.stop <= injection.start):
        raise UsageError(f"the window [{injection.start}, {injection.stop}) is empty or negative")
    if injection.start >= max(length, 1):
        raise UsageError(f"the window starts at position {injection.start}, past the last of {length}")


def check_sites(sites: Sequence[str]) -> None:
    """Refuse a site that no block has.

    Raises:
        UsageError: with the offending value.
    """
    for site in sites:
        if site not in SITES:
            raise UsageError(f"no such site: {site} (sites: {', '.join(SITES)})")


def check_sampling(sampling: Sampling) -> None:
    """Refuse settings that no sampler can follow.

    Raises:
        UsageError: with the offending value.
    """
    if sampling.max_tokens < 1:
        raise UsageError(f"max_tokens must be at least 1, got {sampling.max_tokens}")
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
        raise UsageError(f"temperature must be 0 or more, got {sampling.temperature}")
    if not 0 < sampling.top_p <= 1:
        raise UsageError(f"top_p must lie in (0, 1], got {sampling.top_p}")


def check_proofs(prompt: Prompt, forwarded: int, proofs: Sequence[Proof]) -> None:
    """Compare what was touched with what the windows demand of ``forwarded`` positions.

    A silently missing injection is the commonest bug of the field; here it is an error, never a zero-percent result.

    Raises:
        InjectionError: naming the first difference.
    """
    if len(proofs) != len(prompt.injections):
        raise InjectionError(f"{len(prompt.injections)} injections planned, {len(proofs)} proven: report this as a bug")
    for injection, proof in zip(prompt.injections, proofs, strict=True):
        stop = forwarded if injection.stop is None else min(injection.stop, forwarded)
        count = max(0, stop - injection.start)
        expected = (injection.layer, injection.site, count, injection.start if count else None)
        last = stop - 1 if count else None
        if (proof.layer, proof.site, proof.positions, proof.first) != expected or proof.last != last:
            raise InjectionError(
                f"injection at layer {injection.layer} should touch {count} positions "
                f"({expected[3]} to {last}) but touched {proof.positions} ({proof.first} to {proof.last}): "
                "run `mlxintro check` on this model and report it as a bug"
            )
        effective = injection.operation == "add" and bool(np.any(injection.vector))
        if count and effective and not proof.change > 0:
            raise InjectionError(
                f"injection at layer {injection.layer} left the residual stream unchanged: "
                "the vector is below the resolution of the model's dtype; use a larger strength"
            )
