"""What the prompts of a call have in common, and which of them are read together. Plain arithmetic on token lists."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise, takewhile

import numpy as np

from .values import Injection, Prompt

_SHORTEST = 8
"""Prefixes shorter than this are not worth a forward pass of their own."""
_COMPARED = 500
"""Different beginnings that are compared with each other."""
PADDING = 1.25
"""Tokens computed over tokens needed, at most, in prompts that are read together."""


def common_injections(prompts: Sequence[Prompt]) -> tuple[Injection, ...]:
    """Return the injections with which all prompts begin: one and the same object in each, listed first.

    They may act on what is read once for all. Runs that differ in what is patched are told so from the run they patch.
    """
    if len(prompts) < 2:
        return ()
    lists = zip(*(prompt.injections for prompt in prompts), strict=False)
    return tuple(ours[0] for ours in takewhile(lambda ours: all(one is ours[0] for one in ours), lists))


def shared_prefix(prompts: Sequence[Prompt], common: int = 0) -> tuple[int, ...]:
    """Return the beginning that saves most when it is read once for all prompts that can use it.

    A prompt can use tokens up to its first injection, and not its last one: sampling needs that one's hidden state.

    Args:
        common: how many injections all prompts have in common (``common_injections``); those do not count.
    """
    beginnings = Counter(prompt.tokens[: _limit(prompt, common)] for prompt in prompts)
    ordered = sorted(dict(beginnings.most_common(_COMPARED)))
    counts = np.array([beginnings[beginning] for beginning in ordered])
    # Neighbours in alphabetical order have most in common.
    alike = np.array([_common(ours, theirs) for ours, theirs in pairwise(ordered)], np.int64)
    most = 0
    best: tuple[int, ...] = ()
    for at, beginning in enumerate(ordered):
        lengths = np.minimum.accumulate(np.concatenate([[len(beginning)], alike[at:]]))
        saved = lengths * (np.cumsum(counts[at:]) - 1)
        if (top := int(saved.argmax())) >= 0 and saved[top] > most:
            most, best = int(saved[top]), beginning[: int(lengths[top])]
    return best if len(best) >= _SHORTEST else ()


def usable(prompt: Prompt, shared: Sequence[int], common: int = 0) -> int:
    """Return how much of a shared beginning a prompt can take over."""
    found = min(_limit(prompt, common), _common(prompt.tokens, shared))
    return found if found >= _SHORTEST else 0


def groups(lengths: Sequence[int], begun: Sequence[int], waste: float = PADDING) -> list[tuple[int, list[int]]]:
    """Return the prompts that are read together, padded to a rectangle without much waste.

    Args:
        lengths: tokens of each prompt.
        begun: how many of them are there already.
        waste: tokens computed over tokens needed, at most; with 1 there is no padding.

    Returns:
        Per group the first column that is read, and its prompts in ascending order.
    """
    result: list[tuple[int, list[int]]] = []
    needed = 0
    for at in sorted(range(len(lengths)), key=lambda at: (-begun[at], lengths[at])):
        own = lengths[at] - begun[at]
        if result:
            first, members = min(result[-1][0], begun[at]), [*result[-1][1], at]
            area = len(members) * (max(lengths[member] for member in members) - first)
            if area <= waste * (needed + own):
                result[-1], needed = (first, members), needed + own
                continue
        result.append((begun[at], [at]))
        needed = own
    return [(first, sorted(members)) for first, members in result]


def _limit(prompt: Prompt, common: int) -> int:
    return min([len(prompt.tokens) - 1, *(injection.start for injection in prompt.injections[common:])])


def _common(ours: Sequence[int], theirs: Sequence[int]) -> int:
    return next(
        (at for at, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b), min(len(ours), len(theirs))
    )
