"""The dose finder: how strongly a model can be steered at each layer before its words fall apart.

A short ladder of strengths, as fractions of the residual norm so that layers compare. Every step is measured twice: by
how far the next-token distribution on neutral prompts moves (Kullback-Leibler divergence of the steered from the plain
one, in nats), and by what short steered replies look like (repetition and the grader's rule for coherence).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from mlxintro.backends.base import Backend, Float32, Injection, Prompt, Request, Sampling
from mlxintro.backends.errors import UsageError
from mlxintro.grading.rules.coherence import read_coherence
from mlxintro.protocol.spelling import composed
from mlxintro.replies.text import fold
from mlxintro.vectors.impact import divergence
from mlxintro.vectors.vector import ConceptVector

LADDER = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0)
"""Fractions of the residual norm."""
MOVES = 0.05
"""A step that moves the next-token distribution by less, in nats, hardly steers."""
READABLE = 0.75
"""A step is usable while at least this share of replies is coherent."""
QUESTIONS = (
    "What do you usually have for breakfast?",
    "Describe a walk through a small town.",
    "How does one keep a room tidy?",
)


@dataclass(frozen=True, slots=True)
class Step:
    layer: int
    strength: float
    """Fraction of the layer's residual norm."""
    raw: float
    """Same strength as a multiple of the raw vector, mean over concepts."""
    divergence: float
    """Mean KL(steered || plain) of the next token, in nats."""
    repetition: float
    """Mean share of word pairs in a reply that stood in it before."""
    coherent: float
    """Share of replies that read as English prose."""


@dataclass(frozen=True, slots=True)
class Proposal:
    layer: int
    usable: tuple[float, ...]
    """Strengths that steer and leave replies readable."""
    garbles_at: float | None
    """The lowest strength at which they are not; ``None`` when the ladder ends before."""


@dataclass(frozen=True, slots=True)
class Cells:
    """Holds layers and strengths for a study whose every cell steers and leaves replies readable."""

    layers: tuple[int, ...]
    strengths: tuple[float, ...]
    """Fractions of the residual norm."""


def find(
    backend: Backend,
    vectors: Mapping[str, ConceptVector],
    layers: Sequence[int],
    *,
    ladder: Sequence[float] = LADDER,
    max_tokens: int = 32,
    told: Callable[[Step], None] | None = None,
) -> list[Step]:
    """Climb the ladder at every layer, with every vector on every token of prompt and reply.

    Raises:
        UsageError: no layers, vectors or steps, or a step that is not above 0.
    """
    if not layers or not vectors or not ladder or min(ladder) <= 0:
        raise UsageError("a dose needs layers, concepts and strengths above 0: give at least one of each")
    prompts = [backend.tokenizer.render([{"role": "user", "content": text}]).tokens for text in QUESTIONS]
    plain = backend.next_token([Prompt(tokens) for tokens in prompts])
    steps = []
    for layer in layers:
        for strength in sorted(ladder):
            step = _step(backend, vectors, prompts, plain, layer, strength, max_tokens)
            steps.append(step)
            if told:
                told(step)
    return steps


def _step(
    backend: Backend,
    vectors: Mapping[str, ConceptVector],
    prompts: Sequence[tuple[int, ...]],
    plain: Float32,
    layer: int,
    strength: float,
    max_tokens: int,
) -> Step:
    scaled = [vector.scaled(layer, strength, "resid") for vector in vectors.values()]
    steered = [Prompt(tokens, (Injection(layer, added, 0),)) for added, _ in scaled for tokens in prompts]
    moved = backend.next_token(steered)
    base = np.tile(plain, (len(scaled), 1))
    requests = [Request(prompt, Sampling(max_tokens, 1.0, 1.0, seed)) for seed, prompt in enumerate(steered)]
    replies = [done.text for done in backend.generate(requests)]
    return Step(
        layer=layer,
        strength=strength,
        raw=float(np.mean([dose.raw for _, dose in scaled])),
        divergence=float(divergence(moved, base).mean()),
        repetition=float(np.mean([repetition(reply) for reply in replies])),
        coherent=float(np.mean([read_coherence(composed(reply), fold(reply)).flaw is None for reply in replies])),
    )


def repetition(text: str) -> float:
    """Return the share of neighbouring word pairs that have stood in the text before; 0 for fewer than two pairs."""
    words = text.casefold().split()
    pairs = list(pairwise(words))
    return 1 - len(set(pairs)) / len(pairs) if len(pairs) > 1 else 0.0


def propose(steps: Sequence[Step]) -> Iterator[Proposal]:
    """Return what the ladder says of each layer."""
    for layer in dict.fromkeys(step.layer for step in steps):
        own = sorted((step for step in steps if step.layer == layer), key=lambda step: step.strength)
        garbled = next((step.strength for step in own if step.coherent < READABLE), None)
        usable = tuple(
            step.strength for step in own if step.divergence >= MOVES and (garbled is None or step.strength < garbled)
        )
        yield Proposal(layer, usable, garbled)


def usable_cells(proposals: Sequence[Proposal]) -> Cells | None:
    """Return the largest grid of usable cells, of those equally large the one with the most layers.

    ``None`` if there is none.

    A study crosses its layers with its strengths, so a strength that only some layers stand costs the others.
    """
    ladder = sorted({strength for one in proposals for strength in one.usable})
    ranges = [ladder[a:b] for a in range(len(ladder)) for b in range(a + 1, len(ladder) + 1)]
    grids = [
        Cells(tuple(one.layer for one in proposals if set(strengths) <= set(one.usable)), tuple(strengths))
        for strengths in ranges
    ]
    best = max(grids, key=lambda grid: (len(grid.layers) * len(grid.strengths), len(grid.layers)), default=None)
    return best if best and best.layers else None
