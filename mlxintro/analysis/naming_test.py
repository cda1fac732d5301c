"""Whether claims name the concept that was injected, or whatever a claim names anyway.

A subject that notices something and then always says "apple", or a word of its own, names the injected concept now and
then. What luck gives is measured on the claims themselves: every concept is paired with every claim, whatever was
injected for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlxintro.analysis.stats import Rate, rate
from mlxintro.protocol import concepts
from mlxintro.protocol.concepts import Library
from mlxintro.replies.mentions import Names
from mlxintro.replies.text import fold

RESAMPLES = 1_999
BATCH = 2_000_000
"""Exchanged labels held at a time."""


@dataclass(frozen=True, slots=True)
class NamingTest:
    """Says how specific the claims of a run are."""

    right: Rate
    """Claims that name the concept injected into their own trial."""
    by_luck: float
    """Mean rate of right names when concepts and claims are paired at random."""
    p: float
    """One-sided p value that pairing at random does as well: a permutation test over claims."""


def naming(claims: Sequence[tuple[str, str]], library: Library | None = None) -> NamingTest | None:
    """Test whether claims follow what was injected.

    Args:
        claims: injected concept and reply, of replies that claim a thought.
        library: the concepts that the run knows; those that ship when ``None``.

    Returns:
        ``None`` with fewer than two concepts: a subject that always names the same one could not be told apart.
    """
    words = sorted({concept for concept, _ in claims})
    if len(words) < 2:
        return None
    import numpy as np
    from scipy.stats import permutation_test

    known = library or concepts.library()
    lookup = Names({word: known.concept(word).related for word in words})
    named = np.zeros((len(claims), len(words)), np.uint8)
    for at, (_, reply) in enumerate(claims):
        named[at, [words.index(word) for word in lookup.within(fold(reply))]] = 1
    injected = np.array([words.index(concept) for concept, _ in claims])
    every = np.arange(len(claims))
    found = permutation_test(
        (injected,),
        lambda labels, axis: named[every, labels].sum(axis=-1),
        permutation_type="pairings",
        alternative="greater",
        n_resamples=RESAMPLES,
        batch=max(1, BATCH // len(claims)),
        vectorized=True,
        rng=np.random.default_rng(0),
    )
    luck = (named.mean(axis=0) * np.bincount(injected, minlength=len(words))).sum() / len(claims)
    return NamingTest(rate(int(named[every, injected].sum()), len(claims)), float(luck), float(found.pvalue))
