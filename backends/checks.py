"""What is checked for every backend: requests on their way in, proofs on their way out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import InjectionError, UsageError
from .values import OPERATIONS, SITES, Injection, ModelInfo, Prompt, Proof, Sampling


def check_prompt(prompt: Prompt, info: ModelInfo, extra: int, *, thinking: bool = False) -> None:
    """Refuse what does not fit the model, before any work is done.

    Args:
        extra: how many tokens will follow the prompt.
        thinking: whether the reply begins with a thought, so that a window may cover a part of the reply.

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
        if injection.part != "reply" and (injection.stop is not None or not thinking):
            raise UsageError(f"a window over the {injection.part} goes on through a reply that begins with a thought")
        if injection.vector.ndim > 1 and (injection.stop is None or injection.stop > n):
            raise UsageError(
                f"a vector for each position needs a window that ends with the prompt of {n} tokens or before, got "
                f"[{injection.start}, {injection.stop})"
            )


def check_continuations(
    prompts: Sequence[Prompt], continuations: Sequence[Sequence[Sequence[int]]], info: ModelInfo
) -> None:
    """Refuse continuations that cannot be scored.

    Raises:
        UsageError: with the offending value.
    """
    if len(prompts) != len(continuations):
        raise UsageError(f"{len(prompts)} prompts but {len(continuations)} lists of continuations")
    for prompt, options in zip(prompts, continuations, strict=True):
        if any(len(option) == 0 for option in options):
            raise UsageError("a continuation to score has no tokens")
        check_prompt(prompt, info, max((len(option) for option in options), default=0))


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
    _check_head(injection, info)
    vector: Any = injection.vector
    size = info.size_of(injection.site, injection.head)
    if not isinstance(vector, np.ndarray) or vector.dtype != np.float32 or vector.shape[-1:] != (size,):
        shape = getattr(vector, "shape", None)
        raise UsageError(f"an injected vector must be float32 of shape ({size},), got {shape}")
    if not np.isfinite(vector).all():
        raise UsageError(f"the vector for layer {injection.layer} holds NaN or infinity: check its strength")
    if injection.operation == "ablate" and not np.any(vector):
        raise UsageError("a zero vector has no direction to ablate")
    _check_by_position(injection)
    if injection.start < 0 or (injection.stop is not None and injection.stop <= injection.start):
        raise UsageError(f"the window [{injection.start}, {injection.stop}) is empty or negative")
    if injection.start >= max(length, 1):
        raise UsageError(f"the window starts at position {injection.start}, past the last of {length}")


def _check_head(injection: Injection, info: ModelInfo) -> None:
    if injection.site == "head_out":
        check_sites(("head_out",), info)
    if injection.head is None:
        return
    if injection.site != "head_out":
        raise UsageError(f"only the site head_out has heads: leave head {injection.head} out at {injection.site}")
    if not 0 <= injection.head < info.heads:
        raise UsageError(f"head {injection.head} is out of range: {info.model} has heads 0 to {info.heads - 1}")


def _check_by_position(injection: Injection) -> None:
    """A vector for each position must have as many rows as the window has positions."""
    if injection.vector.ndim == 1:
        return
    count = None if injection.stop is None else injection.stop - injection.start
    if injection.vector.ndim != 2 or len(injection.vector) != count:
        raise UsageError(
            f"the window [{injection.start}, {injection.stop}) needs one vector, or one for each of its positions; "
            f"got the shape {injection.vector.shape}"
        )
    if injection.operation == "ablate" and not np.any(injection.vector, axis=-1).all():
        raise UsageError("a zero vector has no direction to ablate")


def check_sites(sites: Sequence[str], info: ModelInfo) -> None:
    """Refuse a site that no block has, or that cannot be reached in this model.

    Raises:
        UsageError: with the offending value.
    """
    for site in sites:
        if site not in SITES:
            raise UsageError(f"no such site: {site} (sites: {', '.join(SITES)})")
        if site == "head_out" and not info.heads:
            raise UsageError(
                f"the heads of {info.architecture} cannot be told apart before their output projection on the "
                f"{info.backend} backend: use the site attn_out"
            )


def check_sampling(sampling: Sampling) -> None:
    """Refuse settings that no sampler can follow.

    Raises:
        UsageError: with the offending value.
    """
    if sampling.max_tokens < 1:
        raise UsageError(f"max_tokens must be at least 1, got {sampling.max_tokens}")
    if sampling.thought is not None and sampling.thought.max_tokens < 1:
        raise UsageError(f"a thought has at least 1 token, got {sampling.thought.max_tokens}")
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
